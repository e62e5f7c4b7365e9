/**
 * A device of 1,300 bytes between two routers, and nobody who says so (TN-109, SN-150). The routers take no
 * super-frames there, so that every packet is judged by its own length.
 *
 *     client ── router ══ 1,300 ══ far router ── gateway
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child } from "../../src/program/lab/index.ts";
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

/** Neither does anybody hear that a packet was too big, nor does a fragment arrive. */
const SILENCE = `
  table inet silence {
    chain out {
      type filter hook output priority filter;
      icmp type destination-unreachable drop
      icmpv6 type packet-too-big drop
    }
    chain through {
      type filter hook forward priority filter;
      ip frag-off & 0x3fff != 0 drop
      exthdr frag exists drop
    }
  }`;

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "a narrow device between routers", () => {
  let office: Office;
  let programs: readonly Child[];

  beforeAll(async () => {
    office = await createOffice();
    await buildFarRouter(office);
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
});

async function buildFarRouter({ lab, router, gateway }: Office): Promise<void> {
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
  for (const where of [router, far]) await where.run("nft", ["--", SILENCE]);
}
