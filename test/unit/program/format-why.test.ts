import { describe, expect, it } from "vitest";
import { describePair, explainAbsence, formatWhy, selectViews } from "../../../src/program/ask/format-why.ts";
import { WIDTH } from "../../../src/program/ask/table.ts";
import type { PairView, PeerStatus, WhyView } from "../../../src/program/control/index.ts";

const PAIR: PairView = {
  local: "host 192.0.2.1:52625",
  remote: "srflx 198.51.100.7:40000",
  state: "given-up",
  checks: 12,
  last_check_s: 5,
  last_answer_s: null,
  rtt_ms: null,
  error: null,
  heard_s: null,
};

const VIEW: WhyView = {
  gid: "5f0e9d7c-1111",
  state: "failed",
  since: "2026-01-27T10:00:00.000Z",
  path: "none",
  cause: "not-heard",
  sentence: "UDP does not pass.",
  remedy: "allow UDP",
  udp_passed: false,
  own_families: [4, 6],
  peer_families: [4],
  own_nat: { mapping: "differs", port_kept: false },
  peer_nat: { mapping: "same", port_kept: true },
  relay: { id: "berlin", transport: "udp", state: "active", rtt_ms: 11.6 },
  pairs: [PAIR],
};

const PORTAL: PeerStatus["portal"] = {
  url: "wss://p",
  state: "connected",
  since: "",
  last_error: null,
  hiccups: 0,
};
const RESOURCE: PeerStatus["resources"][number] = {
  rid: "r1",
  type: "cidr",
  name: "Office",
  address: "172.20.0.0/16",
  description: null,
  sites: [],
  status: "unknown",
  enabled: true,
};

describe("what why prints", () => {
  it("PG-190: state, relay, whether UDP passed, missing families, each pair, one sentence, a remedy", () => {
    expect(formatWhy(VIEW)).toEqual([
      "5f0e9d7c-1111: failed, no path",
      "  relay berlin active, 12 ms",
      "  UDP of the other end has never arrived",
      "  NAT: this end's router gives every destination another port",
      "  NAT: the other end's router gives all destinations one port, the host's own",
      "  IPv6: the other end has no address of that family",
      "  host 192.0.2.1:52625 to srflx 198.51.100.7:40000",
      "      given up: never answered in 12 checks, the last 5s ago; the other side never spoke",
      "UDP does not pass.",
      "What to do: allow UDP.",
    ]);
  });

  it.each([
    [[4, 6], [4], "the other end has no address"],
    [[4], [4, 6], "this end has no address"],
    [[4], [4], "neither end has an address"],
  ] as const)("PG-190: a family that is missing, with %j here and %j there", (own, peer, lack) => {
    const lines = formatWhy({ ...VIEW, own_families: own, peer_families: peer });
    expect(lines).toContain(`  IPv6: ${lack} of that family`);
  });

  it("RL-212: a relay that is reached by stream says so", () => {
    const relay = { id: "berlin", transport: "tls", state: "active", rtt_ms: null } as const;
    const lines = formatWhy({ ...VIEW, state: "connected", path: "relayed-tls", relay });
    expect(lines.slice(0, 2)).toEqual([
      "5f0e9d7c-1111: connected, relayed-tls path",
      "  relay berlin by TLS active",
    ]);
  });

  it("PG-190: every state of a pair has its words", () => {
    const say = (change: Partial<PairView>): string => describePair({ ...PAIR, ...change });
    expect(say({ state: "selected", last_answer_s: 1, rtt_ms: 9.2 })).toBe(
      "in use, 9 ms; last answer 1s ago",
    );
    expect(say({ state: "succeeded", last_answer_s: 70 })).toBe("answered 1m10s ago");
    expect(say({ error: 401 })).toBe("answered by error 401; last check 5s ago");
    expect(say({ state: "checking", checks: 0 })).toBe("not checked yet");
    expect(say({ state: "checking", heard_s: 2 })).toBe(
      "being checked: never answered in 12 checks, the last 5s ago; the other side spoke 2s ago",
    );
  });

  it("PG-190: long sentences are folded at 80 columns", () => {
    const lines = formatWhy({ ...VIEW, pairs: [], sentence: "word ".repeat(60).trim(), remedy: null });
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(WIDTH);
  });

  it("PG-190: a word is the beginning of a peer's id, or a resource by name or id", () => {
    const other = { ...VIEW, gid: "aaaa" };
    const status = {
      resources: [RESOURCE],
      connections: [{ gid: "aaaa", resources: ["r1"] }],
    };
    expect(selectViews([VIEW, other], status, undefined)).toEqual([VIEW, other]);
    expect(selectViews([VIEW, other], status, "5f0e")).toEqual([VIEW]);
    expect(selectViews([VIEW, other], status, "office")).toEqual([other]);
    expect(selectViews([VIEW, other], status, "r1")).toEqual([other]);
    expect(selectViews([VIEW, other], status, "vault")).toEqual([]);
  });

  it("PG-190: where there is no connection, the portal, the site or silence is the reason", () => {
    const say = (change: Partial<PeerStatus>, word?: string): string =>
      explainAbsence({ role: "client", portal: PORTAL, resources: [RESOURCE], ...change }, word).join(" ");
    expect(say({ portal: { ...PORTAL, state: "connecting", last_error: "ECONNREFUSED" } })).toContain(
      "the portal is not reachable (ECONNREFUSED)",
    );
    expect(say({ resources: [{ ...RESOURCE, status: "offline" }] }, "Office")).toContain(
      "no gateway of its site",
    );
    expect(say({}, "Office")).toContain("nothing has been sent there");
    expect(say({}, "Vault")).toBe("No peer and no resource is called Vault.");
    expect(say({})).toContain("nothing has been sent to a resource yet");
    expect(say({ role: "gateway" })).toContain("no client has asked");
  });
});
