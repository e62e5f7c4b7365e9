import { describe, expect, it } from "vitest";
import { type Instant, instant } from "../../../src/base/index.ts";
import { type Circumstances, causeOf } from "../../../src/connections/explain.ts";
import { CAUSES, type Cause } from "../../../src/connections/index.ts";
import type { PairReport } from "../../../src/ice/index.ts";
import { at } from "../ice/lone-agent.ts";
import { createLoneConnections, LOCAL, REMOTE_TEXT, requestFor } from "./lone-connections.ts";

const NOW: Instant = instant(1_000);

const SILENT_PAIR: PairReport = {
  base: at("192.0.2.1:52625"),
  localKind: "host",
  remote: at("198.51.100.7:52625"),
  remoteKind: "host",
  state: "given-up",
  checksSent: 12,
  lastSentAt: NOW,
};
const RELAYED_PAIR: PairReport = {
  ...SILENT_PAIR,
  localKind: "relay",
  state: "selected",
  lastAnsweredAt: NOW,
};

/** A connection without path, whose only pair was given up without an answer. */
const NOT_HEARD: Circumstances = {
  state: "failed",
  path: "none",
  failure: "ice-timeout",
  hadPath: false,
  hasOwnAddress: true,
  pairs: [SILENT_PAIR],
  ownFamilies: new Set([4]),
  peerFamilies: new Set([4]),
  hasPeerAddress: true,
  isRefusing: false,
  ownNat: { mapping: "unknown" },
  peerNat: { mapping: "unknown" },
  streamFailure: undefined,
  ageMs: 20_000,
};
const BOTH_DIFFER = { ownNat: { mapping: "differs" }, peerNat: { mapping: "differs" } } as const;
const RELAYED: Partial<Circumstances> = { state: "connected", path: "relayed", failure: undefined };

/** What makes each cause; a new one does not compile without its example. */
const EXAMPLES: Readonly<Record<Cause, Partial<Circumstances>>> = {
  direct: { state: "connected", path: "direct", failure: undefined },
  searching: { state: "connecting", failure: undefined, ageMs: 3_000 },
  "no-own-address": { failure: "no-local-candidates", hasOwnAddress: false, pairs: [] },
  "peer-is-mute": { failure: "no-remote-candidates", hasPeerAddress: false, pairs: [] },
  "no-common-family": { peerFamilies: new Set([6]), pairs: [] },
  "answered-by-error": { pairs: [{ ...SILENT_PAIR, errorCode: 401 }] },
  "checks-refused": { isRefusing: true },
  "not-heard": {},
  "nothing-passes": { streamFailure: "ECONNREFUSED" },
  "one-way": { pairs: [{ ...SILENT_PAIR, heardAt: NOW }] },
  "path-died": { hadPath: true },
  "handshake-silent": { failure: "wireguard-expired", hadPath: true },
  "handshake-keys": { failure: "handshake-decrypt", hadPath: true },
  "relayed-not-heard": { ...RELAYED, pairs: [RELAYED_PAIR, SILENT_PAIR] },
  "relayed-both-remap": { ...RELAYED, ...BOTH_DIFFER, pairs: [RELAYED_PAIR, SILENT_PAIR] },
  "relayed-own-remaps": {
    ...RELAYED,
    ownNat: BOTH_DIFFER.ownNat,
    pairs: [RELAYED_PAIR, SILENT_PAIR],
  },
  "relayed-peer-remaps": {
    ...RELAYED,
    peerNat: BOTH_DIFFER.peerNat,
    pairs: [RELAYED_PAIR, SILENT_PAIR],
  },
  "relayed-one-way": { ...RELAYED, pairs: [RELAYED_PAIR, { ...SILENT_PAIR, heardAt: NOW }] },
  "relayed-no-pair": { ...RELAYED, pairs: [RELAYED_PAIR] },
  "relayed-for-now": {
    ...RELAYED,
    ageMs: 1_000,
    pairs: [RELAYED_PAIR, { ...SILENT_PAIR, state: "checking" }],
  },
  "relayed-stream": { ...RELAYED, path: "relayed-tls" },
};

const FACTS = {
  directPairs: 4,
  ownFamilies: "IPv4",
  peerFamilies: "IPv6",
  errorCode: 401,
  relay: "berlin",
  transport: "TLS",
  streamFailure: "ECONNREFUSED",
  rttMs: 12,
  ageS: 3,
};

const SENTENCES: Readonly<Record<Cause, string>> = {
  direct: "The path is direct.",
  searching: "Paths are being looked for since 3 s: 4 direct pairs of addresses are checked.",
  "no-own-address": "This end has no address that the other could reach, and no relay.",
  "peer-is-mute": "The other end has told none of its addresses: it has lost its portal or its network.",
  "no-common-family": "No pair of addresses fits: this end has IPv4, the other IPv6.",
  "answered-by-error":
    "Checks arrive, but the other end refuses them with error 401: the ends disagree about the connection.",
  "checks-refused": "Checks of the other end arrive, but are not signed as agreed: the ends disagree.",
  "not-heard":
    "UDP does not pass: none of 4 direct pairs of addresses was answered, and nothing of the other end arrived.",
  "nothing-passes":
    "This network lets nothing pass: UDP is answered neither by the other end nor by a relay, and a TLS connection to a relay fails (ECONNREFUSED).",
  "one-way":
    "Checks of the other end arrive here, but it answers none of ours: what this end sends gets lost.",
  "path-died": "The path worked and then nobody answered any more: the other end, or the way to it, is gone.",
  "handshake-silent": "A path was found, but WireGuard's handshake got no answer over it.",
  "handshake-keys": "WireGuard's handshake was answered with other keys than agreed.",
  "relayed-not-heard":
    "Data goes through the relay berlin (12 ms): none of 4 direct pairs of addresses was answered.",
  "relayed-both-remap":
    "Data goes through the relay berlin (12 ms): the routers of both ends give every destination another port, so neither end knows where to send.",
  "relayed-own-remaps":
    "Data goes through the relay berlin (12 ms): the router of this end gives every destination another port, and the other end lets in only what it knows.",
  "relayed-peer-remaps":
    "Data goes through the relay berlin (12 ms): the router of the other end gives every destination another port, and this end lets in only what it knows.",
  "relayed-one-way":
    "Data goes through the relay berlin: checks of the other end arrive directly, but it answers none of ours.",
  "relayed-no-pair":
    "Data goes through the relay berlin: no direct pair of addresses fits (own IPv4, other IPv6).",
  "relayed-for-now": "Data goes through the relay berlin while direct paths are still being checked.",
  "relayed-stream": "Data goes through the relay berlin over TLS (12 ms): no relay answers by UDP.",
};

describe("why a connection goes as it does", () => {
  it.each(Object.entries(EXAMPLES))("PG-191: %s is found from what was seen", (cause, change) => {
    expect(causeOf({ ...NOT_HEARD, ...change })).toBe(cause);
  });

  it.each(Object.entries(SENTENCES))("PG-191: %s has its sentence", (cause, sentence) => {
    expect(CAUSES[cause as Cause].sentence(FACTS)).toBe(sentence);
  });

  it("PG-191: whoever has no path, or a relayed one for good, is told what to do", () => {
    const without = Object.entries(CAUSES).filter(([, text]) => !("remedy" in text));
    expect(without.map(([cause]) => cause)).toEqual(["direct", "searching", "relayed-for-now"]);
  });

  it("PG-191: a search is called one for 18 s, as long as a pair may still be answered", () => {
    const young = { ...NOT_HEARD, state: "connecting", failure: undefined } as const;
    expect(causeOf({ ...young, ageMs: 17_999 })).toBe("searching");
    expect(causeOf({ ...young, ageMs: 18_000 })).toBe("not-heard");
  });
});

describe("explanations of the machine of connections", () => {
  it("PG-191: an address of a relay is no address of the end that uses it", () => {
    const lone = createLoneConnections("client");
    const relay = "candidate:1 1 UDP 1000 203.0.113.101 50000 typ relay raddr 0.0.0.0 rport 0";
    lone.apply((connections, now) => connections.updateHostAddresses(now, [LOCAL]));
    lone.apply((connections, now) => connections.upsertConnection(now, requestFor("gw")));
    lone.apply((connections, now) => connections.addRemoteCandidates(now, "gw", [relay]));
    const [explanation] = lone.connections.explanations();
    expect(explanation).toMatchObject({ ownFamilies: [4], peerFamilies: [] });
    expect(explanation?.pairs.map(({ remoteKind }) => remoteKind)).toEqual(["relay"]);
  });

  it("PG-190: a failure is remembered with its pairs while it is tried again, until there is a path", () => {
    const lone = createLoneConnections("client");
    const request = requestFor("gw");
    const connect = (): void => {
      lone.apply((connections, now) => connections.upsertConnection(now, request));
      lone.apply((connections, now) => connections.addRemoteCandidates(now, "gw", [REMOTE_TEXT]));
    };
    lone.apply((connections, now) => connections.updateHostAddresses(now, [LOCAL]));
    connect();
    const explain = () => lone.connections.explanations();
    expect(explain()).toMatchObject([{ id: "gw", state: "connecting", cause: "searching" }]);
    lone.runTo(lone.now + 60_000);
    expect(lone.connections.stats().connections).toEqual([]);
    const failed = { cause: "not-heard", hasUdpPassed: false, pairs: [{ state: "given-up" }] };
    expect(explain()).toMatchObject([{ ...failed, state: "failed" }]);
    connect();
    expect(explain()).toMatchObject([{ ...failed, state: "connecting" }]);
    lone.answer(request);
    expect(explain()).toMatchObject([
      { state: "connected", path: "direct", cause: "direct", hasUdpPassed: true },
    ]);
  });
});
