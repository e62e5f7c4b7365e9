/** Recoveries that take an ICE time-out or more each: the everyday ones are in `recovery.test.ts`. */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child } from "../../src/program/lab/index.ts";
import { echo, eventually, newest, timeOf, untilIdle } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, type Office, VAULT } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const GATEWAY_BOUND_MS = 25_000;
const timeout = 180_000;

describeWith(["netns", "tun", "nft", "ipv6", "build"], "recovery at length", () => {
  let office: Office;
  let portal: Child;
  let gateway: Child;
  let client: Child;

  beforeAll(async () => {
    office = await createOffice();
    office.configure([{ resource: "Office" }, { resource: "Vault" }]);
    portal = await office.startPortal();
    office.traffic(office.resource, "serve", "80");
    [gateway, client] = await Promise.all([office.startGateway(), office.startClient()]);
    expect(await echo(office.client, OFFICE_V4)).toBe("answered");
  });
  afterAll(() => office?.close());

  async function reaches(address: string, withinMs: number): Promise<void> {
    await eventually(async () => expect(await echo(office.client, address)).toBe("answered"), withinMs);
  }

  it("PG-75: SIGHUP of the gateway: the client notices and connects anew", { timeout }, async () => {
    gateway.signal("SIGHUP");
    await gateway.waitForLine(/Resetting network state \(SIGHUP\)/, { withinMs: 5000 });
    await reaches(OFFICE_V4, GATEWAY_BOUND_MS);
  });

  it("SN-79, TS-30 no. 21: a gateway killed while the connection is idle", { timeout }, async () => {
    await untilIdle(client);
    await gateway.stop({ signal: "SIGKILL" });
    gateway = await office.startGateway();
    await reaches(OFFICE_V4, GATEWAY_BOUND_MS);
  });

  it("PT-32: both peers live without the portal for three minutes, and join again when it is back", {
    timeout: 400_000,
  }, async () => {
    await portal.stop({ signal: "SIGKILL" });
    const sink = office.traffic(office.resource, "sink", "9000");
    await sink.waitForLine(/^listening$/, { withinMs: 10_000 });
    const source = office.traffic(office.client, "source", OFFICE_V4, "9000");
    // Longer than a session lives (WG-45): the tunnel re-keys by itself.
    const before = Date.now();
    await eventually(() => expect(newest(sink).at).toBeGreaterThan(before + 180_000), 240_000);
    expect(source.stdout()).not.toContain("error");
    portal = await office.startPortal();
    const back = Date.now();
    // The back-off has grown to its cap by then (PT §3: 60 s and half).
    await eventually(() => {
      for (const peer of [client, gateway]) expect(timeOf(peer, /portal connected/)).toBeGreaterThan(back);
    }, 95_000);
    await reaches(VAULT, 10_000);
  });
});
