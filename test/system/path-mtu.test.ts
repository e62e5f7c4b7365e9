/** A network that carries less than a full datagram between client and gateway (SN-150, TN-108, TN-109, TN-121). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import { echo, eventually, statusOf, warningsOf } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, OFFICE_V6, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";
import { transfer } from "../lib/transfer.ts";

const MTU = 1300;
/** The office's first. */
const RELAY = "203.0.113.101";
const RELAY_V6 = "2001:db8:113::101";
const NARROW = /path carries no full packets/;
/** Bulk that would need an hour, if every full segment had to be sent until it is given up. */
const BULK_BYTES = 20e6;
const timeout = 90_000;

/** Behind the router there is a link of 1300 bytes, on the way to either end. */
async function narrow(router: Namespace): Promise<void> {
  for (const [device, v4, v6] of [
    ["client", "10.30.0", "fd30:"],
    ["gateway", "10.31.0", "fd31:"],
  ]) {
    await router.ip(
      `route replace ${v4}.0/24 dev ${device} src ${v4}.1 mtu lock ${MTU}`,
      `route del ${v6}:/64 dev ${device}`,
      `route add ${v6}:/64 dev ${device} mtu lock ${MTU}`,
    );
  }
}

/** Nobody hears that a packet was too big. */
async function silence(router: Namespace): Promise<void> {
  const rules = [
    "add table inet silence",
    "add chain inet silence out { type filter hook output priority 0; }",
    "add rule inet silence out icmp type destination-unreachable drop",
    "add rule inet silence out icmpv6 type packet-too-big drop",
  ];
  await router.run("nft", [rules.join("\n")]);
}

/** The same between a site and everybody else, with NATs. */
async function narrowSite(router: Namespace, site: number): Promise<void> {
  await router.ip(
    `route replace 172.${site}.0.0/24 dev lan mtu lock ${MTU}`,
    `route del 2001:db8:113:${site}::/64 dev lan`,
    `route add 2001:db8:113:${site}::/64 dev lan mtu lock ${MTU}`,
    `route add ${RELAY}/32 dev wan mtu lock ${MTU}`,
    `route add ${RELAY_V6}/128 dev wan mtu lock ${MTU}`,
  );
}

/** The two sites reach each other by the relay only, by IPv6 as they do by IPv4. */
async function keepApart(router: Namespace): Promise<void> {
  const rules = [
    "add table inet apart",
    "add chain inet apart through { type filter hook forward priority 0; }",
    "add rule inet apart through ip6 saddr 2001:db8:113:30::/64 ip6 daddr 2001:db8:113:31::/64 drop",
    "add rule inet apart through ip6 saddr 2001:db8:113:31::/64 ip6 daddr 2001:db8:113:30::/64 drop",
  ];
  await router.run("nft", [rules.join("\n")]);
}

/** Without DF, and the least that IPv6 carries everywhere, which no error can make less: many at once, too. */
async function expectAllArrives(office: Office, hasV6: boolean): Promise<void> {
  const v4 = { to: OFFICE_V4, bytes: 1280 - 28 };
  const v6 = { to: OFFICE_V6, bytes: 1280 - 48 };
  for (const { to, bytes } of hasV6 ? [v4, v6] : [v4]) {
    const options = ["-M", "dont", "-s", String(bytes)];
    expect(await echo(office.client, to, ...options)).toBe("answered");
    const ping = office.client.start({
      name: "ping",
      command: "ping",
      args: ["-n", "-q", "-i", "0.002", "-c", "500", "-W", "2", ...options, to],
    });
    await ping.wait(20_000);
    expect(ping.stdout()).toMatch(/ 0% packet loss/);
  }
}

/** No fragment arrives either. */
async function dropFragments(router: Namespace): Promise<void> {
  const rules = [
    "add chain inet silence through { type filter hook forward priority 0; }",
    "add rule inet silence through ip frag-off & 0x3fff != 0 drop",
    "add rule inet silence through exthdr frag exists drop",
  ];
  await router.run("nft", [rules.join("\n")]);
}

describeWith(["netns", "tun", "nft", "ipv6", "build"], "a narrow network", () => {
  describe.each([
    { title: "IPv4, ICMP allowed", isV6: false, isSilent: false, inside: 1240 },
    { title: "IPv4, ICMP and fragments blocked", isV6: false, isSilent: true, inside: 1240 },
    { title: "IPv6, ICMP and fragments blocked", isV6: true, isSilent: true, inside: 1220 },
  ])("over $title", ({ isV6, isSilent, inside }) => {
    let office: Office;
    let programs: readonly Child[] = [];

    beforeAll(async () => {
      office = await createOffice();
      await narrow(office.router);
      if (isSilent) {
        await silence(office.router);
        await dropFragments(office.router);
      }
      if (!isV6) await office.router.sysctl("net/ipv6/conf/all/forwarding", "0");
      office.configure([{ resource: "Office" }, { resource: "Office6" }]);
      await office.startPortal();
      office.traffic(office.resource, "serve", "80");
      programs = await Promise.all([office.startGateway(), office.startClient()]);
      await echo(office.client, OFFICE_V4, "-W", "10");
    }, timeout);
    afterAll(() => office?.close());

    it("SN-150: both ends learn what it carries, and say so once", { timeout }, async () => {
      for (const program of programs) {
        await program.waitForLine(NARROW, { withinMs: 20_000 });
        const { connection } = await statusOf(program);
        expect(connection).toMatchObject({ mtu: String(MTU), mtu_inside: String(inside) });
      }
    });

    it("TN-108: ping with DF is told the MTU that fits, and passes with it", { timeout }, async () => {
      const ping = office.client.start({
        name: "ping",
        command: "ping",
        args: ["-n", "-c", "2", "-W", "2", "-M", "do", "-s", String(1280 - 28), OFFICE_V4],
      });
      await ping.wait(15_000);
      expect(`${ping.stdout()}${ping.stderr()}`).toMatch(new RegExp(`mtu ?= ?${inside}\\b`));
      expect(await echo(office.client, OFFICE_V4, "-M", "do", "-s", String(inside - 28))).toBe("answered");
    });

    it("TN-109: TCP passes in bulk in both directions, of both families", { timeout }, async () => {
      for (const to of [OFFICE_V4, OFFICE_V6]) {
        const { sent, received } = await transfer(office.client, office.resource, {
          protocol: "tcp",
          to,
          bytes: BULK_BYTES,
        });
        expect(received).toBe(sent);
      }
      // Down: pages of 256 KiB, from a server whose segments are as long as the client said.
      for (const url of [`http://${OFFICE_V4}/`, `http://[${OFFICE_V6}]/`]) {
        expect((await office.fetch(office.client, url)).sha256).toMatch(/^[0-9a-f]{64}$/);
      }
    });

    it("SN-150: and all the while there is one warning, and no other", async () => {
      await eventually(() => {
        for (const program of programs) {
          expect(warningsOf(program).filter((line) => NARROW.test(line))).toHaveLength(1);
        }
      });
    });
  });

  describe("behind a relay, ICMP blocked, fragments allowed", () => {
    let office: Office;
    afterAll(() => office?.close());

    it("RL-50, TN-108: what its senders cannot make smaller arrives all the same", { timeout }, async () => {
      const symmetric = { kind: "symmetric" } as const;
      const families = { client: "ipv4", gateway: "ipv4" } as const;
      office = await createOffice({ nats: { client: symmetric, gateway: symmetric, families }, relays: 1 });
      // Between either site and the relay, in both directions.
      for (const [router, inside] of [
        [office.router, "172.30.0"],
        [office.gatewayRouter, "172.31.0"],
      ] as const) {
        await router.ip(
          `route replace ${inside}.0/24 dev lan mtu lock ${MTU}`,
          `route add ${RELAY}/32 dev wan mtu lock ${MTU}`,
        );
        await silence(router);
      }
      office.configure([{ resource: "Office" }]);
      await office.startPortal();
      await office.startRelay(0);
      const programs = await Promise.all([office.startGateway(), office.startClient()]);
      await echo(office.client, OFFICE_V4, "-W", "10");
      for (const program of programs) await program.waitForLine(NARROW, { withinMs: 20_000 });
      const { connection } = await statusOf(programs[1]);
      // Checks went whole or not at all, so that the path's MTU is the right one, and TCP keeps to it.
      expect(connection).toMatchObject({ mtu: String(MTU), mtu_inside: String(MTU - 64) });
      expect(await echo(office.client, OFFICE_V4, "-M", "dont", "-s", String(1280 - 28))).toBe("answered");
    });
  });

  describe.each([
    { title: "over IPv6", gateway: "ipv6" },
    { title: "from IPv6 to IPv4", gateway: "ipv4" },
  ] as const)("behind a relay $title, ICMP and fragments blocked", ({ gateway }) => {
    let office: Office;
    afterAll(() => office?.close());

    it("TN-121, RL-50: what its senders cannot make smaller arrives all the same", { timeout }, async () => {
      const nat = { kind: "symmetric" } as const;
      const nats = { client: nat, gateway: nat, families: { client: "ipv6", gateway } } as const;
      office = await createOffice({ nats, relays: 1 });
      for (const [router, site] of [
        [office.router, 30],
        [office.gatewayRouter, 31],
      ] as const) {
        await narrowSite(router, site);
        await silence(router);
        await dropFragments(router);
      }
      await keepApart(office.router);
      office.configure([{ resource: "Office" }, { resource: "Office6" }]);
      await office.startPortal();
      await office.startRelay(0);
      const programs = await Promise.all([office.startGateway(), office.startClient()]);
      await echo(office.client, OFFICE_V4, "-W", "10");
      for (const program of programs) await program.waitForLine(NARROW, { withinMs: 20_000 });
      const { connection } = await statusOf(programs[1]);
      // Which end's relay it is, and so on which side four bytes more, is not said.
      expect(connection).toMatchObject({ path: "relayed" });
      expect(Number(connection?.["mtu_inside"])).toBeLessThanOrEqual(MTU - 80);
      await expectAllArrives(office, gateway === "ipv6");
    });
  });

  describe("over IPv6 by an interface of its own, ICMP and fragments blocked", () => {
    let office: Office;
    afterAll(() => office?.close());

    it("TN-121, PG-62: what its senders cannot make smaller arrives all the same", { timeout }, async () => {
      office = await createOffice();
      await narrow(office.router);
      await silence(office.router);
      await dropFragments(office.router);
      office.configure([{ resource: "Office" }, { resource: "Office6" }]);
      await office.startPortal();
      const bound = ["--egress-interface", "wan"] as const;
      const programs = await Promise.all([office.startGateway(...bound), office.startClient(...bound)]);
      await echo(office.client, OFFICE_V4, "-W", "10");
      for (const program of programs) await program.waitForLine(NARROW, { withinMs: 20_000 });
      const { connection } = await statusOf(programs[1]);
      expect(connection).toMatchObject({ path: "direct", mtu: String(MTU), mtu_inside: String(MTU - 80) });
      await expectAllArrives(office, true);
    });
  });

  describe("over IPv6, ICMP blocked, fragments allowed", () => {
    let office: Office;
    afterAll(() => office?.close());

    it("SN-152: what its senders cannot make smaller arrives all the same", { timeout }, async () => {
      office = await createOffice();
      await narrow(office.router);
      await silence(office.router);
      office.configure([{ resource: "Office" }, { resource: "Office6" }]);
      await office.startPortal();
      const programs = await Promise.all([office.startGateway(), office.startClient()]);
      await echo(office.client, OFFICE_V4, "-W", "10");
      for (const program of programs) await program.waitForLine(NARROW, { withinMs: 20_000 });
      const { connection } = await statusOf(programs[1]);
      expect(connection).toMatchObject({ mtu: String(MTU), mtu_inside: String(MTU - 80) });
      // Without DF, and the least that IPv6 carries everywhere, which no error can make less.
      expect(await echo(office.client, OFFICE_V4, "-M", "dont", "-s", String(1280 - 28))).toBe("answered");
      expect(await echo(office.client, OFFICE_V6, "-s", String(1280 - 48))).toBe("answered");
    });
  });
});
