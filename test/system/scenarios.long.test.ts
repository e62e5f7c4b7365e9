/** Scenarios of TS-30 that take a minute each: 11, 12, 16, 25. */
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { addWire, type Child } from "../../src/program/lab/index.ts";
import { connectionsOf } from "../lib/ask.ts";
import { SHORT_EXPIRY } from "../lib/nat.ts";
import { echo, eventually, newest, timesOf, untilIdle } from "../lib/observe.ts";
import { createOffice, type Nats, OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const FORGET = join(import.meta.dirname, "../lib/forget-mappings.mjs");
const POUR = "9000";
const SINK = "9001";
const ONLY_IPV4 = { client: "ipv4", gateway: "ipv4" } as const;
const timeout = 240_000;

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "scenarios at length", () => {
  let office: Office;
  afterEach(() => office?.close());

  async function begin(nats: Nats | undefined, relays: number): Promise<void> {
    office = await createOffice(nats === undefined ? {} : { nats, relays });
    office.configure([{ resource: "Office" }]);
    await office.startPortal();
    for (let i = 0; i < relays; i++) await office.startRelay(i);
    office.traffic(office.resource, "pour", POUR);
    office.traffic(office.resource, "sink", SINK);
  }

  const answers = (withinMs: number): Promise<void> =>
    eventually(async () => expect(await echo(office.client, OFFICE_V4)).toBe("answered"), withinMs);

  it.each<readonly [string, Nats]>([
    [
      "both behind port-restricted cones",
      {
        client: { kind: "port-restricted", expiry: SHORT_EXPIRY },
        gateway: { kind: "port-restricted" },
        families: ONLY_IPV4,
      },
    ],
    [
      "another port each time, towards a full cone",
      {
        client: { kind: "symmetric", expiry: SHORT_EXPIRY },
        gateway: { kind: "full-cone" },
        families: ONLY_IPV4,
      },
    ],
  ])(
    "TS-30.11: after 30 s of quiet the mapping is gone; a request is answered within 2 s: %s",
    {
      timeout,
    },
    async (_, nats) => {
      await begin(nats, 1);
      const [gateway, client] = await Promise.all([office.startGateway(), office.startClient()]);
      await answers(20_000);
      await untilIdle(client);
      const connected = [client, gateway].map((program) => timesOf(program, /connected/).length);
      await new Promise((resolve) => setTimeout(resolve, 30_000));
      const begun = performance.now();
      await answers(10_000);
      expect(performance.now() - begun).toBeLessThan(2_000);
      expect([client, gateway].map((program) => timesOf(program, /connected/).length)).toEqual(connected);
    },
  );

  it("TS-30.12: three clients in turn from the same outside address and port each get a tunnel", {
    timeout,
  }, async () => {
    await begin(
      { client: { kind: "port-restricted" }, gateway: { kind: "full-cone" }, families: ONLY_IPV4 },
      1,
    );
    // The pool: two ports for the whole site.
    const pool =
      'insert rule ip nat postrouting oifname "wan" ip protocol udp snat to 203.0.113.30:40000-40001';
    await office.router.run("nft", [pool]);
    await office.startGateway();
    const seen = new Set<string | null | undefined>();
    for (let n = 1; n <= 3; n++) {
      const host = await office.sites?.client.addHost(`desk-${n}`, 110 + n, { families: "ipv4" });
      if (host === undefined) throw new Error("the office has sites");
      const client = await office.startClientAt(host, `lab-desk-${n}`);
      await eventually(async () => expect(await echo(host, OFFICE_V4)).toBe("answered"), 10_000);
      const all = await connectionsOf(office, office.gateway);
      seen.add(all.find(({ last_activity_s }) => (last_activity_s ?? 99) < 3)?.remote);
      await client.stop({ signal: "SIGKILL" });
      await office.router.run(process.execPath, [FORGET]);
    }
    expect(seen.size, `three clients, two ports: ${[...seen]}`).toBeLessThanOrEqual(2);
  });

  it("TS-30.16: 20 % loss each way on the client's link: 10 MB arrive whole, and it never stands still", {
    timeout,
  }, async () => {
    await begin(undefined, 0);
    await office.client.ip("link del wan");
    await addWire(
      office.lab,
      { namespace: office.client, device: "wan", addresses: ["10.30.0.2/24", "fd30::2/64"] },
      { namespace: office.router, device: "client", addresses: ["10.30.0.1/24", "fd30::1/64"] },
      { offloads: false, loss: 0.2, seed: 16 },
    );
    await office.client.ip("route add default dev wan", "route add ::/0 dev wan");
    await Promise.all([office.startGateway(), office.startClient()]);
    const download = office.traffic(office.client, "take", OFFICE_V4, POUR);
    const begun = Date.now();
    await eventually(() => expect(newest(download).count).toBeGreaterThan(10e6), 120_000);
    expect(download.stdout()).not.toMatch(/broken|error/);
    const took = [...download.stdout().matchAll(/^took (\d+) at (\d+)$/gm)].map((match) => ({
      bytes: Number(match[1]),
      at: Number(match[2]),
    }));
    for (let from = begun; from + 30_000 <= (took.at(-1)?.at ?? 0); from += 1_000) {
      const within = took.filter(({ at }) => at >= from && at < from + 30_000);
      expect((within.at(-1)?.bytes ?? 0) - (within[0]?.bytes ?? 0)).toBeGreaterThan(10 * 1024 * 30);
    }
    console.log(`loss: 10 MB in ${((took.at(-1)?.at ?? 0) - begun) / 1000} s`);
  });

  it("TS-30.25: relays that were all started anew while the client was away from its portal", {
    timeout,
  }, async () => {
    const symmetric = { kind: "symmetric" } as const;
    office = await createOffice({
      nats: { client: symmetric, gateway: symmetric, families: ONLY_IPV4 },
      relays: 2,
    });
    office.configure([{ resource: "Office" }]);
    await office.startPortal();
    const relays: Child[] = [await office.startRelay(0), await office.startRelay(1)];
    office.traffic(office.resource, "sink", SINK);
    await Promise.all([office.startGateway(), office.startClient()]);
    const source = office.traffic(office.client, "source", OFFICE_V4, SINK);
    await source.waitForLine(/^connected$/, { withinMs: 20_000 });
    await office.cutPortal(office.client, true);
    for (const relay of relays) await relay.stop({ signal: "SIGKILL" });
    await Promise.all([office.startRelay(0), office.startRelay(1)]);
    await new Promise((resolve) => setTimeout(resolve, 10_000));
    expect(await echo(office.client, OFFICE_V4)).not.toBe("answered");
    await office.cutPortal(office.client, false);
    const begun = performance.now();
    await answers(40_000);
    console.log(`relays anew: back after ${Math.round(performance.now() - begun)} ms`);
    expect(await connectionsOf(office, office.client)).toMatchObject([{ path: "relayed" }]);
  });
});
