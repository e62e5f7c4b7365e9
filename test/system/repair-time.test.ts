/**
 * How soon what others took away is there again (PG-153): 200 ms after the kernel's own event. Both moments
 * are read from one monitor, so that what the test itself needs does not count, and the quickest of three
 * repairs is taken: a busy machine makes some slower, and none quicker.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Child, type Namespace, patient } from "../../src/program/lab/index.ts";
import { eventually } from "../lib/observe.ts";
import { createOffice, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const REPAIR_MS_MAX = 200;
/** All of them: a look comes 20 ms behind an event, or 5 s where none is told any more. */
const FLOODED_MS_MAX = 1_000;
/** More are no repairs any more, but a fight. */
const TRIES = 3;
const timeout = 60_000;

/** Of others: more than the socket of events holds. */
const ROUTES = 4000;
const FLOOD = Array.from(
  { length: ROUTES },
  (_, i) => `route add 198.18.${i >> 8}.${i & 255}/32 dev lo table 77\n`,
).join("");

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "what others take away", () => {
  let office: Office;
  let client: Child;
  beforeAll(async () => {
    office = await createOffice();
    office.configure([{ resource: "Office" }, { resource: "Office6" }]);
    await office.startPortal();
    [, client] = await Promise.all([office.startGateway(), office.startClient()]);
  });
  afterAll(() => office?.close());

  it("PG-153: a rule and a route are back within 200 ms of the event", { timeout }, async () => {
    const monitor = await startMonitor(office.client, ["rule", "route", "address"]);
    for (let n = 0; n < TRIES; n++) {
      const route = "172.20.0.0/16 dev tun-postern";
      await office.client.ip("rule del pref 100", `route del ${route} table 539098624`);
      await eventually(() => {
        expect(gapsOf(monitor, /\b100:/)).toHaveLength(n + 1);
        expect(gapsOf(monitor, /172\.20\.0\.0\/16 dev tun-postern/)).toHaveLength(n + 1);
      });
    }
    for (const what of [/\b100:/, /172\.20\.0\.0\/16 dev tun-postern/]) {
      const gaps = gapsOf(monitor, what);
      expect(Math.min(...gaps), `${gaps} ms`).toBeLessThan(patient(REPAIR_MS_MAX));
    }
  });

  it("PG-36, PG-153: so is a rule that goes right behind thousands of others' routes", {
    timeout,
  }, async () => {
    // Another one: of the first more repairs would be a fight.
    await client.stop();
    client = await office.startClient();
    const monitor = await startMonitor(office.client, ["rule", "address"]);
    for (let n = 0; n < TRIES; n++) {
      const flood = { name: "ip", command: "ip", args: ["-batch", "-"], input: FLOOD };
      expect(await office.client.start(flood).wait(10_000)).toMatchObject({ status: 0 });
      await office.client.ip("rule del pref 100");
      await eventually(() => expect(gapsOf(monitor, /\b100:/)).toHaveLength(n + 1), 30_000);
      await office.client.ip("route flush table 77");
    }
    const gaps = gapsOf(monitor, /\b100:/);
    expect(Math.max(...gaps), `${gaps} ms`).toBeLessThan(patient(FLOODED_MS_MAX));
  });

  it("PG-153: a table of the firewall is back 200 ms after it was deleted", { timeout }, async () => {
    const gaps: number[] = [];
    let goneAt: number | "awaited" | undefined;
    // The repair itself makes the table more than once: the first counts.
    const onLine = (line: string): void => {
      if (goneAt === "awaited" && line === "delete table inet postern") goneAt = performance.now();
      if (typeof goneAt !== "number" || line !== "add table inet postern") return;
      gaps.push(performance.now() - goneAt);
      goneAt = undefined;
    };
    const args = ["-oL", "nft", "monitor", "tables"];
    const monitor = office.gateway.start({ name: "nft monitor", command: "stdbuf", args, onLine });
    await eventually(async () => {
      await office.gateway.run("nft", ["add table inet probe; delete table inet probe"]);
      expect(monitor.stdout()).toContain("probe");
    });
    for (let n = 1; n <= TRIES; n++) {
      goneAt = "awaited";
      await office.gateway.run("nft", ["delete", "table", "inet", "postern"]);
      await eventually(() => expect(gaps).toHaveLength(n));
    }
    expect(Math.min(...gaps), `${gaps} ms`).toBeLessThan(patient(REPAIR_MS_MAX));
  });
});

async function startMonitor(where: Namespace, what: readonly string[]): Promise<Child> {
  const args = ["-oL", "ip", "-ts", "-o", "monitor", ...what];
  const monitor = where.start({ name: "ip monitor", command: "stdbuf", args });
  // It listens as soon as it says the first word of anything.
  await eventually(async () => {
    await where.ip("addr add 127.0.0.9/32 dev lo", "addr del 127.0.0.9/32 dev lo");
    expect(monitor.stdout()).toContain("127.0.0.9");
  });
  return monitor;
}

/** For each time that something like this went, how many milliseconds passed until it was there again. */
function gapsOf(monitor: Child, what: RegExp): readonly number[] {
  const gaps: number[] = [];
  let goneAt: number | undefined;
  for (const line of monitor.stdout().split("\n")) {
    const at = Date.parse(`${/^\[([\d:.T-]+)\]/.exec(line)?.[1]}Z`);
    if (!what.test(line) || Number.isNaN(at)) continue;
    if (line.includes("Deleted")) goneAt = at;
    else if (goneAt !== undefined) {
      gaps.push(at - goneAt);
      goneAt = undefined;
    }
  }
  return gaps;
}
