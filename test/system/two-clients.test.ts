/** Two clients behind one NAT, at one gateway (TS-30, 46; TN-12, TN-14; and 34, ECN). */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import { connectionsOf, pairInUse } from "../lib/ask.ts";
import { echo, eventually, newest, tunnelAddresses } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, OFFICE_V6, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const POUR = "9000";
/** The gateway serves nothing there. */
const CLOSED = "9";
/** TN-14 and the plane's share: 100 refusals a second and peer. */
const FLOOD_PER_SECOND = "2000";
const POLITE_PER_SECOND = "20";
const timeout = 60_000;

/** The router of the gateway is congested: what may be marked is marked. */
const CONGESTED = `
  table inet congested {
    chain forward {
      type filter hook forward priority mangle;
      ip ecn { ect0, ect1 } ip ecn set ce
      ip6 ecn { ect0, ect1 } ip6 ecn set ce
    }
  }`;
/** Counts TCP segments that say so. */
const MARKED = `
  table inet marked {
    counter v4 {}
    counter v6 {}
    chain input {
      type filter hook input priority filter;
      meta l4proto tcp ip ecn ce counter name v4
      meta l4proto tcp ip6 ecn ce counter name v6
    }
  }`;

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "two clients behind one NAT", () => {
  let office: Office;
  let second: Namespace;
  let programs: readonly Child[];

  beforeAll(async () => {
    const nat = { kind: "port-restricted" } as const;
    const families = { client: "ipv4", gateway: "ipv4" } as const;
    office = await createOffice({ nats: { client: nat, gateway: nat, families }, relays: 1 });
    const added = await office.sites?.client.addHost("client-2", 101, { families: "ipv4" });
    if (added === undefined) throw new Error("the office has sites");
    second = added;
    await office.gateway.ip("addr add fd20::1/64 dev lan nodad");
    for (const where of [office.client, office.resource]) await where.sysctl("net/ipv4/tcp_ecn", "1");
    office.configure([{ resource: "Office" }, { resource: "Office6" }]);
    await office.startPortal();
    // It shows both ends their outside addresses.
    await office.startRelay(0);
    office.traffic(office.resource, "pour", POUR);
    office.traffic(office.resource, "serve", "80");
    programs = await Promise.all([
      office.startGateway(),
      office.startClient(),
      office.startClientAt(second, "lab-client-2"),
    ]);
    await eventually(async () => {
      for (const where of [office.client, second]) expect(await echo(where, OFFICE_V4)).toBe("answered");
    }, 20_000);
  }, timeout);
  afterAll(() => office?.close());

  it("TS-30.46: both download at the same time, directly, and one's end is nothing to the other", {
    timeout,
  }, async () => {
    const downloads = [office.client, second].map((where) => office.traffic(where, "take", OFFICE_V4, POUR));
    const grow = async (download: Child | undefined): Promise<void> => {
      if (download === undefined) throw new Error("no download");
      const { count } = newest(download);
      await eventually(() => expect(newest(download).count).toBeGreaterThan(count + 500_000), 20_000);
      expect(download.stdout()).not.toMatch(/broken|error/);
    };
    await Promise.all(downloads.map(grow));
    await eventually(async () => {
      const connections = await connectionsOf(office, office.gateway);
      expect(connections.map(({ path }) => path)).toEqual(["direct", "direct"]);
      // One NAT, one port inside: outside they differ.
      expect(new Set(connections.map(({ remote }) => remote)).size).toBe(2);
    });
    expect((await pairInUse(office, second))?.local).toBe("host 172.30.0.101:52625");
    expect(await programs[2]?.stop()).toEqual({ status: 0, signal: undefined });
    await grow(downloads[0]);
    programs = [...programs.slice(0, 2), await office.startClientAt(second, "lab-client-2")];
    await eventually(async () => expect(await echo(second, OFFICE_V4)).toBe("answered"), 20_000);
  });

  it("TN-12, TN-14: one that is refused 2,000 times a second takes none of the other's refusals", {
    timeout,
  }, async () => {
    const [gatewayAddress = ""] = await tunnelAddresses(office.gateway);
    const flood = office.traffic(second, "prod", gatewayAddress, CLOSED, FLOOD_PER_SECOND);
    await eventually(() => expect(counts(flood).prodded).toBeGreaterThan(1_000));
    const before = counts(flood);
    const polite = office.traffic(office.client, "prod", gatewayAddress, CLOSED, POLITE_PER_SECOND);
    await eventually(() => expect(counts(polite).prodded).toBeGreaterThanOrEqual(60), 20_000);
    const [flooded, asked] = [counts(flood), counts(polite)];
    expect(flooded.prodded - before.prodded, "it was a flood all the while").toBeGreaterThan(2_000);
    // Where all shared one budget, three of four were lost.
    expect(asked.refused / asked.prodded).toBeGreaterThan(0.8);
    expect(flooded.refused / flooded.prodded, "its own budget is spent").toBeLessThan(0.3);
    await Promise.all([flood.stop(), polite.stop()]);
  });

  it("TS-30.34: congestion on the way is seen inside, both ways, and nothing is lost to it", {
    timeout,
  }, async () => {
    await office.gatewayRouter.run("nft", ["--", CONGESTED]);
    for (const where of [office.client, office.resource]) await where.run("nft", ["--", MARKED]);
    for (const [family, url] of [
      ["v4", `http://${OFFICE_V4}/`],
      ["v6", `http://[${OFFICE_V6}]/`],
    ] as const) {
      expect((await office.fetch(office.client, url)).sha256).toMatch(/^[0-9a-f]{64}$/);
      for (const where of [office.client, office.resource]) {
        const said = await where.run("nft", ["list", "counter", "inet", "marked", family]);
        expect(Number(/packets (\d+)/.exec(said)?.[1]), `${family} at ${where.role}`).toBeGreaterThan(0);
      }
    }
  });
});

function counts(prod: Child): { readonly prodded: number; readonly refused: number } {
  const match = [...prod.stdout().matchAll(/^prodded (\d+) refused (\d+)$/gm)].at(-1);
  return { prodded: Number(match?.[1] ?? 0), refused: Number(match?.[2] ?? 0) };
}
