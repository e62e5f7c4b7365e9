import { describe, expect, it } from "vitest";
import { createDeadlineQueue, type DeadlineQueue, instant, ip, prefix } from "../../../src/base/index.ts";
import { PROTOCOL } from "../../../src/packet/index.ts";
import type { Filter, GatewayResource } from "../../../src/portal/protocol/index.ts";
import { createClientNat } from "../../../src/tunnel/nat/client-nat.ts";
import { setEntries } from "../../../src/tunnel/nat/entries.ts";
import { type Ageing, endAged } from "../../../src/tunnel/nat/mappings.ts";
import type { Flow } from "../../../src/tunnel/reach/face.ts";
import { judgeInbound, judgeOutbound, type Party, type Verdict } from "../../../src/tunnel/verdict.ts";

const OWN = [ip("100.64.0.1"), ip("fd00:2021:1111::1")];
const PROXY = ip("100.96.0.1");
const PROXY6 = ip("fd00:2021:1111:8000::");
const REAL = ip("198.51.100.7");
const START = instant(5_000);
const TCP80: Filter = { protocol: "tcp", firstPort: 80, lastPort: 80 };

const cidr = (rid: string, network: string, filters: readonly Filter[] = []): GatewayResource => ({
  kind: "cidr",
  rid,
  name: rid,
  address: prefix(network),
  filters,
});
const wiki = (filters: readonly Filter[] = []): GatewayResource => ({
  kind: "dns",
  rid: "wiki",
  name: "wiki",
  address: "*.example.com",
  filters,
});
const INTERNET: GatewayResource = { kind: "internet", rid: "net" };

function party(...resources: readonly GatewayResource[]): Party & { readonly ageing: DeadlineQueue<Ageing> } {
  const grants = new Map(resources.map((resource) => [resource.rid, { resource }]));
  const client = { cid: "c", addresses: [ip("100.64.0.2"), ip("fd00:2021:1111::2")], grants };
  const ageing = createDeadlineQueue<Ageing>();
  const nat = createClientNat(ageing);
  const name = { rid: "wiki", domain: "wiki.example.com" };
  setEntries(nat.entries, name, { proxies: [PROXY, PROXY6], reals: [REAL] });
  return { client, nat, ageing };
}

const tcp = (destination: string, port = 80, source = 40_000): Flow => ({
  destination: ip(destination),
  protocol: PROTOCOL.tcp,
  ports: { source, destination: port },
});
const portless = (destination: string): Flow => ({ destination: ip(destination), protocol: 253 });
const ping = (destination: string): Flow => ({
  destination: ip(destination),
  protocol: PROTOCOL.icmp,
  ports: { source: 7, destination: 7 },
});

function out(
  who: Party,
  flow: Flow,
  { isHostService = false, isUsed = (_port: number): boolean => false } = {},
): Verdict {
  const context = { now: START, ownAddresses: OWN, isHostService };
  return judgeOutbound(who, flow, { ...context, isUsed: ({ port }) => isUsed(port) });
}

const into = (who: Party, flow: Flow): Verdict => judgeInbound(who, flow, { ownAddresses: OWN });

const prohibited = (cause: string) => ({ kind: "refuse", refusal: "prohibited", cause });
const unreachable = (cause: string) => ({ kind: "refuse", refusal: "unreachable", cause });

describe("packets of a client", () => {
  it("TN-61 row 6: the gateway's own address serves what it serves", () => {
    expect(out(party(), tcp("100.64.0.1"), { isHostService: true })).toEqual({ kind: "pass" });
    expect(out(party(cidr("all", "100.0.0.0/8")), tcp("100.64.0.1"))).toMatchObject({
      refusal: "prohibited",
    });
  });

  it.each(["100.64.0.9", "100.100.111.1", "fd00:2021:1111::9", "fd00:2021:1111:8000:100:100:111:1"])(
    "TN-61 row 7: no client and no sentinel is reached through it: %s",
    (destination) => {
      const who = party(cidr("a", "100.0.0.0/8"), cidr("b", "fd00::/8"), INTERNET);
      expect(out(who, tcp(destination))).toMatchObject({ kind: "refuse", refusal: "prohibited" });
    },
  );

  it("TN-61 row 8: a proxy address without entry, without grant, or refused by the filters", () => {
    const everything = [cidr("a", "100.0.0.0/8"), INTERNET];
    expect(out(party(...everything, wiki()), tcp("100.96.0.2"))).toMatchObject({ refusal: "prohibited" });
    expect(out(party(...everything), tcp("100.96.0.1"))).toMatchObject({ refusal: "prohibited" });
    expect(out(party(wiki([TCP80])), tcp("100.96.0.1", 81))).toEqual(prohibited("TCP port not allowed"));
  });

  it("TN-61 row 9: a family that the name does not have is unreachable", () => {
    expect(out(party(wiki()), tcp("fd00:2021:1111:8000::"))).toMatchObject({ refusal: "unreachable" });
  });

  it("TN-61 row 10: what has no ports cannot be translated", () => {
    expect(out(party(wiki()), portless("100.96.0.1"))).toMatchObject({ refusal: "prohibited" });
  });

  it("TN-61 row 11: the rest is translated, the same flow the same way", () => {
    const who = party(wiki([TCP80]));
    const verdict = out(who, tcp("100.96.0.1"));
    expect(verdict).toMatchObject({
      kind: "nat",
      rid: "wiki",
      mapping: { outside: { port: 40_000, real: REAL } },
    });
    expect(out(who, tcp("100.96.0.1"))).toEqual(verdict);
  });

  it("TN-65: a port that an untranslated flow has is taken; without a free one it is unreachable", () => {
    const isUsed = (port: number) => port === 40_000;
    const verdict = out(party(wiki()), tcp("100.96.0.1"), { isUsed });
    expect(verdict).toMatchObject({ kind: "nat", mapping: { outside: { port: 40_001 } } });
    expect(out(party(wiki()), tcp("100.96.0.1"), { isUsed: () => true })).toMatchObject({
      refusal: "unreachable",
    });
  });

  it("TN-66: new addresses of a name are for new flows only", () => {
    const who = party(wiki());
    out(who, tcp("100.96.0.1"));
    const moved = ip("198.51.100.99");
    setEntries(
      who.nat.entries,
      { rid: "wiki", domain: "wiki.example.com" },
      { proxies: [PROXY], reals: [moved] },
    );
    expect(out(who, tcp("100.96.0.1"))).toMatchObject({ mapping: { outside: { real: REAL } } });
    expect(out(who, tcp("100.96.0.1", 80, 40_001))).toMatchObject({ mapping: { outside: { real: moved } } });
  });

  it("TN-57: any granted resource with the address may permit it; filters of names do not count", () => {
    const who = party(
      cidr("narrow", "10.1.0.0/16", [TCP80]),
      cidr("wide", "10.0.0.0/8", [{ protocol: "icmp" }]),
    );
    expect(out(who, tcp("10.1.0.1", 80))).toEqual({ kind: "pass", rid: "narrow" });
    expect(out(who, ping("10.1.0.1"))).toEqual({ kind: "pass", rid: "wide" });
    expect(out(who, tcp("10.1.0.1", 81))).toEqual(prohibited("TCP port not allowed"));
    const behind = party(cidr("real", "198.51.100.0/24", [TCP80]), wiki([{ protocol: "icmp" }]));
    expect(out(behind, tcp("100.96.0.1", 80))).toEqual(prohibited("TCP port not allowed"));
    expect(out(behind, ping("198.51.100.7"))).toEqual(prohibited("ICMP not allowed"));
  });

  it("TN-60: a refusal says why", () => {
    const who = party(cidr("a", "10.0.0.0/8", [TCP80]));
    expect(out(who, { ...tcp("10.0.0.1"), protocol: PROTOCOL.udp })).toEqual(
      prohibited("UDP port not allowed"),
    );
    expect(out(who, portless("10.0.0.1"))).toEqual(prohibited("filter could not be evaluated: protocol 253"));
    const message: Flow = { destination: ip("10.0.0.1"), protocol: PROTOCOL.icmp };
    expect(out(who, message)).toEqual(
      prohibited("filter could not be evaluated: an ICMP message that is no echo"),
    );
    expect(out(who, tcp("172.16.0.1"))).toEqual(prohibited("no filter for this address"));
  });

  it("TN-59: the internet is not the gateway's own network", () => {
    const who = party(INTERNET, cidr("lab", "10.1.0.0/16"));
    expect(out(who, portless("198.51.100.7"))).toEqual({ kind: "pass", rid: "net" });
    expect(out(who, tcp("10.1.0.1"))).toEqual({ kind: "pass", rid: "lab" });
    for (const text of [
      "10.2.0.1",
      "192.168.0.1",
      "172.31.0.1",
      "169.254.169.254",
      "127.0.0.1",
      "240.0.0.1",
    ]) {
      expect(out(who, tcp(text))).toEqual(unreachable("not on the internet"));
    }
    for (const text of ["fc00::1", "fe80::1", "::1", "::ffff:10.0.0.1", "ff0e::1", "100.64.0.0"]) {
      expect(out(who, tcp(text)).kind).toBe("refuse");
    }
    expect(out(who, tcp("2001:db8::7"))).toEqual({ kind: "pass", rid: "net" });
  });

  it("TN-57: for the flow log the longest network counts, the internet last", () => {
    const who = party(INTERNET, cidr("wide", "198.51.0.0/16"), cidr("narrow", "198.51.100.0/24"));
    expect(out(who, tcp("198.51.100.7"))).toEqual({ kind: "pass", rid: "narrow" });
    expect(out(who, tcp("198.51.101.7"))).toEqual({ kind: "pass", rid: "wide" });
    expect(out(who, tcp("198.52.0.7"))).toEqual({ kind: "pass", rid: "net" });
  });
});

describe("packets to a client", () => {
  /** As it comes back: the remote's port is the destination, the client's the source. */
  const answer = (port = 80, client = 40_000): Flow => tcp("198.51.100.7", port, client);

  it("TN-62 rows 5 and 6: the gateway's own passes, other clients' do not", () => {
    expect(into(party(), tcp("100.64.0.1"))).toEqual({ kind: "pass" });
    expect(into(party(cidr("a", "100.0.0.0/8")), tcp("100.64.0.9"))).toEqual({
      kind: "drop",
      reason: "not-allowed",
    });
  });

  it("TN-67: the remote's port is not part of a mapping; the filter judges it", () => {
    const who = party(wiki([{ protocol: "tcp", firstPort: 80, lastPort: 81 }]));
    const { mapping } = out(who, tcp("100.96.0.1")) as Extract<Verdict, { kind: "nat" }>;
    expect(into(who, answer(80))).toEqual({ kind: "nat", rid: "wiki", mapping });
    expect(into(who, answer(81))).toEqual({ kind: "nat", rid: "wiki", mapping });
    expect(into(who, answer(82))).toEqual({ kind: "drop", reason: "not-allowed" });
    expect(into(who, answer(80, 40_001))).toEqual({ kind: "drop", reason: "not-allowed" });
  });

  it("TN-54, TN-62: a mapping permits nothing when its resource is granted no more", () => {
    const who = party(wiki());
    out(who, tcp("100.96.0.1"));
    const without = { ...who, client: { ...who.client, grants: new Map() } };
    expect(into(without, answer())).toEqual({ kind: "drop", reason: "not-allowed" });
  });

  it("TN-62 row 8, TN-69: what expired is not treated as the network's traffic", () => {
    const who = party(wiki(), cidr("net", "198.51.100.0/24"));
    out(who, tcp("100.96.0.1"));
    endAged(who.ageing, instant(START + 60_000));
    expect(into(who, answer())).toEqual({ kind: "drop", reason: "expired-nat" });
    expect(into(who, answer(80, 41_000))).toEqual({ kind: "pass", rid: "net" });
  });

  it("TN-58, TN-62 row 9: the source and its port, without any packet before; portless ones too", () => {
    const who = party(cidr("a", "10.0.0.0/8", [TCP80]), cidr("b", "172.16.0.0/12"));
    expect(into(who, tcp("10.0.0.1", 80))).toEqual({ kind: "pass", rid: "a" });
    expect(into(who, tcp("10.0.0.1", 81))).toEqual({ kind: "drop", reason: "not-allowed" });
    expect(into(who, portless("172.16.0.1"))).toEqual({ kind: "pass", rid: "b" });
    expect(into(who, portless("10.0.0.1"))).toEqual({ kind: "drop", reason: "not-allowed" });
    expect(into(who, tcp("192.0.2.1"))).toEqual({ kind: "drop", reason: "not-allowed" });
  });
});
