import { describe, expect, it } from "vitest";
import type { HostFacts, KernelFacts, Role, UdpFacts } from "../../../../src/program/doctor/facts.ts";
import { formatFindings } from "../../../../src/program/doctor/format.ts";
import { judgeHost } from "../../../../src/program/doctor/judge.ts";
import { judgePortal, judgeRelays } from "../../../../src/program/doctor/judge-way.ts";

const MIB = 1 << 20;
const UDP: UdpFacts = {
  gso: true,
  gro: true,
  sendBytes: 16 * MIB,
  receiveBytes: 128 * MIB,
  sendBytesWanted: 16 * MIB,
  receiveBytesWanted: 128 * MIB,
  missing: [],
};
const KERNEL: KernelFacts = {
  egress: { v4: { device: "eth0", gateway: "192.0.2.1", source: "192.0.2.9" }, v6: undefined },
  rules: { earlier: [], isTaken: false, isThere: true },
  otherTunnel: undefined,
  udp: { ok: true, value: UDP },
  tunOffloads: { ok: true, value: "all" },
};
const on = { value: "1", isWritable: true };
const GOOD: HostFacts = {
  runtime: { name: "node", version: "24.1.0", arch: "x64" },
  kernelRelease: "6.12.5-amd64",
  ffi: { ok: true, value: true },
  isPrivileged: true,
  tunDevice: "usable",
  userNamespaces: undefined,
  kernel: KERNEL,
  sysctls: new Map([
    ["net/ipv4/ip_forward", on],
    ["net/ipv6/conf/all/forwarding", on],
    ["net/ipv4/conf/all/rp_filter", { value: "2", isWritable: true }],
    ["net/ipv4/conf/eth0/rp_filter", { value: "1", isWritable: true }],
  ]),
  nft: "/usr/sbin/nft",
  dropChains: { ok: true, value: [] },
  nameServers: ["192.0.2.53"],
  hasResolved: true,
  nowMs: Date.UTC(2026, 5, 1),
  tokens: [{ path: "/etc/postern/client-token", state: "good" }],
};

const kernel = (part: Partial<KernelFacts>): Partial<HostFacts> => ({ kernel: { ...KERNEL, ...part } });
const udp = (part: Partial<UdpFacts>) => kernel({ udp: { ok: true, value: { ...UDP, ...part } } });
const sysctl = (path: string, value: string, isWritable: boolean): Partial<HostFacts> => ({
  sysctls: new Map([...GOOD.sysctls, [path, { value, isWritable }]]),
});

function verdicts(facts: Partial<HostFacts>, role: Role): Record<string, string> {
  return Object.fromEntries(
    judgeHost({ ...GOOD, ...facts }, role).map(({ check, verdict }) => [check, verdict]),
  );
}

describe("what the facts of a host mean", () => {
  it("PG-141: a host with everything has nothing to complain about, for any role", () => {
    for (const role of [undefined, "client", "gateway", "relay", "portal", "wg"] as const) {
      const findings = judgeHost(GOOD, role);
      expect(findings.filter(({ verdict }) => verdict !== "ok")).toEqual([]);
      expect(findings.filter(({ remedy }) => remedy !== undefined)).toEqual([]);
    }
  });

  it("PG-141: each role is examined for what it needs", () => {
    const checks = (role: Role) => judgeHost(GOOD, role).map(({ check }) => check);
    expect(checks("portal")).toEqual(["runtime", "kernel", "egress", "resolvers", "clock", "token"]);
    expect(checks("relay")).not.toContain("privilege");
    expect(checks("client")).not.toContain("nft");
    expect(checks("gateway")).toContain("nft");
    expect(checks(undefined)).toEqual(expect.arrayContaining(["nft", "rp_filter", "user namespaces"]));
  });

  const worse: readonly (readonly [string, Role, Partial<HostFacts>, "warn" | "fail" | "ok"])[] = [
    ["runtime", "client", { runtime: { name: "node", version: "19.9.0", arch: "x64" } }, "fail"],
    ["runtime", "client", { runtime: { name: "node", version: "20.18.0", arch: "x64" } }, "warn"],
    ["runtime", "client", { runtime: { name: "bun", version: "1.2.0", arch: "x64" } }, "ok"],
    ["kernel", "client", { kernelRelease: "5.14.99" }, "warn"],
    ["kernel", "client", { kernelRelease: "5.15.0-1" }, "ok"],
    ["system calls", "client", { ffi: { ok: false, reason: "no koffi" }, kernel: undefined }, "fail"],
    ["privilege", "client", { isPrivileged: false }, "fail"],
    ["/dev/net/tun", "client", { tunDevice: "refused" }, "fail"],
    ["/dev/net/tun", "client", { tunDevice: "missing", isPrivileged: false }, "fail"],
    ["/dev/net/tun", "client", { tunDevice: "missing" }, "ok"],
    ["TUN offloads", "client", kernel({ tunOffloads: { ok: true, value: "tcp" } }), "ok"],
    ["TUN offloads", "client", kernel({ tunOffloads: { ok: true, value: "none" } }), "warn"],
    ["TUN offloads", "client", kernel({ tunOffloads: { ok: false, reason: "EPERM" } }), "fail"],
    ["UDP sockets", "client", udp({ gso: false }), "warn"],
    ["UDP sockets", "client", udp({ missing: ["IPv6"] }), "ok"],
    ["UDP sockets", "client", kernel({ udp: { ok: false, reason: "EPERM" } }), "fail"],
    ["socket buffers", "client", udp({ receiveBytes: 128 * MIB - 1 }), "warn"],
    ["socket buffers", "relay", udp({ sendBytes: 8 * MIB, receiveBytes: 8 * MIB }), "ok"],
    ["socket buffers", "relay", udp({ sendBytes: 8 * MIB - 1 }), "warn"],
    ["egress", "client", kernel({ egress: { v4: undefined, v6: undefined } }), "fail"],
    ["policy rules", "client", kernel({ rules: { earlier: [5], isTaken: false, isThere: true } }), "warn"],
    ["policy rules", "client", kernel({ rules: { earlier: [], isTaken: true, isThere: true } }), "fail"],
    ["policy rules", "client", kernel({ rules: { earlier: [], isTaken: false, isThere: false } }), "fail"],
    ["other tunnels", "client", kernel({ otherTunnel: "tun-postern" }), "warn"],
    ["rp_filter", "client", sysctl("net/ipv4/conf/all/rp_filter", "1", true), "warn"],
    ["rp_filter", "client", sysctl("net/ipv4/conf/eth0/rp_filter", "0", true), "ok"],
    ["forwarding", "gateway", sysctl("net/ipv4/ip_forward", "0", true), "ok"],
    ["forwarding", "gateway", sysctl("net/ipv4/ip_forward", "0", false), "fail"],
    ["forwarding", "gateway", sysctl("net/ipv6/conf/all/forwarding", "0", false), "ok"],
    ["nft", "gateway", { nft: undefined, dropChains: undefined }, "fail"],
    ["other firewalls", "gateway", { dropChains: { ok: false, reason: "refused" } }, "warn"],
    ["other firewalls", "gateway", { dropChains: { ok: true, value: [{ name: "x", isOurs: true }] } }, "ok"],
    [
      "other firewalls",
      "gateway",
      { dropChains: { ok: true, value: [{ name: "x", isOurs: false }] } },
      "fail",
    ],
    ["resolvers", "client", { nameServers: [] }, "warn"],
    ["clock", "client", { nowMs: Date.UTC(2026, 0, 1) - 1 }, "fail"],
    ["clock", "client", { nowMs: Date.UTC(2026, 0, 1) }, "ok"],
    ["user namespaces", undefined, { userNamespaces: "Operation not permitted" }, "ok"],
    ["token", "client", { tokens: [{ path: "/t", state: "missing" }] }, "warn"],
    ["token", "client", { tokens: [{ path: "/t", state: "empty" }] }, "warn"],
    ["token", undefined, { tokens: [{ path: "/t", state: "good", problem: "has mode 0644" }] }, "fail"],
  ];
  it.each(worse)("PG-141: %s, examined for %s", (check, role, facts, verdict) => {
    expect(verdicts(facts, role)[check]).toBe(verdict);
    const finding = judgeHost({ ...GOOD, ...facts }, role).find((one) => one.check === check);
    // Whatever is not in order has a remedy.
    expect(finding?.remedy !== undefined).toBe(verdict !== "ok");
  });

  it("PG-141: without a role, what only a gateway needs is no failure; nor is a token that is not there", () => {
    const facts = { nft: undefined, tokens: [{ path: "/t", state: "missing" as const }] };
    expect(verdicts(facts, undefined)).toMatchObject({ nft: "warn" });
    expect(verdicts(facts, undefined)).not.toHaveProperty("token");
  });
});

describe("what the way to portal and relays means", () => {
  const NOW = Date.UTC(2026, 5, 1);
  const portal = {
    url: "wss://portal.example",
    isTls: true,
    addresses: { ok: true, value: ["192.0.2.1"] },
    tcp: { ok: true, value: { address: "192.0.2.1:443", ms: 3 } },
    tls: { ok: true, value: { validTo: "2027" } },
    answer: { ok: true, value: { status: 200, dateMs: NOW } },
  } as const;
  const no = (reason: string) => ({ ok: false, reason }) as const;
  const last = (facts: Partial<Parameters<typeof judgePortal>[0]>) => {
    const finding = judgePortal({ ...portal, ...facts }, NOW).at(-1);
    return [finding?.check, finding?.verdict];
  };

  it("PG-141: each step of the way to the portal is told, and the first that fails is the last", () => {
    expect(judgePortal(portal, NOW).map(({ check, verdict }) => `${check} ${verdict}`)).toEqual([
      "portal name ok",
      "portal TCP ok",
      "portal TLS ok",
      "portal answer ok",
    ]);
    expect(last({ addresses: no("no address") })).toEqual(["portal name", "fail"]);
    expect(last({ tcp: no("ECONNREFUSED") })).toEqual(["portal TCP", "fail"]);
    expect(last({ tls: no("CERT_HAS_EXPIRED") })).toEqual(["portal TLS", "fail"]);
    expect(last({ answer: no("socket hang up") })).toEqual(["portal answer", "fail"]);
    expect(last({ answer: { ok: true, value: { status: 404, dateMs: NOW } } })).toEqual([
      "portal answer",
      "fail",
    ]);
  });

  it("PG-141: clocks that are more than a minute apart are told", () => {
    const answer = (dateMs: number) => ({ answer: { ok: true, value: { status: 200, dateMs } } }) as const;
    expect(last(answer(NOW - 60_000))).toEqual(["portal answer", "ok"]);
    expect(last(answer(NOW - 60_001))).toEqual(["portal clock", "warn"]);
    expect(last(answer(NOW + 60_001))).toEqual(["portal clock", "warn"]);
  });

  it("PG-141: two relays of a family tell whether the NAT maps alike; silence is a failure", () => {
    const relay = (address: string, mapped: string) =>
      ({ address, binding: { ok: true, value: { mapped, ms: 5 } } }) as const;
    const told = (...relays: Parameters<typeof judgeRelays>[0]) =>
      judgeRelays(relays).map(({ check, verdict }) => `${check} ${verdict}`);
    expect(told(relay("192.0.2.1:3478", "198.51.100.1:9"))).toEqual(["relay ok"]);
    const first = relay("192.0.2.1:3478", "198.51.100.1:9");
    expect(told(first, relay("192.0.2.2:3478", "198.51.100.1:9"))).toEqual([
      "relay ok",
      "relay ok",
      "NAT ok",
    ]);
    expect(told(first, relay("192.0.2.2:3478", "198.51.100.1:10")).at(-1)).toBe("NAT warn");
    expect(told(first, relay("[2001:db8::2]:3478", "[2001:db8::9]:9"))).toEqual(["relay ok", "relay ok"]);
    expect(told({ address: "192.0.2.1:3478", binding: no("no answer") })).toEqual(["relay fail"]);
  });
});

it("PG-141: a line per finding within 80 columns, its remedy below, and the sum", () => {
  const long = "word ".repeat(30).trim();
  const lines = formatFindings([
    { check: "runtime", verdict: "ok", says: "node 24\u001b[2J" },
    { check: "nft", verdict: "fail", says: long, remedy: long },
  ]);
  expect(lines[0]).toBe("ok    runtime          node 24 [2J");
  expect(lines.every((line) => line.length <= 80)).toBe(true);
  expect(lines.filter((line) => line.startsWith(`${" ".repeat(23)}→ word`))).toHaveLength(1);
  expect(lines.at(-1)).toBe("1 ok, 0 to look at, 1 wrong");
});
