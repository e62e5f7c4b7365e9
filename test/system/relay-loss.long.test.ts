/** What becomes of a relayed connection when its relay goes (TS-30). */
import { afterEach, expect, it } from "vitest";
import type { Child } from "../../src/program/lab/index.ts";
import { eventually, newest } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const SINK = "9000";
/** A TCP connection inside with a user time-out of 30 s lives on (RL-89). */
const SURVIVES_WITHIN_MS = 30_000;
const timeout = 120_000;
const REGISTERED = / portal connected /g;

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "a relayed connection", () => {
  let office: Office;
  afterEach(() => office?.close());

  interface Relayed {
    readonly portal: Child;
    readonly relays: readonly Child[];
    readonly sink: Child;
    /** Of the relay that the client uses. */
    inUse(): Promise<number>;
  }

  /** Both ends behind symmetric NATs, two relays, and a TCP stream from the client to the resource. */
  async function start(): Promise<Relayed> {
    const symmetric = { kind: "symmetric" } as const;
    const families = { client: "ipv4", gateway: "ipv4" } as const;
    office = await createOffice({ nats: { client: symmetric, gateway: symmetric, families }, relays: 2 });
    office.configure([{ resource: "Office" }]);
    const portal = await office.startPortal();
    const relays = [await office.startRelay(0), await office.startRelay(1)];
    const sink = office.traffic(office.resource, "sink", SINK);
    await Promise.all([office.startGateway(), office.startClient()]);
    const source = office.traffic(office.client, "source", OFFICE_V4, SINK);
    await source.waitForLine(/^connected$/, { withinMs: 20_000 });
    const inUse = async (): Promise<number> => {
      const child = office.postern(office.client, ["connections", "--json"]);
      await child.wait(10_000);
      const [connection] = JSON.parse(child.stdout()) as readonly { readonly relay?: string | null }[];
      return relays.findIndex((relay) => relay.stderr().includes(`relay=${connection?.relay}`));
    };
    await eventually(async () => expect(await inUse()).toBeGreaterThanOrEqual(0), 20_000);
    return { portal, relays, sink, inUse };
  }

  /** The stream goes on: more comes than had come when this was called. */
  async function goesOn(sink: Child): Promise<void> {
    const { count } = newest(sink);
    await eventually(() => expect(newest(sink).count).toBeGreaterThan(count + 100_000), SURVIVES_WITHIN_MS);
  }

  it("TS-30.24: a relay that is killed: the TCP connection inside survives on the other", {
    timeout,
  }, async () => {
    const { relays, sink, inUse } = await start();
    const first = await inUse();
    relays[first]?.signal("SIGKILL");
    await relays[first]?.exited;
    await goesOn(sink);
    await eventually(async () => expect(await inUse()).toBe(1 - first), 20_000);
  });

  it("TS-30.23, RL-73: a relay that drains: its clients move, and it ends by itself with 0", {
    timeout,
  }, async () => {
    const { relays, sink, inUse } = await start();
    const first = await inUse();
    relays[first]?.signal("SIGTERM");
    await goesOn(sink);
    expect(await relays[first]?.wait(20_000)).toEqual({ status: 0, signal: undefined });
    await eventually(async () => expect(await inUse()).toBe(1 - first), 20_000);
  });

  it("RL-68, RL-69: a portal that comes and goes: relays register anew by themselves, and the stream goes on", {
    timeout,
  }, async () => {
    const { portal, relays, sink, inUse } = await start();
    let current = portal;
    for (let flap = 1; flap <= 2; flap++) {
      expect(await current.stop()).toMatchObject({ status: 0 });
      await goesOn(sink);
      current = await office.startPortal();
      for (const relay of relays) {
        const registrations = () => relay.stderr().match(REGISTERED)?.length ?? 0;
        await eventually(() => expect(registrations()).toBe(1 + flap), SURVIVES_WITHIN_MS);
      }
      await goesOn(sink);
    }
    expect(relays.every((relay) => relay.isRunning())).toBe(true);
    // By the id that it had from the start.
    await eventually(async () => expect(await inUse()).toBeGreaterThanOrEqual(0), SURVIVES_WITHIN_MS);
  });
});
