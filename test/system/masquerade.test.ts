/** How the gateway forwards: rules, kernel parameters, and what `--masquerade off` leaves to others. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { captureHost } from "../lib/leftovers.ts";
import { echo, tunnelAddresses } from "../lib/observe.ts";
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
}
`;

describeWith(["netns", "tun", "nft", "ipv6", "build"], "the gateway's forwarding", () => {
  let office: Office;

  beforeAll(async () => {
    office = await createOffice();
    office.configure([{ resource: "Office" }, { resource: "Office6" }]);
    await office.startPortal();
    await office.startClient();
    office.traffic(office.resource, "serve", "80");
  });
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
    const gateway = await office.startGateway("--masquerade", "off");
    expect(await parameters()).toEqual(before);
    expect((await captureHost(office.gateway)).nftTables).toEqual([]);
    expect(await echo(office.client, OFFICE_V4), "nobody forwards").not.toBe("answered");

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
    const gateway = await office.startGateway();
    expect(await parameters()).toEqual(["1", "1", "1", "1"]);
    expect(await office.gateway.run("nft", ["list", "ruleset"])).toBe(RULES.trimStart());
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

  it("PG-70: where somebody else drops what is forwarded, that is said, and the accept rules are inserted", {
    timeout,
  }, async () => {
    const firewall = `table ip filter {
      chain FORWARD { type filter hook forward priority 0; policy drop; }
    }`;
    const child = office.gateway.start({ name: "nft", command: "nft", args: ["-f", "-"], input: firewall });
    expect(await child.wait(5000)).toEqual({ status: 0, signal: undefined });
    const gateway = await office.startGateway();
    await office.fetch(office.client, `http://${OFFICE_V4}/`);
    expect(await office.gateway.run("nft", ["list", "table", "ip", "filter"])).toContain('comment "postern"');
    await gateway.stop();
    const left = await office.gateway.run("nft", ["list", "ruleset"]);
    expect(left).toContain("policy drop");
    expect(left).not.toContain("postern");
  });
});
