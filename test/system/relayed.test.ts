/** A relayed tunnel as others see it, and how it becomes a direct one (TS-30, PG-42, SN-146). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Namespace } from "../../src/program/lab/index.ts";
import { connectionsOf, whyOf } from "../lib/ask.ts";
import { eventually, newest, tunnelAddresses } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";
import { findPath, type PathScenario, SCENARIO_MS_MAX } from "../lib/scenario.ts";

/** Otherwise both ends would have public IPv6 addresses and need no NAT to be overcome. */
const families = { client: "ipv4", gateway: "ipv4" } as const;
const ROOT = join(import.meta.dirname, "../..");
const CAPTURE = join(ROOT, "scripts/capture.mjs");
const KNOCK = join(ROOT, "test/lib/knock.mjs");
/** Part of the page that `traffic.mjs` serves. */
const KNOWN = "All that is gold does not glitter.";
const PAGE_BYTES = 256 << 10;
const POUR = "9000";
/** SN-50: until the direct pairs are given up, and the search is called over (PG-191). */
const GIVEN_UP_WITHIN_MS = 40_000;
/** From the opening of a path until it is used; the agent tries every 30 s (SN-146). */
const DIRECT_WITHIN_MS = 60_000;

/** What is found where a NAT is symmetric; elsewhere: `nat-paths.test.ts`. */
const SCENARIOS: readonly PathScenario[] = [
  {
    name: "4: symmetric against an address-restricted cone: direct",
    nats: { client: { kind: "symmetric" }, gateway: { kind: "address-restricted" }, families },
    path: "direct",
    causes: ["direct"],
  },
  {
    name: "4: symmetric against a port-restricted cone: relayed",
    nats: { client: { kind: "symmetric" }, gateway: { kind: "port-restricted" }, families },
    path: "relayed",
    causes: ["relayed-for-now", "relayed-not-heard"],
  },
  {
    name: "5: both symmetric: relayed",
    nats: { client: { kind: "symmetric" }, gateway: { kind: "symmetric" }, families },
    path: "relayed",
    causes: ["relayed-for-now", "relayed-not-heard"],
  },
  {
    name: "6: symmetric on one side, 52625 forwarded on the other: direct",
    nats: {
      client: { kind: "symmetric" },
      gateway: { kind: "symmetric", forwardTo: "172.31.0.100" },
      families,
    },
    path: "direct",
    causes: ["direct"],
  },
];

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "a relayed tunnel", () => {
  let office: Office;
  const captures = new Map<Namespace, string>();

  beforeAll(async () => {
    const symmetric = { kind: "symmetric" } as const;
    office = await createOffice({ nats: { client: symmetric, gateway: symmetric, families }, relays: 1 });
    const [relay] = office.relays;
    for (const where of [office.portal, office.resource, relay])
      if (where !== undefined) await capture(where);
    office.configure([{ resource: "Office" }]);
    await office.startPortal();
    await office.startRelay(0);
    office.traffic(office.resource, "pour", POUR);
    const server = office.traffic(office.resource, "serve", "80");
    await Promise.all([office.startGateway(), office.startClient()]);
    await server.waitForLine(/^serving/, { withinMs: 10_000 });
    await eventually(() => office.fetch(office.client, `http://${OFFICE_V4}/`), 20_000);
  });
  afterAll(() => office?.close());

  async function capture(where: Namespace): Promise<void> {
    const file = join(where.runFolder, "all.pcap");
    const child = where.start({ name: "capture", command: process.execPath, args: [CAPTURE, file] });
    await child.waitForLine(/^capturing$/, { withinMs: 10_000 });
    captures.set(where, file);
  }

  const path = async (): Promise<string | undefined> => (await connectionsOf(office, office.client))[0]?.path;

  it("TS-30: what it carries is in no capture at relay or portal", async () => {
    expect(await path()).toBe("relayed");
    for (const [where, file] of captures) {
      const packets = readFileSync(file);
      const isEnd = where === office.resource;
      expect(packets.includes(KNOWN), where.role).toBe(isEnd);
      expect(packets.length, where.role).toBeGreaterThan(where === office.portal ? 1_000 : PAGE_BYTES);
    }
  });

  it("PG-42, TS-30: no TCP port of client and gateway is open, but for the name server in the tunnel", async () => {
    for (const where of [office.client, office.gateway]) {
      const listening = (await where.run("ss", ["-Hltn"])).split("\n").filter((line) => line !== "");
      const inside = await tunnelAddresses(where);
      // DN-84: there it hears nobody from outside.
      const outside = listening.filter((line) => !inside.some((address) => line.includes(address)));
      expect(outside, where.role).toEqual([]);
    }
    expect(await office.portal.run("ss", ["-Hltn"]), "where one is, it is seen").toContain(":8080");
  });

  it("TS-30: a stranger in the same network gets no answer from their UDP ports", async () => {
    const { client, gateway } = office.sites ?? {};
    const [near, far] = [await client?.addHost("stranger-1", 66), await gateway?.addHost("stranger-2", 66)];
    const knocks = [
      { from: near, at: "172.30.0.100", port: "52625", said: /^knocked \d+ answers 0 refused 0\n$/ },
      { from: far, at: "172.31.0.100", port: "52625", said: /^knocked \d+ answers 0 refused 0\n$/ },
      // The relay answers anybody who asks for an address: so the knocking is heard.
      { from: near, at: "203.0.113.101", port: "3478", said: /^knocked \d+ answers [1-9]/ },
    ];
    const all = knocks.map(async ({ from, at, port, said }) => {
      expect(await from?.run(process.execPath, [KNOCK, at, port]), at).toMatch(said);
    });
    await Promise.all(all);
  });

  // Meanwhile the direct pairs of the first are given up.
  for (const scenario of SCENARIOS) {
    it(`TS-30.${scenario.name}`, { timeout: SCENARIO_MS_MAX }, () => findPath(scenario));
  }

  it("SN-146, PG-191: when a path opens, a TCP download moves to it and loses no byte", {
    timeout: GIVEN_UP_WITHIN_MS + DIRECT_WITHIN_MS + 30_000,
  }, async () => {
    const download = office.traffic(office.client, "take", OFFICE_V4, POUR);
    await eventually(async () => {
      for (const where of [office.client, office.gateway]) {
        const [why] = await whyOf(office, where);
        expect(why).toMatchObject({ path: "relayed", cause: "relayed-not-heard" });
        expect(why?.sentence).toMatch(/direct pairs of addresses was answered/);
      }
    }, GIVEN_UP_WITHIN_MS);
    const forward = 'iifname "wan" udp dport 52625 dnat ip to 172.31.0.100';
    await office.gatewayRouter.run("nft", ["add", "rule", "ip", "nat", "prerouting", forward]);
    await eventually(async () => expect(await path()).toBe("direct"), DIRECT_WITHIN_MS);
    const { count } = newest(download);
    await eventually(() => expect(newest(download).count).toBeGreaterThan(count + 500_000), 20_000);
    expect(download.stdout()).not.toMatch(/broken|error/);
    expect(await whyOf(office, office.client)).toMatchObject([{ cause: "direct" }]);
  });
});
