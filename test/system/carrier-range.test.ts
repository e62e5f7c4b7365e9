/**
 * Client and gateway on hosts whose own networks lie in 100.64.0.0/10, as carriers number their customers
 * (TN-16, TN-18):
 *
 * ```
 *   client 100.70.0.2 ── 100.70.0.1 router 100.71.0.1 ── 100.71.0.2 gateway ── office
 * ```
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child } from "../../src/program/lab/index.ts";
import { echo, eventually, warningsOf } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const timeout = 90_000;

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "hosts inside 100.64.0.0/10", () => {
  let office: Office;
  let gateway: Child;
  let client: Child;

  beforeAll(async () => {
    office = await createOffice();
    await office.router.ip("addr add 100.70.0.1/24 dev client", "addr add 100.71.0.1/24 dev gateway");
    for (const [machine, own, router] of [
      [office.client, "100.70.0.2/24", "100.70.0.1"],
      [office.gateway, "100.71.0.2/24", "100.71.0.1"],
    ] as const) {
      // IPv4 only: there is no other way by which the two might find each other.
      await machine.ip("addr flush dev wan", `addr add ${own} dev wan`, `route add default via ${router}`);
    }
    office.configure([{ resource: "Office" }, { resource: "Vault" }]);
    await office.startPortal();
    [gateway, client] = await Promise.all([office.startGateway(), office.startClient()]);
  }, 60_000);
  afterAll(() => office?.close());

  it("TN-16, PG-142: a resource is reached, by candidates in the range", { timeout }, async () => {
    await eventually(async () => expect(await echo(office.client, OFFICE_V4)).toBe("answered"), 20_000);
    expect(client.stderr()).toContain("100.70.0.2 52625 typ host");
  });

  it("TN-16: router and neighbours stay reachable from both, and one WARN names the network", {
    timeout,
  }, async () => {
    for (const [machine, router, program, network] of [
      [office.client, "100.70.0.1", client, "100.70.0.0/24"],
      [office.gateway, "100.71.0.1", gateway, "100.71.0.0/24"],
    ] as const) {
      expect(await echo(machine, router), router).toBe("answered");
      expect(await echo(machine, "203.0.113.10"), "and what lies behind it").toBe("answered");
      const way = await machine.run("ip", ["route", "get", "100.64.77.1"]);
      expect(way, "the rest of the range is the tunnel's").toContain("dev tun-postern");
      const said = warningsOf(program).filter((line) => line.includes("reached directly"));
      expect(said).toHaveLength(1);
      expect(said[0]).toContain(network);
    }
  });

  it("TN-18: proxy addresses go into the tunnel, even if a network claims them", { timeout }, async () => {
    await office.client.ip("addr add 100.96.7.2/24 dev wan");
    await eventually(() =>
      expect(warningsOf(client).filter((line) => line.includes("100.96.7.0/24"))).toHaveLength(1),
    );
    const way = await office.client.run("ip", ["route", "get", "100.96.7.9"]);
    expect(way).toContain("dev tun-postern");
  });
});
