/** Access that is taken away ends a flow that runs at full rate, as soon as the gateway hears of it (TN-82). */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child } from "../../src/program/lab/index.ts";
import { eventually, timeOf } from "../lib/observe.ts";
import { createOffice, type Office, VAULT } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

/** What was on its way has passed by then. */
const WITHIN_MS = 100;
const LOOK_EVERY_MS = 2;

/**
 * Prints after which look the bytes that came by a device have grown last: they came later than that. A watcher that a
 * busy machine lets wait says too early a time, never too late a one.
 */
const WATCH = `
  const { readFileSync } = require("node:fs");
  const read = () => Number(readFileSync("/sys/class/net/lan/statistics/rx_bytes", "utf8"));
  let [bytes, looked, at, told] = [read(), Date.now(), 0, 0];
  setInterval(() => {
    const now = read();
    // ARP and neighbour discovery go on.
    if (now - bytes > 2000) at = looked;
    [bytes, looked] = [now, Date.now()];
  }, ${LOOK_EVERY_MS});
  setInterval(() => at !== told && console.log("grew at " + (told = at)), 50);
`;

describeWith(["netns", "tun", "nft", "iperf3", "build"], "access taken away at full rate", () => {
  let office: Office;
  let gateway: Child;

  beforeAll(async () => {
    office = await createOffice();
    office.configure([{ resource: "Office" }, { resource: "Vault" }]);
    await office.startPortal();
    [gateway] = await Promise.all([office.startGateway(), office.startClient()]);
  }, 60_000);
  afterAll(() => office?.close());

  it("TN-54, TN-82: nothing passes 100 ms after the portal's word", async () => {
    const server = office.resource.start({
      name: "iperf3",
      command: "iperf3",
      args: ["-s", "-1", "--forceflush"],
    });
    await server.waitForLine(/listening/i, { withinMs: 10_000, stream: "stdout" });
    const watch = office.resource.start({ name: "watch", command: process.execPath, args: ["-e", WATCH] });
    const args = ["-c", VAULT, "-t", "30", "-i", "1", "--forceflush"];
    const sender = office.client.start({ name: "iperf3", command: "iperf3", args });
    await sender.waitForLine(/ 1\.00-2\.00 .*bits\/sec/, { withinMs: 20_000, stream: "stdout" });
    office.configure([{ resource: "Office" }]);
    await gateway.waitForLine(/access ended .*reason=revoked/, { withinMs: 20_000 });
    const endedAt = timeOf(gateway, /access ended .*reason=revoked/);
    const grewAt = (): number => Number([...watch.stdout().matchAll(/grew at (\d+)/g)].at(-1)?.[1] ?? 0);
    // It has been full rate until then, and is silent from then on.
    await eventually(() => expect(Date.now() - endedAt).toBeGreaterThan(2_000));
    expect(grewAt()).toBeGreaterThan(endedAt - 1_000);
    expect(grewAt() - endedAt).toBeLessThan(WITHIN_MS);
    await sender.stop();
    await server.stop();
    await watch.stop();
  }, 90_000);
});
