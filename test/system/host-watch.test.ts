/** What others do to the host of a running client or gateway is noticed, repaired and said (PG-153, PG-154). */
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Child, type Namespace, patient } from "../../src/program/lab/index.ts";
import { captureHost } from "../lib/leftovers.ts";
import { BRIEFLY, echo, eventually, timesOf, warningsOf } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, OFFICE_V6, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const timeout = 60_000;
/** What a repair may take. It is 200 ms on a quiet machine (TS-3); nft alone is started four times. */
const REPAIR_MS_MAX = 5000;
const GUARD = "postern_guard_tun_postern";

/** Counts at the router what goes to the office by itself. */
const WATCH = `table inet watch {
  counter clear {}
  chain forward {
    type filter hook prerouting priority raw;
    iifname "client" ip daddr 172.20.0.0/16 counter name clear
    iifname "client" ip6 daddr fd20::/64 counter name clear
  }
}`;

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "a host that others change", () => {
  let office: Office;
  let gateway: Child;
  let client: Child;

  beforeAll(async () => {
    office = await createOffice();
    office.configure([{ resource: "Office" }, { resource: "Office6" }]);
    await office.startPortal();
    [gateway, client] = await Promise.all([office.startGateway(), office.startClient()]);
    const watch = { name: "nft", command: "nft", args: ["-f", "-"], input: WATCH };
    await office.router.start(watch).wait(5000);
  });
  afterAll(() => office?.close());

  const counterOf = async (where: Namespace, table: string, counter: string): Promise<number> => {
    const text = await where.run("nft", ["list", "counter", "inet", table, counter]);
    return Number(/packets (\d+)/.exec(text)?.[1]);
  };
  const repairs = (program: Child): number => timesOf(program, /host state repaired/).length;

  /** Does something to a host; the program repairs it so that the host is as before. */
  async function spoil(where: Namespace, program: Child, act: () => Promise<unknown>): Promise<string> {
    const before = await captureHost(where);
    const count = repairs(program);
    await act();
    const doneAt = Date.now();
    await eventually(
      () => expect(repairs(program), program.stderr().slice(-1500)).toBeGreaterThan(count),
      5000,
    );
    const took = (timesOf(program, /host state repaired/).at(-1) ?? 0) - doneAt;
    expect(took, "ms until the repair").toBeLessThan(patient(REPAIR_MS_MAX));
    // Of several tables each has its own repair.
    await eventually(async () => expect(await captureHost(where)).toEqual(before), REPAIR_MS_MAX);
    for (const to of [OFFICE_V4, OFFICE_V6]) {
      await eventually(async () => expect(await echo(office.client, to), to).toBe("answered"), 20_000);
    }
    return warningsOf(program).at(-1) ?? "";
  }

  it("PG-153: rules and routes that are deleted come back, and a WARN names them", { timeout }, async () => {
    const said = await spoil(office.client, client, () =>
      office.client.ip("rule del pref 100", "route del 172.20.0.0/16 dev tun-postern table 539098624"),
    );
    expect(said).toContain("the route to 172.20.0.0/16 is gone");
    expect(said).toContain("the IPv4 rule of priority 100 is gone");
  });

  it("PG-153: a device that was taken down is up again, with its addresses and routes", {
    timeout,
  }, async () => {
    await spoil(office.client, client, () => office.client.ip("link set tun-postern down"));
    expect(client.stderr()).toContain("tun-postern is down");
  });

  it("PG-153: a flushed firewall masquerades again, forwarding is switched on again", {
    timeout,
  }, async () => {
    const said = await spoil(office.gateway, gateway, () => office.gateway.run("nft", ["flush", "ruleset"]));
    expect(said).toMatch(/table inet postern\w* is gone or changed.* gap_?ms=\d+/i);
    const last = await spoil(office.gateway, gateway, async () => {
      await office.gateway.sysctl("net/ipv4/ip_forward", "0");
    });
    expect(last).toContain("net.ipv4.ip_forward is 0 instead of 1");
  });

  it("PG-154: until then nothing for a resource leaves by another way", { timeout }, async () => {
    const clear = await counterOf(office.router, "watch", "clear");
    client.signal("SIGSTOP");
    await office.client.ip("rule del pref 100");
    await office.client.run("ip", ["-6", "rule", "del", "pref", "100"]);
    for (const to of [OFFICE_V4, OFFICE_V6])
      expect(await echo(office.client, to, ...BRIEFLY)).not.toBe("answered");
    expect(await counterOf(office.client, GUARD, "stopped")).toBeGreaterThanOrEqual(2);
    expect(await counterOf(office.router, "watch", "clear")).toBe(clear);
    client.signal("SIGCONT");
    await eventually(async () => expect(await echo(office.client, OFFICE_V4)).toBe("answered"), 20_000);
  });

  it("PG-153: it is no fight: after three repairs in a minute there is an ERROR and a pause", {
    timeout,
  }, async () => {
    const hasRule = async (): Promise<boolean> => /^300:/m.test(await office.client.run("ip", ["rule"]));
    const hasGivenUp = (): boolean => / ERROR .*keeps changing/.test(client.stderr());
    for (let repaired = 0; !hasGivenUp() && repaired < 4; repaired++) {
      await office.client.ip("rule del pref 300");
      await eventually(async () => expect(hasGivenUp() || (await hasRule())).toBe(true));
    }
    expect(hasGivenUp()).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(await hasRule(), "the last deletion stands").toBe(false);
  });

  it("D-22: a clean stop leaves nothing", { timeout }, async () => {
    for (const [program, where] of [
      [client, office.client],
      [gateway, office.gateway],
    ] as const) {
      expect(await program.stop()).toEqual({ status: 0, signal: undefined });
      const { nftTables, rules } = await captureHost(where);
      expect(nftTables).toEqual([]);
      expect(rules.filter((rule) => rule.includes("fwmark"))).toEqual([]);
    }
  });
});
