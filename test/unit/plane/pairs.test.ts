/** Several pairs of workers on one plane: who writes what, and what stays in order (PG-176). Driven in turns. */
import { describe, expect, it } from "vitest";
import type { Plane } from "../../../bindings/plane/index.ts";
import {
  createSeededRandom,
  type Instant,
  instant,
  ip,
  prefix,
  type SocketAddress,
} from "../../../src/base/index.ts";
import type { FlowRecord } from "../../../src/plane/index.ts";
import { openMessage, sealMessage } from "../../twin/plane/message.ts";
import { counting, udp } from "./packets.ts";
import {
  A,
  B,
  createPair,
  datagramsOf,
  NOW,
  plainFrame,
  SLOT,
  sessionKeys,
  type TestPlaneOptions,
  testPlane,
} from "./pair.ts";
import { createStranger } from "./stranger.ts";

const PAIRS = 2;
const ROUTED = { family: 4, source: ip("10.1.0.1"), destination: ip("10.2.0.1") } as const;
const LABEL_AT = 28;
const labelled = (label: number) => udp(counting(8).fill(label), ROUTED);
const labelsOf = (packets: readonly Uint8Array[]) => packets.map((packet) => packet[LABEL_AT]);
const driveOf = (plane: Plane, pair: number) => plane.drives[pair] ?? expect.fail(`pair ${pair}`);

/** What pair `pair` sends for the packet, everything before it included; plaintext. */
function send(plane: Plane, pair: number, packet: Uint8Array): readonly Uint8Array[] {
  const drive = driveOf(plane, pair);
  const sends = [...drive.egress(NOW, plainFrame(packet)), ...drive.flushEgress(NOW)];
  const sealed = sends.flatMap(datagramsOf);
  return sealed.map((bytes) => openMessage(sessionKeys("a").sendKey, bytes).text);
}

/** Control injects what waited for a session, and lets the peer go. */
function settle(plane: Plane) {
  const packets = plane.takePunts(10).map(({ packet }) => packet);
  plane.execute({ kind: "inject", slot: SLOT, packets });
  plane.execute({ kind: "release", slot: SLOT, handled: packets.length });
}

function receive(plane: Plane, pair: number, bytes: Uint8Array, from: SocketAddress = A, now: Instant = NOW) {
  driveOf(plane, pair).ingress(now, { from, local: B.address, bytes });
}

const MOST: readonly (readonly [string, TestPlaneOptions])[] = [
  ["peers of `postern wg`", { maxPeers: 65_536 }],
  [
    "flow records of a gateway",
    { mode: "gateway", flows: { random: createSeededRandom(1), capacity: 524_288 } },
  ],
];

it.each(MOST)("PG-176: sixteen pairs have room beside the most %s", (_, options) => {
  expect(testPlane({ ...options, pairs: 16 }).drives).toHaveLength(16);
});

describe("sessions and peers", () => {
  it("PG-176, WG-45: pairs that seal for one session take different counters", () => {
    const { a } = createPair({ pairs: PAIRS });
    const counters = [0, 1, 1, 0].flatMap((pair, label) => {
      const drive = driveOf(a, pair);
      const sends = [...drive.egress(NOW, plainFrame(labelled(label))), ...drive.flushEgress(NOW)];
      return sends.map(({ bytes }) => openMessage(sessionKeys("a").sendKey, bytes).counter);
    });
    expect(counters).toEqual([0n, 1n, 2n, 3n]);
  });

  it("PG-176, WG-48: a datagram that two pairs get is accepted by one", () => {
    const { b } = createPair({ pairs: PAIRS });
    const { sendKey, remote } = sessionKeys("a");
    const bytes = sealMessage(sendKey, remote, 7n, new Uint8Array());
    receive(b, 1, bytes);
    receive(b, 0, bytes, { ...A, port: 1 });
    const { counters, drops } = b.counters().ingress;
    expect(counters.packets_passed).toBe(1);
    expect(drops).toEqual({ wg_replay: 1 });
  });

  it("PG-176, PG-114: what is counted is the sum of all pairs, and each worker by itself", () => {
    const { a } = createPair({ pairs: PAIRS });
    for (const pair of [0, 1, 1]) send(a, pair, labelled(pair));
    const { egress, workers } = a.counters();
    expect(egress.counters.packets_passed).toBe(3);
    expect(workers.map(({ counters }) => counters.packets_passed)).toEqual([1, 0, 2, 0]);
  });

  it("PG-176, WG-46: a hold ends when the punts of all pairs have been handled, and not before", () => {
    const { a } = createPair({ pairs: PAIRS });
    a.execute({ kind: "hold", slot: SLOT });
    expect(send(a, 0, labelled(1))).toEqual([]);
    expect(send(a, 1, labelled(2))).toEqual([]);
    expect(a.takePunts(10)).toHaveLength(2);
    a.execute({ kind: "release", slot: SLOT, handled: 1 });
    expect(send(a, 1, labelled(3))).toEqual([]);
    a.execute({ kind: "release", slot: SLOT, handled: 3 });
    expect(labelsOf(send(a, 1, labelled(4)))).toEqual([4]);
  });

  it("PG-176, WG-46: what was injected leaves by the pair that has the flow, behind its open send", () => {
    const { a } = createPair({ pairs: PAIRS });
    const drive = driveOf(a, 1);
    // It waits for others to join it.
    expect(drive.egress(NOW, plainFrame(labelled(1)))).toEqual([]);
    a.execute({ kind: "hold", slot: SLOT });
    for (const label of [2, 3]) drive.egress(NOW, plainFrame(labelled(label)));
    settle(a);
    expect(driveOf(a, 0).flushEgress(NOW)).toEqual([]);
    expect(labelsOf(send(a, 1, labelled(4)))).toEqual([1, 2, 3, 4]);
  });

  it("PG-176: what was injected of a flow that has moved leaves where the flow was seen last, in its order", () => {
    const { a } = createPair({ pairs: PAIRS });
    a.execute({ kind: "hold", slot: SLOT });
    for (const [pair, label] of [
      [0, 1],
      [0, 2],
      [1, 3],
    ] as const)
      send(a, pair, labelled(label));
    settle(a);
    expect(a.counters().queues.inject.entries).toBe(3);
    expect(driveOf(a, 0).flushEgress(NOW)).toEqual([]);
    expect(labelsOf(send(a, 1, labelled(4)))).toEqual([1, 2, 3, 4]);
  });

  it("PG-176: what no worker has handed up leaves by the first pair", () => {
    const { a } = createPair({ pairs: PAIRS });
    a.execute({ kind: "inject", slot: SLOT, packets: [labelled(1)] });
    expect(driveOf(a, 1).flushEgress(NOW)).toEqual([]);
    expect(driveOf(a, 0).flushEgress(NOW)).toHaveLength(1);
  });
});

describe("flows", () => {
  const CLIENT = ip("10.1.0.1");
  const FLOW: FlowRecord = {
    protocol: 17,
    client: { address: ROUTED.source, port: 1000 },
    remote: { address: ROUTED.destination, port: 2000 },
    out: "pass",
    slot: SLOT,
  };

  function client(): Plane {
    const { a } = createPair({ pairs: PAIRS, mode: "client" });
    const routes = [{ prefix: prefix("10.2.0.0/16"), target: { kind: "flow" as const } }];
    a.publish({ routes, permits: [], ownAddresses: [CLIENT] });
    return a;
  }

  const packet = (label: number) => udp(counting(8).fill(label), { ...ROUTED, ports: [1000, 2000] });

  it("PG-176, TN-87: a flow that moved to another pair is let go when that one's punts are handled, too", () => {
    const plane = client();
    send(plane, 0, packet(1));
    expect(plane.takePunts(10)).toHaveLength(1);
    plane.flows.link(NOW, FLOW);
    send(plane, 1, packet(2));
    send(plane, 1, packet(3));
    expect(plane.takePunts(1)).toHaveLength(1);
    expect(plane.releaseFlows()).toBe(true);
    expect(send(plane, 0, packet(4))).toEqual([]);
    expect(plane.takePunts(10)).toHaveLength(2);
    plane.releaseFlows();
    expect(plane.releaseFlows()).toBe(false);
    expect(send(plane, 1, packet(5))).toHaveLength(1);
  });

  it("PG-176, TN-74: packets and bytes of a flow are counted whoever has them", () => {
    const plane = client();
    const id = plane.flows.link(NOW, FLOW) ?? expect.fail("no room");
    plane.releaseFlows();
    for (const pair of [0, 1, 0, 1]) expect(send(plane, pair, packet(pair))).toHaveLength(1);
    expect(plane.flows.usage(id)?.out).toMatchObject({ packets: 4, bytes: 32 });
  });

  it("PG-176, TN-82: a revocation holds for all pairs at once", () => {
    const plane = client();
    plane.flows.link(NOW, FLOW);
    plane.releaseFlows();
    plane.flows.revoke(SLOT);
    for (const pair of [0, 1]) expect(send(plane, pair, packet(pair))).toEqual([]);
    expect(plane.takePunts(10).map(({ reason }) => reason)).toEqual(["flow", "flow"]);
  });
});

describe("control's time (PG-160)", () => {
  const UNKNOWN_SHARE = 50;
  const elsewhere = (i: number): SocketAddress => ({ address: ip(`198.51.100.${i}`), port: 7000 });

  it("PG-176: each pair gives away its part of a share", () => {
    const plane = testPlane({ pairs: PAIRS });
    for (let i = 0; i < UNKNOWN_SHARE; i++) receive(plane, 1, Uint8Array.of(200, 1, 2));
    expect(plane.takeEvents(1000)).toHaveLength(UNKNOWN_SHARE / PAIRS);
    expect(plane.counters().ingress.drops).toEqual({ "punt-rate": UNKNOWN_SHARE / PAIRS });
  });

  it("PG-176: a second is over for a peer when it is, though the clock of one pair is behind the other's", () => {
    const plane = gateway();
    const sent = (pair: number, now: Instant) => {
      const drive = driveOf(plane, pair);
      drive.ingress(now, { from: A, local: B.address, bytes: refused() });
    };
    for (let i = 0; i < 220; i++) sent(i % 2, instant(NOW + (i % 2)));
    expect(plane.takePunts(500)).toHaveLength(100);
  });

  it("PG-176, WG-33: the nonces of cookie replies are never the same, whichever pair makes them", () => {
    const plane = testPlane({ pairs: PAIRS });
    const { guard, stranger } = createStranger();
    plane.execute({ kind: "set-guard", guard });
    const nonces = [0, 1].flatMap((pair) => {
      for (let i = 0; i < 5; i++) receive(plane, pair, stranger.initiation(), elsewhere(10 * pair + i));
      receive(plane, pair, stranger.initiation(), elsewhere(100));
      return driveOf(plane, pair)
        .takeReplies()
        .map((reply) => Buffer.from(reply.subarray(8, 32)).toString("hex"));
    });
    expect(nonces).toHaveLength(2);
    expect(new Set(nonces).size).toBe(2);
  });

  let counter = 0n;

  /** A packet of the peer to where it may not go: control gets a hundred of them in a second. */
  function refused(): Uint8Array {
    const { sendKey, remote } = sessionKeys("a");
    const packet = udp(counting(16), { ...ROUTED, source: ip("10.1.0.1"), destination: ip("10.9.9.9") });
    return sealMessage(sendKey, remote, counter++, packet);
  }

  function gateway(): Plane {
    const { b } = createPair({ pairs: PAIRS, mode: "gateway" });
    const permit = { slot: SLOT, sources: [prefix("10.1.0.0/16")], destinations: [prefix("10.2.0.0/16")] };
    b.publish({
      routes: [{ prefix: prefix("10.1.0.0/16"), target: { kind: "peer", slot: SLOT } }],
      permits: [{ ...permit, refuseDestination: true }],
    });
    return b;
  }
});
