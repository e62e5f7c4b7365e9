/** One example for every reason of stage `path`: a new reason does not compile without one. */
import { describe, expect, it } from "vitest";
import { REASONS, type Reason } from "../../../bindings/memory/index.ts";
import type { Plane } from "../../../bindings/plane/index.ts";
import {
  concatBytes,
  copyOf,
  type IpAddress,
  instant,
  ip,
  type Prefix,
  prefix,
  type SocketAddress,
  toPrefix,
} from "../../../src/base/index.ts";
import type { PeerPermits, PermitsByFlow } from "../../../src/plane/index.ts";
import { sealMessage } from "../../twin/plane/message.ts";
import { encodeVnet } from "../../twin/plane/split.ts";
import { expectLaw } from "./law.ts";
import { counting, ipPacket, tcp, udp } from "./packets.ts";
import {
  A,
  B,
  createPair,
  directPath,
  install,
  NET_A,
  NET_B,
  NOW,
  type Pair,
  type PairOptions,
  PEER_A,
  PEER_B,
  POLICIES,
  plainFrame,
  SLOT,
  STUN_HEADER,
  sendAll,
  sessionKeys,
  testPlane,
} from "./pair.ts";
import { createStranger, STRANGER } from "./stranger.ts";

/** Those of the relay's workers have their examples in `relay.test.ts`. */
type PathReason = {
  [R in Reason]: (typeof REASONS)[R]["stage"] extends "path"
    ? (typeof REASONS)[R]["room"] extends "relay"
      ? never
      : R
    : never;
}[Reason];

/** The plane in which the reason must have been counted, once. */
type Example = () => Plane;

const ROUTED = { family: 4, source: NET_A.v4, destination: NET_B.v4 } as const;
const GOOD = udp(counting(64), ROUTED);

/** A sends this frame. */
function egress(
  frame: Uint8Array,
  options: PairOptions = {},
  prepare: (pair: Pair) => void = () => undefined,
) {
  const pair = createPair(options);
  prepare(pair);
  sendAll(pair.a, frame);
  return pair.a;
}

/** B receives this text, sealed by A's session. */
function ingress(
  text: Uint8Array,
  options: PairOptions = {},
  prepare: (pair: Pair) => void = () => undefined,
): Plane {
  const pair = createPair(options);
  prepare(pair);
  receive(pair.b, message(text));
  return pair.b;
}

function message(text: Uint8Array, counter = 0n): Uint8Array<ArrayBuffer> {
  const { remote, sendKey } = sessionKeys("a");
  return sealMessage(sendKey, remote, counter, text);
}

function receive(plane: Plane, bytes: Uint8Array, now = NOW, local: IpAddress | undefined = B.address): void {
  plane.drive.ingress(now, local === undefined ? { from: A, bytes } : { from: A, local, bytes });
  plane.drive.flushIngress(now);
}

/** A plane with a key of its own, and somebody who knows it. */
function guarded() {
  const plane = testPlane();
  const { guard, stranger } = createStranger();
  plane.execute({ kind: "set-guard", guard });
  return { plane, stranger };
}

function receiveFrom(plane: Plane, bytes: Uint8Array, from: SocketAddress): void {
  plane.drive.ingress(NOW, { from, local: B.address, bytes });
}

function withByte(bytes: Uint8Array, at: number, value: number): Uint8Array<ArrayBuffer> {
  const copy = copyOf(bytes);
  copy[at] = value;
  return copy;
}

const host = (address: IpAddress): Prefix => toPrefix(address, address.length * 8);
const CLIENT = { mode: "client" } as const;
const GATEWAY = { mode: "gateway" } as const;

/** A is a client: B is its gateway, with the networks of POLICIES. */
function asClient({ a }: Pair): void {
  a.publish({ ...POLICIES.a, ownAddresses: [NET_A.v4, NET_A.v6] });
}

/** B is a client and A its gateway. */
function asClientB({ b }: Pair): void {
  const permits = [{ slot: SLOT, sources: [prefix("10.1.0.0/16")], refuseDestination: false }];
  b.publish({ ...POLICIES.b, ownAddresses: [NET_B.v4, NET_B.v6], permits });
}

/** One end is a gateway, the other its client at the given address. */
function asGateway(
  plane: Plane,
  side: "a" | "b",
  client: IpAddress,
  changes: Partial<PeerPermits> = {},
): void {
  const permits = { slot: SLOT, sources: [host(client)], refuseDestination: false, ...changes };
  plane.publish({ ...POLICIES[side], permits: [permits] });
}

const ICMP_ERROR = ipPacket(
  1,
  concatBytes(new Uint8Array([3, 1, 0, 0, 0, 0, 0, 0]), GOOD.subarray(0, 28)),
  ROUTED,
);
const BY_FLOW: PermitsByFlow = { destinations: [], egressSources: [], isTranslated: false };
/** What an error from A to B may quote. */
const BACK = udp(counting(64), { family: 4, source: NET_B.v4, destination: NET_A.v4 });
const CONTROL_EVENT = ipPacket(255, new Uint8Array([1]), {
  family: 6,
  source: new Uint8Array(16),
  destination: new Uint8Array(16),
});

/** `wg_under_load` comes behind cookies that were asked for: `guard.test.ts`. */
const EXAMPLES: Record<Exclude<PathReason, "wg_under_load">, Example> = {
  "ip-version": () => egress(plainFrame(withByte(GOOD, 0, 0x25))),
  "ip-length": () => egress(plainFrame(withByte(GOOD, 2, 0x7f))),
  "ip-too-big": () => egress(plainFrame(udp(counting(1393), ROUTED))),
  "ip-fragment": () => egress(plainFrame(udp(counting(9), { ...ROUTED, fragmentField: 0x2000 })), CLIENT),
  "ip-source-route": () =>
    egress(plainFrame(udp(counting(8), { ...ROUTED, options: new Uint8Array([131, 4, 0, 0]) })), CLIENT),
  "ip6-ext": () =>
    egress(
      plainFrame(
        ipPacket(0, new Uint8Array([17, 9]), { family: 6, source: NET_A.v6, destination: NET_B.v6 }),
      ),
    ),
  "udp-length": () => egress(plainFrame(withByte(GOOD, 25, 200))),
  "tcp-length": () => egress(plainFrame(withByte(tcp(counting(8), ROUTED), 32, 0x40))),
  "icmp-family": () => egress(plainFrame(ipPacket(58, counting(16), ROUTED))),
  "icmp-length": () => egress(plainFrame(ipPacket(1, counting(7), ROUTED))),
  "icmp-quote": () =>
    egress(
      plainFrame(ipPacket(1, concatBytes(new Uint8Array([3, 1, 0, 0, 0, 0, 0, 0]), counting(9)), ROUTED)),
      GATEWAY,
      ({ a }) => asGateway(a, "a", NET_B.v4),
    ),
  "icmp-type": () =>
    egress(plainFrame(ipPacket(1, new Uint8Array([5, 0, 0, 0, 0, 0, 0, 0]), ROUTED)), CLIENT, asClient),
  "tun-header": () => egress(new Uint8Array(9)),
  "tun-gso-type": () =>
    egress(
      concatBytes(
        encodeVnet({
          needsChecksum: true,
          gsoType: 3,
          headerBytes: 28,
          gsoBytes: 20,
          checksumStart: 20,
          checksumOffset: 6,
        }),
        GOOD,
      ),
    ),
  "not-configured": () => {
    const plane = testPlane();
    sendAll(plane, plainFrame(GOOD));
    return plane;
  },
  wg_no_route: () => {
    const pair = createPair();
    const frame = plainFrame(udp(counting(8), { ...ROUTED, destination: ip("10.77.0.1") }));
    for (let i = 0; i < 11; i++) sendAll(pair.a, frame);
    return pair.a;
  },
  wg_no_endpoint: () => {
    const pair = createPair();
    const path = { kind: "none", headRoom: 0, isIdle: false, isBroken: false, generation: 2 } as const;
    pair.a.execute({ kind: "set-path", slot: SLOT, path });
    for (let i = 0; i < 11; i++) sendAll(pair.a, plainFrame(GOOD));
    return pair.a;
  },
  wg_no_session: () => {
    const pair = createPair();
    pair.a.execute({ kind: "retire", slot: SLOT, local: sessionKeys("a").local });
    for (let i = 0; i < 129; i++) sendAll(pair.a, plainFrame(GOOD));
    return pair.a;
  },
  "unknown-resource": () =>
    egress(plainFrame(udp(counting(8), { ...ROUTED, destination: ip("10.77.0.1") })), CLIENT, asClient),
  "unknown-peer": () =>
    egress(plainFrame(GOOD), CLIENT, ({ a }) =>
      a.publish({
        routes: [{ prefix: prefix("10.2.0.0/16"), target: { kind: "drop", reason: "unknown-peer" } }],
        permits: [],
      }),
    ),
  "path-too-big": () =>
    egress(plainFrame(GOOD), CLIENT, (pair) => {
      asClient(pair);
      pair.a.execute({ kind: "set-path", slot: SLOT, path: directPath(B, { mtu: GOOD.length - 1 }) });
      // What control is asked to answer in this second.
      for (let i = 0; i < 200; i++) sendAll(pair.a, plainFrame(GOOD));
    }),
  "bad-source": () =>
    egress(plainFrame(udp(counting(8), { ...ROUTED, source: ip("10.1.0.9") })), CLIENT, asClient),
  "to-self": () =>
    egress(plainFrame(udp(counting(8), { ...ROUTED, destination: NET_A.v4 })), CLIENT, asClient),
  "not-a-peer": () =>
    egress(plainFrame(udp(counting(8), { ...ROUTED, destination: ip("10.77.0.1") })), GATEWAY),
  "no-peer-state": () => egress(plainFrame(GOOD), GATEWAY),
  "not-allowed": () =>
    egress(plainFrame(GOOD), GATEWAY, ({ a }) =>
      asGateway(a, "a", NET_B.v4, { egressSources: [prefix("10.99.0.0/16")] }),
    ),
  "p2p-on-tun": () => egress(plainFrame(CONTROL_EVENT), CLIENT, asClient),
  "inject-stale": () => {
    const pair = createPair();
    pair.a.execute({ kind: "retire", slot: SLOT, local: sessionKeys("a").local });
    pair.a.execute({ kind: "inject", slot: SLOT, packets: [GOOD] });
    pair.a.drive.flushEgress(NOW);
    return pair.a;
  },
  udp_bad_meta: () => {
    const { b } = createPair();
    receive(b, message(GOOD), NOW, new Uint8Array());
    return b;
  },
  udp_too_long: () => {
    const { b } = createPair(CLIENT);
    receive(b, new Uint8Array(1317));
    return b;
  },
  wg_malformed: () => {
    const { b } = createPair();
    receive(b, message(GOOD).subarray(0, 31));
    return b;
  },
  wg_unknown_index: () => {
    const { b } = createPair();
    receive(b, withByte(message(GOOD), 4, 2));
    return b;
  },
  wg_expired_session: () => {
    const { b } = createPair();
    receive(b, message(GOOD), instant(NOW + 180_000));
    return b;
  },
  wg_counter_limit: () => {
    const { b } = createPair({ limits: { rekeyAfterMessages: 5n, rejectAfterMessages: 10n } });
    receive(b, message(GOOD, 10n));
    return b;
  },
  wg_replay: () => {
    const { b } = createPair();
    receive(b, message(GOOD));
    receive(b, message(GOOD));
    return b;
  },
  wg_bad_tag: () => {
    const { b } = createPair();
    receive(b, withByte(message(GOOD), 40, 99));
    return b;
  },
  wg_disallowed_source: () => ingress(udp(counting(8), { ...ROUTED, source: ip("10.3.0.1") })),
  "not-allowed-source": () =>
    ingress(udp(counting(8), { ...ROUTED, source: ip("10.3.0.1") }), CLIENT, asClientB),
  "bad-destination": () =>
    ingress(udp(counting(8), { ...ROUTED, destination: ip("10.2.0.9") }), CLIENT, asClientB),
  "not-client-ip": () =>
    ingress(udp(counting(8), { ...ROUTED, source: ip("10.1.0.2") }), GATEWAY, ({ b }) =>
      asGateway(b, "b", NET_A.v4),
    ),
  "not-granted": () =>
    ingress(GOOD, GATEWAY, ({ b }) =>
      asGateway(b, "b", NET_A.v4, { destinations: [prefix("10.99.0.0/16")] }),
    ),
  multicast: () =>
    ingress(udp(counting(8), { ...ROUTED, destination: ip("239.1.2.3") }), GATEWAY, ({ b }) =>
      asGateway(b, "b", NET_A.v4),
    ),
  "icmp-error-out": () => ingress(ICMP_ERROR, GATEWAY, ({ b }) => asGateway(b, "b", NET_A.v4)),
  wg_bad_mac1: () => {
    const { plane } = guarded();
    receiveFrom(plane, withByte(new Uint8Array(148), 0, 1), STRANGER);
    return plane;
  },
  wg_cookie_asked: () => {
    const { plane, stranger } = guarded();
    for (let i = 0; i < 11; i++) receiveFrom(plane, stranger.initiation(), STRANGER);
    return plane;
  },
  wg_source_rate: () => {
    const { plane, stranger } = guarded();
    plane.execute({ kind: "add-peer", slot: SLOT, peerId: PEER_A });
    for (let i = 0; i < 6; i++) receiveFrom(plane, stranger.response(PEER_A), STRANGER);
    return plane;
  },
  "punt-full": () => {
    const plane = testPlane({ mode: "client" });
    plane.publish({ routes: [{ prefix: prefix("10.2.0.0/16"), target: { kind: "punt" } }], permits: [] });
    for (let i = 0; i < 2049; i++) plane.drive.egress(NOW, plainFrame(GOOD));
    return plane;
  },
  "punt-control-full": () => {
    const { b } = createPair();
    for (let i = 0; i < 1025; i++) receive(b, STUN_HEADER, instant(NOW + 100 * Math.floor(i / 400)));
    return b;
  },
  "punt-rate": () => {
    const { b } = createPair();
    for (let i = 0; i < 51; i++) receive(b, new Uint8Array([0xff]));
    return b;
  },
  "refuse-rate": () => {
    const plane = testPlane({ mode: "client" });
    plane.publish({ routes: [{ prefix: prefix("10.2.0.0/16"), target: { kind: "refuse" } }], permits: [] });
    for (let i = 0; i < 201; i++) plane.drive.egress(NOW, plainFrame(GOOD));
    return plane;
  },
  "flow-rate": () => {
    const { b } = createPair(GATEWAY);
    asGateway(b, "b", NET_A.v4, { byFlow: { ...BY_FLOW, destinations: [host(NET_B.v4)] } });
    for (let i = 0n; i <= 4000n; i++) {
      receive(b, message(GOOD, i));
      b.takePunts(1);
    }
    return b;
  },
  "icmp-rate": () => {
    const { a } = createPair(GATEWAY);
    asGateway(a, "a", NET_B.v4, { byFlow: { ...BY_FLOW, isTranslated: true } });
    const error = ipPacket(
      1,
      concatBytes(new Uint8Array([3, 1, 0, 0, 0, 0, 0, 0]), BACK.subarray(0, 28)),
      ROUTED,
    );
    for (let i = 0; i <= 200; i++) sendAll(a, plainFrame(error));
    return a;
  },
  "fragment-unknown": () => {
    const fragment = (fragmentField: number) =>
      udp(counting(8), { ...ROUTED, ports: [5000, 443], fragmentField });
    const byFlow = { ...BY_FLOW, destinations: [host(NET_B.v4)] };
    return ingress(fragment(2), GATEWAY, ({ b }) => {
      asGateway(b, "b", NET_A.v4, { byFlow });
      const ends = { client: { address: NET_A.v4, port: 5000 }, remote: { address: NET_B.v4, port: 443 } };
      b.flows.link(NOW, { protocol: 17, ...ends, out: "prohibited", slot: SLOT });
      b.releaseFlows();
      // The first one is refused by its flow.
      receive(b, message(fragment(0x2000), 1n));
    });
  },
  "expired-nat": () => {
    const { a } = createPair(GATEWAY);
    asGateway(a, "a", NET_B.v4, { byFlow: { ...BY_FLOW, egressSources: [host(NET_A.v4)] } });
    const [client, remote] = [
      { address: NET_B.v4, port: 80 },
      { address: NET_A.v4, port: 53780 },
    ];
    a.flows.link(NOW, { protocol: 17, client, remote, in: "drop", reason: "expired-nat", slot: SLOT });
    a.releaseFlows();
    sendAll(a, plainFrame(GOOD));
    return a;
  },
};

describe("reasons (D-8, style §8)", () => {
  it.each(Object.entries(EXAMPLES))("counts a packet as %s, once", (reason, example) => {
    const plane = example();
    const { egress: out, ingress: into } = plane.counters();
    expect({ ...out.drops, ...into.drops }).toEqual({ [reason]: 1 });
    expectLaw(plane);
  });

  it("names a room, a meaning and a rule for every reason", () => {
    for (const { meaning, rule } of Object.values(REASONS)) {
      expect(meaning.length).toBeGreaterThan(3);
      expect(rule).toMatch(/^(TN|WG|PG|PF|SN|RL)-\d+/);
    }
  });

  it("does not confuse the two ends' peer ids", () => {
    expect(PEER_A).not.toBe(PEER_B);
    const { a } = createPair();
    install(a, "a", 2);
    sendAll(a, plainFrame(GOOD));
    expect(a.counters().egress.drops).toEqual({});
  });
});
