import { describe, expect, it } from "vitest";
import { formatIp, ip, isUsableAddress, type SocketAddress } from "../../../src/base/index.ts";
import {
  type Candidate,
  checkPriority,
  compareCandidates,
  isSameCandidate,
  isUsableLocal,
  type LocalAddress,
  toLocalCandidate,
} from "../../../src/ice/candidate.ts";
import { formatCandidate, type MalformedCandidate, parseCandidate } from "../../../src/ice/candidate-text.ts";
import { pairPriority } from "../../../src/ice/pair.ts";
import fc from "../../lib/property.ts";

function at(address: string, port = 52625): SocketAddress {
  return { address: ip(address), port };
}

function host(address: string): LocalAddress {
  return { kind: "host", address: at(address), base: at(address) };
}

function reflexive(address: string, base: string): LocalAddress {
  return { kind: "srflx", address: at(address, 40000), base: at(base), relay: ip("203.0.113.101") };
}

function relayed(address: string, relay: string): LocalAddress {
  return { kind: "relay", address: at(address, 50000), base: at(address, 50000), relay: ip(relay) };
}

describe("candidates", () => {
  it.each([
    ["host IPv4", host("192.168.1.150"), 2130706175],
    ["host IPv6", host("2001:db8::1"), 2130706431],
    ["srflx IPv4", reflexive("192.0.2.1", "10.0.0.1"), 1686109951],
    ["srflx IPv6", reflexive("2001:db8::1", "fd00::1"), 1686110207],
    ["relay IPv4", relayed("192.0.2.1", "203.0.113.1"), 37748479],
    ["relay IPv6", relayed("2001:db8::1", "2001:db8::9"), 37748735],
    ["relay IPv4 by IPv6", relayed("192.0.2.1", "2001:db8::9"), 37492479],
    ["relay IPv6 by IPv4", relayed("2001:db8::1", "203.0.113.1"), 37492735],
  ])("SN-18: priority of the first %s", (_what, local, priority) => {
    expect(toLocalCandidate(local, 0).priority).toBe(priority);
  });

  it("SN-18: every further candidate of a kind and family ranks 2 local preferences lower", () => {
    expect(toLocalCandidate(host("192.0.2.1"), 3).priority).toBe(2130706175 - 6 * 256);
  });

  it("SN-19: a check announces the priority of the prflx candidate it makes", () => {
    expect(checkPriority(toLocalCandidate(host("192.0.2.1"), 0))).toBe(1862270719);
    expect(checkPriority(toLocalCandidate(relayed("192.0.2.1", "203.0.113.1"), 0))).toBe(1849687807);
  });

  it("SN-20: pair priority is exact beyond 2^53, and tells who is controlling", () => {
    expect(pairPriority(2130706175, 2130706175)).toBe(9151313343271665150n);
    expect(pairPriority(2, 1) - pairPriority(1, 2)).toBe(1n);
    expect(pairPriority(5, 3)).toBe((3n << 32n) + 10n + 1n);
  });

  it("SN-20: ends behind NATs rank the two ways with one relayed side alike, each from its own sight", () => {
    const [own, told, lent] = [2130706175, 1686109951, 37748479];
    // The controlling host to the relay of the controlled end, against the other way round.
    expect(pairPriority(own, lent)).toBeGreaterThan(pairPriority(lent, told));
    expect(pairPriority(told, lent)).toBeGreaterThan(pairPriority(lent, own));
    // The better relay counts first, and a host is still better than what its NAT makes of it.
    expect(pairPriority(lent + 256, told)).toBeGreaterThan(pairPriority(own, lent));
    expect(pairPriority(own, lent)).toBeGreaterThan(pairPriority(told, lent));
    expect(pairPriority(lent, lent)).toBeLessThan(pairPriority(lent, told));
  });

  it("SN-21: the order is total: equal priorities differ by text, and only equal candidates tie", () => {
    const list: Candidate[] = [
      { kind: "host", address: at("192.0.2.2"), priority: 7 },
      { kind: "host", address: at("192.0.2.1"), priority: 7 },
      { kind: "srflx", address: at("192.0.2.1"), priority: 9 },
      { kind: "host", address: at("192.0.2.1", 9), priority: 7 },
    ];
    const sorted = [...list].sort(compareCandidates);
    expect(
      sorted.map(({ address, priority }) => `${priority} ${formatIp(address.address)}:${address.port}`),
    ).toEqual(["9 192.0.2.1:52625", "7 192.0.2.1:52625", "7 192.0.2.1:9", "7 192.0.2.2:52625"]);
    for (const a of list) for (const b of list) expect(compareCandidates(a, b) === 0).toBe(a === b);
  });

  it("SN-22: priority does not make a difference, kind and port do", () => {
    const candidate: Candidate = { kind: "host", address: at("192.0.2.1"), priority: 1 };
    expect(isSameCandidate(candidate, { ...candidate, priority: 2 })).toBe(true);
    expect(isSameCandidate(candidate, { ...candidate, kind: "srflx" })).toBe(false);
    expect(isSameCandidate(candidate, { ...candidate, address: at("192.0.2.1", 1) })).toBe(false);
  });

  it("SN-23: the foundation of 192.168.1.150 as a host", () => {
    expect(toLocalCandidate(host("192.168.1.150"), 0).foundation).toBe("45d06339");
  });

  it.each([
    ["0.0.0.0", false],
    ["0.0.0.1", true],
    ["127.0.0.1", true],
    ["169.253.255.255", true],
    ["169.254.0.0", false],
    ["169.254.255.255", false],
    ["169.255.0.0", true],
    ["223.255.255.255", true],
    ["224.0.0.1", false],
    ["239.255.255.255", false],
    ["255.255.255.255", false],
    ["::", false],
    ["::1", true],
    ["fe7f::1", true],
    ["fe80::1", false],
    ["febf:ffff::1", false],
    ["fec0::1", true],
    ["ff02::1", false],
    ["::ffff:192.0.2.1", false],
  ])("SN-15, SN-29: %s as a candidate: %s", (address, isUsable) => {
    expect(isUsableAddress(ip(address))).toBe(isUsable);
  });

  it("SN-15: no port 0, and a srflx address has the family of its base", () => {
    expect(isUsableLocal({ kind: "host", address: at("192.0.2.1", 0), base: at("192.0.2.1", 0) })).toBe(
      false,
    );
    expect(isUsableLocal(reflexive("192.0.2.1", "10.0.0.1"))).toBe(true);
    expect(isUsableLocal(reflexive("192.0.2.1", "fd00::1"))).toBe(false);
  });
});

describe("candidate text", () => {
  const HOST = "candidate:45d06339 1 udp 2130706175 192.168.1.150 52625 typ host ufrag t6t4";

  it("SN-28: a host candidate reads as the example", () => {
    expect(formatCandidate(toLocalCandidate(host("192.168.1.150"), 0), "t6t4")).toBe(HOST);
  });

  it("SN-28: the others never tell what is behind them", () => {
    const v4 = formatCandidate(toLocalCandidate(reflexive("192.0.2.1", "10.0.0.1"), 0), "t6t4");
    expect(v4).toMatch(
      /^candidate:[0-9a-f]{8} 1 udp 1686109951 192\.0\.2\.1 40000 typ srflx raddr 0\.0\.0\.0 rport 0 ufrag t6t4$/,
    );
    const v6 = formatCandidate(toLocalCandidate(relayed("2001:db8::1", "2001:db8::9"), 0), "t6t4");
    expect(v6).toMatch(/ 2001:db8::1 50000 typ relay raddr :: rport 0 ufrag t6t4$/);
  });

  it("SN-29: reads the example, and extensions in any order", () => {
    const expected = { kind: "host", priority: 2130706175, component: 1, usernameFragment: "t6t4" };
    expect(parseCandidate(HOST)).toMatchObject({ ok: true, value: expected });
    const extended =
      "candidate:x 1 UDP 2130706175 192.168.1.150 52625 typ host generation 0 ufrag t6t4 raddr 10.0.0.1 rport 9 network-cost 5";
    expect(parseCandidate(extended)).toMatchObject({ ok: true, value: expected });
    expect(parseCandidate("candidate:x 7 udp 1 2001:db8::1 1 typ relay")).toMatchObject({
      ok: true,
      value: { kind: "relay", component: 7, address: { port: 1 } },
    });
  });

  const MALFORMED = {
    "not-a-string": [7, undefined, ["candidate:"], {}],
    "too-long": [`${HOST} x ${"y".repeat(512)}`],
    "no-prefix": ["foo", "", "45d06339 1 udp 1 192.0.2.1 1 typ host"],
    "too-few-fields": [
      "candidate:",
      "candidate:x 1 udp 1 192.0.2.1 1",
      "candidate:x 1 udp 1 192.0.2.1 1 typ",
      "candidate:x 1 udp 1 192.0.2.1 1 type host",
    ],
    foundation: [
      "candidate: 1 udp 1 192.0.2.1 1 typ host",
      `candidate:${"f".repeat(65)} 1 udp 1 192.0.2.1 1 typ host`,
    ],
    component: ["candidate:x 65536 udp 1 192.0.2.1 1 typ host", "candidate:x one udp 1 192.0.2.1 1 typ host"],
    transport: ["candidate:x 1 tcp 1 192.0.2.1 1 typ host"],
    priority: [
      "candidate:x 1 udp 0 192.0.2.1 1 typ host",
      "candidate:x 1 udp 2147483648 192.0.2.1 1 typ host",
      "candidate:x 1 udp 1.5 192.0.2.1 1 typ host",
    ],
    address: [
      "candidate:x 1 udp 1 example.org 1 typ host",
      "candidate:x 1 udp 1 ::ffff:192.0.2.1 1 typ host",
      "candidate:x 1 udp 1 0.0.0.0 1 typ host",
      "candidate:x 1 udp 1 fe80::1 1 typ host",
      "candidate:x 1 udp 1 [2001:db8::1] 1 typ host",
      "candidate:x 1 udp 1 fe80::1%eth0 1 typ host",
    ],
    port: ["candidate:x 1 udp 1 192.0.2.1 0 typ host", "candidate:x 1 udp 1 192.0.2.1 65536 typ host"],
    kind: ["candidate:x 1 udp 1 192.0.2.1 1 typ Host", "candidate:x 1 udp 1 192.0.2.1 1 typ magic"],
  } satisfies Record<MalformedCandidate, readonly unknown[]>;

  it.each(Object.entries(MALFORMED).flatMap(([reason, texts]) => texts.map((text) => ({ reason, text }))))(
    "SN-29: skips $text as $reason",
    ({ reason, text }) => {
      expect(parseCandidate(text)).toEqual({ ok: false, reason });
    },
  );

  it("SN-29: 512 characters are read, 513 are not", () => {
    const pad = (length: number): string => `${HOST} x ${"y".repeat(length - HOST.length - 3)}`;
    expect(parseCandidate(pad(512)).ok).toBe(true);
    expect(parseCandidate(pad(513))).toEqual({ ok: false, reason: "too-long" });
  });

  it("SN-28, SN-29: what we write we read", () => {
    const local = fc.record({
      kind: fc.constantFrom("host", "srflx", "relay") as fc.Arbitrary<"host" | "srflx" | "relay">,
      address: fc.oneof(fc.ipV4(), fc.ipV6()).filter((text) => isUsableAddress(ip(text))),
      port: fc.integer({ min: 1, max: 65535 }),
      rank: fc.integer({ min: 0, max: 63 }),
    });
    fc.assert(
      fc.property(local, ({ kind, address, port, rank }) => {
        const candidate = toLocalCandidate(
          { kind, address: at(address, port), base: at(address, port) },
          rank,
        );
        const read = parseCandidate(formatCandidate(candidate, "abcd"));
        expect(
          read.ok && isSameCandidate(read.value, candidate) && read.value.priority === candidate.priority,
        ).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  it("SN-30: arbitrary text never throws", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 80 }), (text) => {
        parseCandidate(`candidate:${text}`);
        expect(parseCandidate(`x${text}`)).toEqual({ ok: false, reason: "no-prefix" });
      }),
    );
  });
});
