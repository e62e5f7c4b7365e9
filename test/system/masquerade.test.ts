/** How the gateway forwards: rules, kernel parameters, and what `--masquerade off` leaves to others. */
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { type IpAddress, ip, toHex } from "../../src/base/index.ts";
import { encodeIp, encodeUdp } from "../../src/packet/index.ts";
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import { captureHost } from "../lib/leftovers.ts";
import { BRIEFLY, echo, eventually, tunnelAddresses } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, OFFICE_V6, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const timeout = 60_000;
const PARAMETERS = [
  "net/ipv4/ip_forward",
  "net/ipv4/conf/all/src_valid_mark",
  "net/ipv6/conf/all/forwarding",
  "net/ipv6/conf/default/forwarding",
];

/** PG-69, as nft prints it. */
const RULES = `
table inet postern {
	counter untranslated {
		packets 0 bytes 0
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		iifname "tun-postern" accept
		oifname "tun-postern" accept
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 100.64.0.0/11 oifname != { "lo", "tun-postern" } masquerade
		ip6 saddr fd00:2021:1111::/107 oifname != { "lo", "tun-postern" } masquerade
	}

	chain untranslated {
		type filter hook postrouting priority srcnat + 1; policy accept;
		oifname { "lo", "tun-postern" } accept
		fib saddr . oif type local accept
		ip saddr 100.64.0.0/11 counter name "untranslated" drop
		ip6 saddr fd00:2021:1111::/107 counter name "untranslated" drop
	}
}
`;

const INJECT = join(import.meta.dirname, "../lib/inject.mjs");
const COUNT_TUNNEL_SOURCES = `table inet watch {
  counter tunnel {}
  chain prerouting {
    type filter hook prerouting priority raw;
    ip saddr 100.64.0.0/10 counter name tunnel
    ip6 saddr fd00:2021:1111::/107 counter name tunnel
  }
}`;

/** Packets that connection tracking gives no state to, so that masquerading passes them by. */
function invalidPackets(source: IpAddress, destination: IpAddress): readonly Uint8Array[] {
  const from = { address: source, port: 4000 };
  const udp = encodeUdp(from, { address: destination, port: 9 }, new Uint8Array(8));
  if (!udp.ok) throw new Error(udp.reason);
  // The checksum of the datagram, which its last bytes make wrong.
  udp.value.set([1, 2, 3], udp.value.length - 3);
  const tcp = (flags: number): Uint8Array => {
    const header = new Uint8Array(20);
    header.set([15, 160, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags]);
    return header;
  };
  // An SCTP packet (RFC 9260) whose only chunk is data, of an association that nobody has seen.
  const sctp = new Uint8Array(28);
  sctp.set([15, 160, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 3, 0, 16]);
  const others = [
    { protocol: 6, transport: tcp(0x03) },
    { protocol: 6, transport: tcp(0x00) },
    { protocol: 132, transport: sctp },
  ].map((rest) => encodeIp({ source, destination, ...rest }));
  return [udp, ...others].map((packet) => {
    if (!packet.ok) throw new Error(packet.reason);
    return packet.value;
  });
}

async function packetsIn(where: Namespace, table: string, counter: string): Promise<number> {
  const text = await where.run("nft", ["list", "counter", "inet", table, counter]);
  return Number(/packets (\d+)/.exec(text)?.[1]);
}

describeWith(["netns", "tun", "nft", "ipv6", "build"], "the gateway's forwarding", () => {
  let office: Office;
  /** Of the test that runs; what a failed one left must not stand in the next one's way. */
  let gateway: Child | undefined;

  beforeAll(async () => {
    office = await createOffice();
    office.configure([{ resource: "Office" }, { resource: "Office6" }]);
    await office.startPortal();
    await office.startClient();
    office.traffic(office.resource, "serve", "80");
  });
  afterEach(() => gateway?.stop());
  afterAll(() => office?.close());

  const parameters = async (): Promise<string[]> => {
    const paths = PARAMETERS.map((path) => `/proc/sys/${path}`);
    return (await office.gateway.run("cat", paths)).trim().split("\n");
  };

  it("PG-6: --masquerade off changes nothing of the host, and works where others forward", {
    timeout,
  }, async () => {
    const before = await parameters();
    const untouched = await captureHost(office.gateway);
    gateway = await office.startGateway("--masquerade", "off");
    expect(await parameters()).toEqual(before);
    expect((await captureHost(office.gateway)).nftTables).toEqual([]);
    expect(await echo(office.client, OFFICE_V4, ...BRIEFLY), "nobody forwards").not.toBe("answered");

    await office.gateway.sysctl("net/ipv4/ip_forward", "1");
    await office.resource.ip("route add 100.64.0.0/11 via 172.20.0.1");
    const [own = ""] = await tunnelAddresses(office.client);
    const { seenFrom } = await office.fetch(office.client, `http://${OFFICE_V4}/`);
    expect(seenFrom, "TN-61: the source is the client's tunnel address").toBe(`::ffff:${own}`);

    await office.resource.ip("route del 100.64.0.0/11 via 172.20.0.1");
    await office.gateway.sysctl("net/ipv4/ip_forward", before[0] ?? "0");
    expect(await gateway.stop()).toEqual({ status: 0, signal: undefined });
    expect(await captureHost(office.gateway)).toEqual(untouched);
  });

  it("PG-68, PG-69: a resource needs no route back; parameters and rules are those of the table", {
    timeout,
  }, async () => {
    gateway = await office.startGateway();
    expect(await parameters()).toEqual(["1", "1", "1", "1"]);
    expect(await office.gateway.run("nft", ["list", "table", "inet", "postern"])).toBe(RULES.trimStart());
    for (const to of [OFFICE_V4, `[${OFFICE_V6}]`]) {
      const { seenFrom } = await office.fetch(office.client, `http://${to}/`);
      expect(["::ffff:172.20.0.1", "fd20::1"]).toContain(seenFrom);
    }
    const routes = await office.resource.run("ip", ["route", "show", "table", "all"]);
    expect(routes).not.toMatch(/default|100\.64/);

    expect(await gateway.stop()).toEqual({ status: 0, signal: undefined });
    expect(await office.gateway.run("nft", ["list", "ruleset"])).toBe("");
    expect(await parameters(), "PG-15: parameters stay").toEqual(["1", "1", "1", "1"]);
  });

  it("PG-150: what connection tracking calls invalid is dropped and counted, never sent with a tunnel source", {
    timeout,
  }, async () => {
    gateway = await office.startGateway();
    await office.fetch(office.client, `http://${OFFICE_V4}/`);
    const watch = { name: "nft", command: "nft", args: ["-f", "-"], input: COUNT_TUNNEL_SOURCES };
    expect(await office.resource.start(watch).wait(5000)).toEqual({ status: 0, signal: undefined });
    const [v4 = "", v6 = ""] = await tunnelAddresses(office.client);
    const packets = [...invalidPackets(ip(v4), ip(OFFICE_V4)), ...invalidPackets(ip(v6), ip(OFFICE_V6))];
    expect(await echo(office.client, OFFICE_V6)).toBe("answered");
    await office.client.run(process.execPath, [INJECT, "tun-postern", ...packets.map(toHex)]);
    await eventually(async () =>
      expect(await packetsIn(office.gateway, "postern", "untranslated")).toBe(packets.length),
    );
    expect(await packetsIn(office.resource, "watch", "tunnel")).toBe(0);
    await office.resource.run("nft", ["delete", "table", "inet", "watch"]);
    await gateway.stop();
  });

  it("PG-70: where somebody else drops what is forwarded, that is said, and the accept rules are inserted", {
    timeout,
  }, async () => {
    const firewall = `table ip filter {
      chain FORWARD { type filter hook forward priority 0; policy drop; }
    }`;
    const child = office.gateway.start({ name: "nft", command: "nft", args: ["-f", "-"], input: firewall });
    expect(await child.wait(5000)).toEqual({ status: 0, signal: undefined });
    gateway = await office.startGateway();
    await office.fetch(office.client, `http://${OFFICE_V4}/`);
    expect(await office.gateway.run("nft", ["list", "table", "ip", "filter"])).toContain('comment "postern"');
    await gateway.stop();
    const left = await office.gateway.run("nft", ["list", "ruleset"]);
    expect(left).toContain("policy drop");
    expect(left).not.toContain("postern");
  });
});
