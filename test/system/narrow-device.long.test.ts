/**
 * A device of 1,300 bytes between two routers, and nobody who says so (TN-109, SN-150, PG-43). The routers take
 * no super-frames there, so that every packet is judged by its own length.
 *
 *     client ── router ══ 1,300 ══ far router ── gateway
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import { addWire } from "../../src/program/lab/index.ts";
import { echo, eventually, newest } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, OFFICE_V6, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";
import { transfer } from "../lib/transfer.ts";

const MTU = 1300;
const POUR = "9000";
/** At 1,280 bytes a packet: thousands of full segments, each of which would be lost without the clamp. */
const BULK_BYTES = 4e6;
const timeout = 90_000;

/** Nobody hears that a packet was too big. */
const NO_ICMP = `
  table inet silence {
    chain out {
      type filter hook output priority filter;
      icmp type destination-unreachable drop
      icmpv6 type packet-too-big drop
    }
  }`;
/** Nor does a fragment arrive. */
const NO_FRAGMENTS = `
  table inet whole {
    chain through {
      type filter hook forward priority filter;
      ip frag-off & 0x3fff != 0 drop
      exthdr frag exists drop
    }
  }`;

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "a narrow device between routers", () => {
  let office: Office;
  let routers: readonly Namespace[];
  let programs: readonly Child[];

  beforeAll(async () => {
    office = await createOffice();
    routers = [office.router, await buildFarRouter(office)];
    for (const where of routers) await where.run("nft", ["--", `${NO_ICMP}${NO_FRAGMENTS}`]);
    // Outside everything is IPv4, which alone has routers that cut packets up.
    await office.router.sysctl("net/ipv6/conf/all/forwarding", "0");
    office.configure([{ resource: "Office" }, { resource: "Office6" }]);
    await office.startPortal();
    office.traffic(office.resource, "pour", POUR);
    programs = await Promise.all([office.startGateway(), office.startClient()]);
    await eventually(async () => expect(await echo(office.client, OFFICE_V4)).toBe("answered"), 20_000);
  }, timeout);
  afterAll(() => office?.close());

  it("SN-150: both ends learn that the path carries no full packets", { timeout }, async () => {
    for (const program of programs) {
      await program.waitForLine(/path carries no full packets/, { withinMs: 30_000 });
    }
  });

  it("TN-109: TCP carries bulk both ways, of both families", { timeout }, async () => {
    for (const to of [OFFICE_V4, OFFICE_V6]) {
      const what = { protocol: "tcp", to, bytes: BULK_BYTES } as const;
      const { sent, received } = await transfer(office.client, office.resource, what);
      expect(received).toBe(sent);
      const download = office.traffic(office.client, "take", to, POUR);
      await eventually(() => expect(newest(download).count).toBeGreaterThan(BULK_BYTES), 30_000);
      expect(download.stdout()).not.toMatch(/broken|error/);
      await download.stop();
    }
  });

  it("PG-43, TN-108: what nobody may make shorter goes in fragments, where these pass", {
    timeout,
  }, async () => {
    // IPv4 without DF, and IPv6 of the 1,280 bytes that every network carries.
    const full = [
      ["-M", "dont", "-s", "1252", OFFICE_V4],
      ["-s", "1232", OFFICE_V6],
    ] as const;
    const answered = async ([...args]: readonly string[]): Promise<boolean> => {
      const to = args.pop() ?? "";
      return (await echo(office.client, to, ...args)) === "answered";
    };
    for (const args of full) expect(await answered(args), "fragments are dropped").toBe(false);
    for (const where of routers) await where.run("nft", ["delete", "table", "inet", "whole"]);
    for (const args of full) expect(await answered(args), args.join(" ")).toBe(true);
  });
});

async function buildFarRouter({ lab, router, gateway }: Office): Promise<Namespace> {
  const far = await lab.add("far-router");
  await far.sysctl("net/ipv4/ip_forward", "1");
  await far.sysctl("net/ipv6/conf/all/forwarding", "1");
  await addWire(
    lab,
    { namespace: router, device: "line", addresses: ["10.99.0.1/30", "fd99::1/64"], mtu: MTU },
    { namespace: far, device: "line", addresses: ["10.99.0.2/30", "fd99::2/64"], mtu: MTU },
    { offloads: false },
  );
  await gateway.ip("link del wan");
  await lab.connect(
    { namespace: gateway, device: "wan", addresses: ["10.33.0.2/24", "fd33::2/64"] },
    { namespace: far, device: "gateway", addresses: ["10.33.0.1/24", "fd33::1/64"] },
  );
  await gateway.ip("route add default via 10.33.0.1", "route add ::/0 via fd33::1");
  await far.ip("route add default dev line", "route add ::/0 dev line");
  await router.ip("route add 10.33.0.0/24 dev line", "route add fd33::/64 dev line");
  return far;
}
