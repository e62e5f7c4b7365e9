import { describe, expect, it } from "vitest";
import { BYTES, CONSTANTS, instantiatePlane, OFFSETS } from "../../../bindings/memory/index.ts";
import type { Plane } from "../../../bindings/plane/index.ts";
import { concatBytes, instant, ip, prefix } from "../../../src/base/index.ts";
import { openMessage } from "../../twin/plane/message.ts";
import { encodeVnet } from "../../twin/plane/split.ts";
import { compileVariant } from "../crypto/modules.ts";
import { expectLaw } from "./law.ts";
import { counting, tcp, udp } from "./packets.ts";
import {
  B,
  createPair,
  datagramsOf,
  directPath,
  install,
  NET_A,
  NET_B,
  NOW,
  PEER_B,
  POLICIES,
  plainFrame,
  receiveAll,
  SLOT,
  sendAll,
  sessionKeys,
  type testPlane,
} from "./pair.ts";

const ROUTED = { family: 4, source: NET_A.v4, destination: NET_B.v4 } as const;
const CURRENT = sessionKeys("a", 1).local;
const TCP4_VNET = {
  needsChecksum: true,
  gsoType: 1,
  headerBytes: 40,
  checksumStart: 20,
  checksumOffset: 16,
} as const;

/** A datagram whose first payload byte is `label`. */
function labelled(label: number, bytes = 32): Uint8Array {
  return udp(new Uint8Array(bytes).fill(label), ROUTED);
}

function labelsOf(packets: readonly Uint8Array[]): number[] {
  return packets.map((packet) => packet[28] ?? -1);
}

/** Labels of the datagrams of sends, opened by another implementation. */
function sentLabels(sends: ReturnType<typeof sendAll>, number = 1): number[] {
  const { sendKey } = sessionKeys("a", number);
  return labelsOf(sends.flatMap(datagramsOf).map((message) => openMessage(sendKey, message).text));
}

function superFrame(payload: number, gsoBytes: number): Uint8Array {
  return concatBytes(encodeVnet({ ...TCP4_VNET, gsoBytes }), tcp(counting(payload), ROUTED));
}

function holdWord(memory: WebAssembly.Memory): number {
  const words = new Uint32Array(memory.buffer);
  const peers = words[(CONSTANTS.PLANE_ADDRESS + OFFSETS.plane.peers) >> 2] ?? 0;
  return words[(peers + SLOT * BYTES.peer + OFFSETS.peer.hold) >> 2] ?? 0;
}

function puntedPackets(plane: Plane): readonly Uint8Array[] {
  return plane.takePunts(10_000).map(({ packet }) => packet);
}

describe("egress without a session (WG-46)", () => {
  it("punts a packet without session, and holds what follows, until control releases", () => {
    const { a, b } = createPair();
    a.execute({ kind: "retire", slot: SLOT, local: CURRENT });
    expect(sendAll(a, plainFrame(labelled(1)))).toEqual([]);
    install(a, "a", 2);
    install(b, "b", 2);
    a.execute({ kind: "set-current", slot: SLOT, local: sessionKeys("a", 2).local });
    // A session is there, but packet 1 has not gone out: 2 and 3 stay behind it.
    expect(sendAll(a, plainFrame(labelled(2)))).toEqual([]);
    expect(sendAll(a, plainFrame(labelled(3)))).toEqual([]);
    const punts = a.takePunts(10);
    expect(punts.map(({ reason }) => reason)).toEqual(["no-session", "no-session", "no-session"]);
    a.execute({ kind: "inject", slot: SLOT, packets: punts.map(({ packet }) => packet) });
    a.execute({ kind: "release", slot: SLOT, handled: 3 });
    const sends = sendAll(a, plainFrame(labelled(4)));
    expect(sentLabels(sends, 2)).toEqual([1, 2, 3, 4]);
    expect(labelsOf(receiveAll(b, sends).map((frame) => frame.subarray(10)))).toEqual([1]);
    expectLaw(a);
    expectLaw(b);
  });

  it("PF-32: refuses a frame without a header, an empty one as well", () => {
    const { a } = createPair();
    for (const bytes of [0, 9]) expect(sendAll(a, new Uint8Array(bytes))).toEqual([]);
    expect(a.counters().egress.drops).toEqual({ "tun-header": 2 });
    expectLaw(a);
  });

  it("sends what was injected before a release that it sees, even if the ring was empty before", () => {
    const { a } = createPair();
    a.execute({ kind: "hold", slot: SLOT });
    sendAll(a, plainFrame(labelled(1)));
    a.execute({ kind: "inject", slot: SLOT, packets: puntedPackets(a) });
    a.execute({ kind: "release", slot: SLOT, handled: 1 });
    // Only the frame is driven here; the ring is drained because the hold word was found cleared.
    expect(sentLabels(sendAll(a, plainFrame(labelled(2))))).toEqual([1, 2]);
  });

  it("D-10: nothing passes while punted packets wait in the ring, whatever is released", () => {
    const { a } = createPair();
    a.execute({ kind: "hold", slot: SLOT });
    for (const label of [1, 2, 3]) sendAll(a, plainFrame(labelled(label)));
    const sent: number[] = [];
    for (let round = 1; round <= 6; round++) {
      // Control takes one packet at a time and releases after each; another one arrives in every round.
      const packets = a.takePunts(1).map(({ packet }) => packet);
      a.execute({ kind: "inject", slot: SLOT, packets });
      a.execute({ kind: "release", slot: SLOT, handled: round });
      sent.push(...sentLabels(sendAll(a, plainFrame(labelled(3 + round)))));
    }
    let handled = 6;
    for (let packets = a.takePunts(9); packets.length > 0; packets = a.takePunts(9)) {
      a.execute({ kind: "inject", slot: SLOT, packets: packets.map(({ packet }) => packet) });
      handled += packets.length;
      a.execute({ kind: "release", slot: SLOT, handled });
    }
    sent.push(...sentLabels(sendAll(a, plainFrame(labelled(10)))));
    expect(sent).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  it("D-10: nothing passes while control works on a batch of punts, although it released", () => {
    const { a } = createPair();
    const memory = (a as ReturnType<typeof testPlane>).memory;
    a.execute({ kind: "hold", slot: SLOT });
    for (const label of [1, 2]) sendAll(a, plainFrame(labelled(label)));
    const [first, second] = a.takePunts(10);
    a.execute({ kind: "inject", slot: SLOT, packets: first === undefined ? [] : [first.packet] });
    a.execute({ kind: "release", slot: SLOT, handled: 1 });
    expect(holdWord(memory)).not.toBe(0);
    a.execute({ kind: "inject", slot: SLOT, packets: second === undefined ? [] : [second.packet] });
    a.execute({ kind: "release", slot: SLOT, handled: 2 });
    expect(holdWord(memory)).toBe(0);
    expect(sentLabels(sendAll(a, plainFrame(labelled(3))))).toEqual([1, 2, 3]);
  });

  it("D-10: a packet that is punted while control releases holds those behind it again", () => {
    const { a } = createPair();
    const { memory } = a as ReturnType<typeof testPlane>;
    const view = new DataView(memory.buffer);
    const exports = instantiatePlane(compileVariant("turbofan"), memory);
    const worker = view.getUint32(CONSTANTS.PLANE_ADDRESS + OFFSETS.plane.egress, true);
    const input = view.getUint32(worker + OFFSETS.worker.input, true) + CONSTANTS.BUFFER_LEAD;
    a.execute({ kind: "hold", slot: SLOT });
    new Uint8Array(memory.buffer).set(plainFrame(labelled(1)), input);
    exports.egressBegin(worker, 10 + labelled(1).length);
    // The worker has read the hold word; control, which knows of no punt, clears it.
    a.execute({ kind: "release", slot: SLOT, handled: 0 });
    expect(holdWord(memory)).toBe(0);
    expect(exports.egressStep(worker)).toBe(0);
    expect(sendAll(a, plainFrame(labelled(2)))).toEqual([]);
    expect(labelsOf(puntedPackets(a))).toEqual([1, 2]);
  });

  it("a packet of a peer that is gone is neither punted to nor sent to the next one in its slot", () => {
    const { a } = createPair();
    a.execute({ kind: "hold", slot: SLOT });
    sendAll(a, plainFrame(labelled(1)));
    a.execute({ kind: "inject", slot: SLOT, packets: [labelled(2)] });
    a.execute({ kind: "remove-peer", slot: SLOT });
    a.execute({ kind: "add-peer", slot: SLOT, peerId: 0x777777 });
    a.execute({ kind: "set-path", slot: SLOT, path: directPath(B) });
    const session = { ...sessionKeys("a", 1), local: 0x77777701 };
    a.execute({ kind: "install", slot: SLOT, peerId: 0x777777, session });
    a.execute({ kind: "set-current", slot: SLOT, local: 0x77777701 });
    expect(a.drive.flushEgress(NOW)).toEqual([]);
    expect(a.counters().egress.drops).toEqual({ "inject-stale": 1 });
    expect(a.takePunts(10)).toEqual([]);
    // The new peer's punts are counted from its beginning: its slot is not held for ever.
    a.execute({ kind: "release", slot: SLOT, handled: 0 });
    expect(sendAll(a, plainFrame(labelled(3)))).toHaveLength(1);
  });

  it("punts the segments of a super-frame as packets in their order", () => {
    const { a } = createPair();
    a.execute({ kind: "retire", slot: SLOT, local: CURRENT });
    sendAll(a, superFrame(4000, 1000));
    const packets = puntedPackets(a);
    expect(packets.map((packet) => packet.length)).toEqual([1040, 1040, 1040, 1040]);
    expect(packets.map((packet) => new DataView(packet.buffer).getUint32(24) - 0x01020304)).toEqual([
      0, 1000, 2000, 3000,
    ]);
  });

  it.each([
    ["before its time for sending ends", 169_999, 1],
    ["from that time on", 170_000, 0],
  ])("WG-17: uses a session %s (%i ms)", (_, age, sends) => {
    const { a } = createPair();
    expect(sendAll(a, plainFrame(labelled(1)), instant(NOW + age))).toHaveLength(sends);
    expect(puntedPackets(a)).toHaveLength(1 - sends);
  });

  it("WG-18: at most 128 packets of a peer wait in the ring, until control takes them", () => {
    const { a } = createPair();
    a.execute({ kind: "hold", slot: SLOT });
    for (let i = 0; i < 200; i++) sendAll(a, plainFrame(labelled(i)));
    expect(a.counters().egress.drops).toEqual({ wg_no_session: 72 });
    expect(puntedPackets(a)).toHaveLength(128);
    sendAll(a, plainFrame(labelled(1)));
    expect(puntedPackets(a)).toHaveLength(1);
    expectLaw(a);
  });

  it("treats a broken path like no session, and sends again when it is mended", () => {
    const { a } = createPair();
    a.execute({ kind: "set-path", slot: SLOT, path: directPath(B, { isBroken: true }) });
    expect(sendAll(a, plainFrame(labelled(1)))).toEqual([]);
    const packets = puntedPackets(a);
    a.execute({ kind: "set-path", slot: SLOT, path: directPath(B) });
    a.execute({ kind: "inject", slot: SLOT, packets });
    a.execute({ kind: "release", slot: SLOT, handled: 1 });
    expect(sentLabels(a.drive.flushEgress(NOW) as ReturnType<typeof sendAll>)).toEqual([1]);
  });
});

describe("send counters (WG-45)", () => {
  const limits = { rekeyAfterMessages: 5n, rejectAfterMessages: 8n };

  it("never uses a counter twice, whoever takes it", () => {
    const { a } = createPair();
    const counters: bigint[] = [];
    const { sendKey } = sessionKeys("a");
    for (let i = 0; i < 20; i++) {
      const own = a.records.takeCounter(SLOT, CURRENT);
      if (own !== undefined) counters.push(own);
      const sends = sendAll(a, superFrame(3000, 1000));
      for (const message of sends.flatMap(datagramsOf)) counters.push(openMessage(sendKey, message).counter);
    }
    expect(counters).toEqual(Array.from({ length: 80 }, (_, i) => BigInt(i)));
  });

  it("reports the rekey limit once, when its last message is taken", () => {
    const { a } = createPair({ limits });
    for (let i = 0; i < 4; i++) sendAll(a, plainFrame(labelled(i)));
    expect(a.takeEvents(10)).toEqual([]);
    sendAll(a, plainFrame(labelled(4)));
    sendAll(a, plainFrame(labelled(5)));
    expect(a.takeEvents(10)).toEqual([{ kind: "counter", slot: SLOT, generation: 1, limit: "rekey" }]);
  });

  it("sends nothing at the reject limit: the packet is without session", () => {
    const { a } = createPair({ limits });
    const sends = sendAll(a, superFrame(10_000, 1000));
    expect(sends.flatMap(datagramsOf)).toHaveLength(8);
    expect(puntedPackets(a)).toHaveLength(2);
    expect(a.takeEvents(10).map((event) => event.kind === "counter" && event.limit)).toEqual([
      "rekey",
      "reject",
    ]);
    expect(a.records.takeCounter(SLOT, CURRENT)).toBeUndefined();
    expectLaw(a);
  });
});

describe("sends (PF-55, PG-45)", () => {
  it("puts at most 64 datagrams into one send", () => {
    const { a } = createPair();
    const sends = [...a.drive.egress(NOW, superFrame(65 * 100, 100)), ...a.drive.flushEgress(NOW)];
    expect(sends.map((send) => datagramsOf(send).length)).toEqual([64, 1]);
  });

  it("stays within 65,450 bytes per send", () => {
    const { a } = createPair();
    const sends = sendAll(a, superFrame(63_000, 1380));
    for (const { bytes } of sends) expect(bytes.length).toBeLessThanOrEqual(65_450);
    expect(sends[0]?.bytes.length).toBe(45 * 1452);
  });

  it("closes a send with a shorter datagram, and never lets a longer one follow", () => {
    const { a } = createPair();
    const lengths = [500, 500, 200, 500, 900, 900, 100, 100];
    const sends = [
      ...lengths.flatMap((length) => a.drive.egress(NOW, plainFrame(labelled(1, length)))),
      ...a.drive.flushEgress(NOW),
    ];
    const batches = sends.map((send) => datagramsOf(send).length);
    expect(batches).toEqual([3, 1, 3, 1]);
  });

  it("begins a new send for another ECN value, and for another path", () => {
    const { a } = createPair();
    const frame = (tos: number) => plainFrame(udp(counting(100), { ...ROUTED, tos }));
    const sends = [
      ...a.drive.egress(NOW, frame(0)),
      ...a.drive.egress(NOW, frame(2)),
      ...a.drive.egress(NOW, frame(2)),
    ];
    const other = { address: ip("192.0.2.77"), port: 1 };
    a.execute({ kind: "set-path", slot: SLOT, path: directPath(other, { source: ip("192.0.2.1") }) });
    sends.push(...a.drive.egress(NOW, frame(2)), ...a.drive.flushEgress(NOW));
    expect(sends.map(({ ecn, to, source }) => ({ ecn, to, source }))).toEqual([
      { ecn: 0, to: B, source: undefined },
      { ecn: 2, to: B, source: undefined },
      { ecn: 2, to: other, source: ip("192.0.2.1") },
    ]);
  });

  it("keeps peers apart, in one send each", () => {
    const { a } = createPair();
    a.execute({ kind: "add-peer", slot: 5, peerId: 0x555555 });
    a.execute({ kind: "set-path", slot: 5, path: directPath(B) });
    const session = { ...sessionKeys("a", 1), local: 0x55555501, remote: 0x12345678 };
    a.execute({ kind: "install", slot: 5, peerId: 0x555555, session });
    a.execute({ kind: "set-current", slot: 5, local: 0x55555501 });
    a.publish({
      routes: [...POLICIES.a.routes, { prefix: prefix("10.2.5.0/24"), target: { kind: "peer", slot: 5 } }],
      permits: [],
    });
    const to5 = udp(counting(32), { ...ROUTED, destination: ip("10.2.5.1") });
    const sends = [
      ...a.drive.egress(NOW, plainFrame(labelled(1))),
      ...a.drive.egress(NOW, plainFrame(to5)),
      ...a.drive.flushEgress(NOW),
    ];
    expect(sends.map(({ slot }) => slot)).toEqual([SLOT, 5]);
    expect(new DataView(sends[1]?.bytes.buffer ?? new ArrayBuffer(8)).getUint32(4, true)).toBe(0x12345678);
  });
});

describe("what a client does not let out (TN-20)", () => {
  it.each(["224.0.0.1", "239.255.255.255", "255.255.255.255", "ff02::fb"])(
    "multicast or broadcast: %s",
    (to) => {
      const { a } = createPair({ mode: "client" });
      const destination = ip(to);
      const source = destination.length === 4 ? NET_A.v4 : NET_A.v6;
      const routes = ["0.0.0.0/0", "::/0"].map((range) => ({
        prefix: prefix(range),
        target: { kind: "peer" as const, slot: SLOT },
      }));
      a.publish({ routes, permits: [], ownAddresses: [NET_A.v4, NET_A.v6] });
      const family = destination.length === 4 ? 4 : 6;
      expect(sendAll(a, plainFrame(udp(counting(8), { family, source, destination })))).toEqual([]);
      expect(a.counters().egress.drops).toEqual({ multicast: 1 });
    },
  );

  it.each(["223.255.255.255", "240.0.0.1", "fe80::1"])("anything else: %s", (to) => {
    const { a } = createPair({ mode: "client" });
    const destination = ip(to);
    const family = destination.length === 4 ? 4 : 6;
    const source = family === 4 ? NET_A.v4 : NET_A.v6;
    a.publish({ routes: [], permits: [], ownAddresses: [NET_A.v4, NET_A.v6] });
    sendAll(a, plainFrame(udp(counting(8), { family, source, destination })));
    expect(a.counters().egress.drops).toEqual({ "unknown-resource": 1 });
  });
});

describe("what control is told (WG-50, WG-58, SN-129)", () => {
  it("disarms the watch with one event at the first data packet", () => {
    const { a } = createPair();
    a.execute({ kind: "arm-watch", slot: SLOT });
    sendAll(a, plainFrame(labelled(1)));
    sendAll(a, plainFrame(labelled(2)));
    expect(a.takeEvents(10)).toEqual([{ kind: "activity", slot: SLOT }]);
    a.execute({ kind: "arm-watch", slot: SLOT });
    sendAll(a, plainFrame(labelled(3)));
    expect(a.takeEvents(10)).toHaveLength(1);
  });

  it("clears the idle flag with one wake, and still sends the packet", () => {
    const { a } = createPair();
    a.execute({ kind: "set-path", slot: SLOT, path: directPath(B, { isIdle: true }) });
    expect(sendAll(a, plainFrame(labelled(1)))).toHaveLength(1);
    sendAll(a, plainFrame(labelled(2)));
    expect(a.takeEvents(10)).toEqual([{ kind: "wake", slot: SLOT }]);
  });

  it("hands the first packet of a refused frame to control, ten times a second", () => {
    const { a } = createPair();
    const tcpAway = tcp(counting(4000), { ...ROUTED, destination: ip("10.77.0.1") });
    const frame = concatBytes(encodeVnet({ ...TCP4_VNET, gsoBytes: 1000 }), tcpAway);
    for (let i = 0; i < 11; i++) sendAll(a, frame);
    expect(a.takePunts(100).map(({ reason }) => reason)).toEqual(Array(10).fill("refused"));
    expect(a.counters().egress.drops).toEqual({ wg_no_route: 10 * 3 + 4 });
    sendAll(a, frame, instant(NOW + 1000));
    expect(a.takePunts(100)).toHaveLength(1);
    expectLaw(a);
  });

  it("WG-59: names the peer that has no endpoint", () => {
    const { a } = createPair();
    a.execute({ kind: "remove-peer", slot: SLOT });
    a.execute({ kind: "add-peer", slot: SLOT, peerId: PEER_B });
    sendAll(a, plainFrame(labelled(7)));
    const [punt] = a.takePunts(10);
    expect(punt).toMatchObject({ reason: "refused", slot: SLOT });
    expect(punt?.packet).toEqual(labelled(7));
  });

  it("TN-28: punts what leads to no gateway yet as `first`, whole and in order", () => {
    const { a } = createPair({ mode: "client" });
    a.publish({ routes: [{ prefix: prefix("10.2.0.0/16"), target: { kind: "punt" } }], permits: [] });
    sendAll(a, plainFrame(labelled(1)));
    sendAll(a, plainFrame(labelled(2)));
    const punts = a.takePunts(10);
    expect(punts.map(({ reason }) => reason)).toEqual(["first", "first"]);
    expect(labelsOf(punts.map(({ packet }) => packet))).toEqual([1, 2]);
  });

  it("TN-110: punts what flows decide about as `flow`, as long as there is no record", () => {
    const { a } = createPair({ mode: "client" });
    a.publish({ routes: [{ prefix: prefix("10.2.0.0/16"), target: { kind: "flow" } }], permits: [] });
    sendAll(a, plainFrame(labelled(1)));
    expect(a.takePunts(10)).toEqual([{ reason: "flow", direction: "out", packet: labelled(1) }]);
  });
});
