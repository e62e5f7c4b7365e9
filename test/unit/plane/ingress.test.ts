import { describe, expect, it } from "vitest";
import type { Plane } from "../../../bindings/plane/index.ts";
import { after, concatBytes, instant, ip, prefix, type SocketAddress } from "../../../src/base/index.ts";
import { sealMessage } from "../../twin/plane/message.ts";
import { expectLaw } from "./law.ts";
import { counting, ipPacket, udp } from "./packets.ts";
import {
  A,
  B,
  createPair,
  datagramsOf,
  directPath,
  install,
  NET_A,
  NET_B,
  NOW,
  POLICIES,
  plainFrame,
  receiveAll,
  receiveOne,
  SLOT,
  STUN_HEADER,
  sendAll,
  sessionKeys,
} from "./pair.ts";

const ROUTED = { family: 4, source: NET_A.v4, destination: NET_B.v4 } as const;
const BACK = { family: 4, source: NET_B.v4, destination: NET_A.v4 } as const;
const PACKET = udp(counting(40), ROUTED);

/** A message of A on session `number`. */
function message(
  counter: bigint,
  { number = 1, text = PACKET }: { number?: number; text?: Uint8Array } = {},
) {
  const { remote, sendKey } = sessionKeys("a", number);
  return sealMessage(sendKey, remote, counter, text);
}

function drops(plane: Plane) {
  return plane.counters().ingress.drops;
}

describe("sessions (WG-14 to WG-17)", () => {
  it("WG-16: the first authentic message makes the responder's session current, with one event", () => {
    const { b } = createPair();
    expect(sendAll(b, plainFrame(udp(counting(9), BACK)))).toEqual([]);
    b.takePunts(10);
    b.execute({ kind: "release", slot: SLOT, handled: 1 });
    receiveOne(b, message(0n));
    receiveOne(b, message(1n));
    expect(b.takeEvents(10)).toEqual([{ kind: "confirmed", slot: SLOT, generation: 1 }]);
    expect(sendAll(b, plainFrame(udp(counting(9), BACK)))).toHaveLength(1);
  });

  it("WG-16: a forged or replayed message confirms nothing", () => {
    const { b } = createPair();
    const forged = message(0n);
    forged[30] = 0;
    receiveOne(b, forged);
    expect(b.takeEvents(10)).toEqual([]);
    expect(drops(b)).toEqual({ wg_bad_tag: 1 });
  });

  it("WG-16: a keepalive confirms", () => {
    const { b } = createPair();
    expect(receiveOne(b, message(0n, { text: new Uint8Array() }))).toEqual([]);
    expect(b.takeEvents(10)).toEqual([{ kind: "confirmed", slot: SLOT, generation: 1 }]);
    expect(b.counters().ingress.counters).toMatchObject({ keepalives: 1, packets_passed: 1 });
    expect(b.records.activity(SLOT)).toMatchObject({ recvAny: NOW, recvData: 0, unreplied: 0, rxPackets: 0 });
  });

  it("WG-16: messages on an older session change nothing", () => {
    const { b } = createPair();
    install(b, "b", 2);
    receiveOne(b, message(0n, { number: 2 }));
    receiveOne(b, message(0n, { number: 1 }));
    expect(b.takeEvents(10)).toEqual([{ kind: "confirmed", slot: SLOT, generation: 2 }]);
    const [send] = sendAll(b, plainFrame(udp(counting(9), BACK)));
    expect(new DataView(send?.bytes.buffer ?? new ArrayBuffer(8)).getUint32(4, true)).toBe(
      sessionKeys("b", 2).remote,
    );
  });

  it("WG-15: eight sessions of a peer open at once, and a ninth takes the place of the first", () => {
    const { b } = createPair();
    for (let number = 2; number <= 8; number++) install(b, "b", number);
    for (let number = 1; number <= 8; number++) {
      expect(receiveOne(b, message(0n, { number }))).toHaveLength(1);
    }
    install(b, "b", 9);
    expect(receiveOne(b, message(0n, { number: 9 }))).toHaveLength(1);
    expect(receiveOne(b, message(1n, { number: 1 }))).toHaveLength(0);
    expect(drops(b)).toEqual({ wg_unknown_index: 1 });
  });

  it("WG-15: a roll-over in the middle of traffic loses nothing", () => {
    const { a, b } = createPair();
    const sent: Uint8Array[] = [];
    const received: Uint8Array[] = [];
    for (let number = 1; number <= 30; number++) {
      if (number > 1) {
        install(b, "b", number);
        install(a, "a", number);
        a.execute({ kind: "set-current", slot: SLOT, local: sessionKeys("a", number).local });
        if (number > 3) a.execute({ kind: "retire", slot: SLOT, local: sessionKeys("a", number - 3).local });
      }
      for (let i = 0; i < 5; i++) {
        const packet = udp(counting(20, number * 8 + i), { ...ROUTED, ports: [1000 + i, number] });
        sent.push(packet);
        received.push(...receiveAll(b, sendAll(a, plainFrame(packet))).map((frame) => frame.subarray(10)));
      }
    }
    expect(received).toEqual(sent);
    expectLaw(b);
  });

  it.each([
    ["before its time for receiving ends", 179_999, 1],
    ["from that time on", 180_000, 0],
  ])("WG-17: opens on a session %s (%i ms)", (_, age, frames) => {
    const { b } = createPair();
    expect(receiveOne(b, message(0n), instant(NOW + age))).toHaveLength(frames);
  });

  it("WG-45: a received counter below the limit passes, one at the limit does not", () => {
    const { b } = createPair({ limits: { rekeyAfterMessages: 5n, rejectAfterMessages: 100n } });
    expect(receiveOne(b, message(99n))).toHaveLength(1);
    expect(receiveOne(b, message(100n))).toHaveLength(0);
    expect(drops(b)).toEqual({ wg_counter_limit: 1 });
  });

  it("WG-48: counts what was accepted and the highest counter, for the loss estimate", () => {
    const { b } = createPair();
    for (const counter of [0n, 7n, 3n, 3n]) receiveOne(b, message(counter));
    const { local } = sessionKeys("b");
    expect(b.records.received(SLOT, local)).toEqual({ packets: 3, highest: 7 });
    expect(b.records.received(SLOT, local + 1)).toBeUndefined();
  });
});

describe("runs of datagrams (PF-36, PG-48)", () => {
  // `wide` makes one-time keys for the datagrams of a run in advance (PF-65).
  const variants = ["turbofan", "wide"] as const;

  it.each(variants)("opens every datagram of a run, of two sessions of a peer mixed (%s)", (variant) => {
    const { b } = createPair({ variant });
    install(b, "b", 2);
    const messages = Array.from({ length: 20 }, (_, i) =>
      message(BigInt(i), {
        number: 1 + (i % 3 === 0 ? 1 : 0),
        text: udp(counting(60, i), { ...ROUTED, ports: [i + 1, 2] }),
      }),
    );
    const bytes = concatBytes(...messages);
    const segmentBytes = messages[0]?.length ?? 0;
    const frames = b.drive.ingress(NOW, { from: A, local: B.address, bytes, segmentBytes });
    expect(frames.length + b.drive.flushIngress(NOW).length).toBe(20);
    expect(b.counters().ingress.counters).toMatchObject({ packets_in: 20, super_frames_in: 1, reads: 1 });
    expectLaw(b);
  });

  it.each(variants)("goes on behind a datagram that is forged, replayed or not for us (%s)", (variant) => {
    const { b } = createPair({ variant });
    const messages = Array.from({ length: 12 }, (_, i) =>
      message(BigInt(i === 7 ? 2 : i), { text: udp(counting(60, i), { ...ROUTED, ports: [i + 1, 2] }) }),
    );
    messages[3]?.set([77], 50);
    messages[5]?.set([77], 4);
    messages[9]?.fill(0xff);
    const bytes = concatBytes(...messages);
    const segmentBytes = messages[0]?.length ?? 0;
    const frames = [
      ...b.drive.ingress(NOW, { from: A, local: B.address, bytes, segmentBytes }),
      ...b.drive.flushIngress(NOW),
    ];
    expect(frames.map((frame) => frame[31])).toEqual([1, 2, 3, 5, 7, 9, 11, 12]);
    expect(drops(b)).toEqual({ wg_bad_tag: 1, wg_unknown_index: 1, wg_replay: 1 });
    expect(b.takeEvents(10).map(({ kind }) => kind)).toEqual(["confirmed", "other"]);
    expectLaw(b);
  });

  it("drops a receive whose stride is beyond its bytes, as one datagram", () => {
    const { b } = createPair();
    const frames = b.drive.ingress(NOW, { from: A, local: B.address, bytes: PACKET, segmentBytes: 0 });
    expect(frames).toEqual([]);
    expect(drops(b)).toEqual({ udp_bad_meta: 1 });
  });

  it.each([1421, 9000, 65_475])(
    "PG-48: a plain peer takes packets longer than its own MTU (%i)",
    (length) => {
      const { a, b } = { a: createPair({ mtu: 65_500 }).a, b: createPair().b };
      const packet = udp(counting(length - 28), { family: 4, source: NET_A.v4, destination: NET_B.v4 });
      const frames = receiveAll(b, sendAll(a, plainFrame(packet)));
      expect(frames.map((frame) => frame.subarray(10))).toEqual([packet]);
      expect(drops(b)).toEqual({});
    },
  );

  it.each([
    [1316, {}],
    [1317, { udp_too_long: 1 }],
  ])("PG-48: client and gateway take datagrams up to 1,316 bytes (%i)", (length, expected) => {
    const { b } = createPair({ mode: "gateway" });
    receiveOne(b, new Uint8Array(length).fill(0xff));
    expect(drops(b)).toEqual(expected);
  });

  it("writes frames in between when a receive makes more than the list holds", () => {
    const { a, b } = createPair({ mtu: 1420 });
    const packets = Array.from({ length: 1500 }, (_, i) =>
      udp(new Uint8Array(), { ...ROUTED, ports: [i + 1, 9] }),
    );
    const messages = packets.flatMap((packet) => sendAll(a, plainFrame(packet)).flatMap(datagramsOf));
    const segmentBytes = messages[0]?.length ?? 0;
    const bytes = concatBytes(...messages.slice(0, Math.floor(65_536 / segmentBytes)));
    const frames = b.drive.ingress(NOW, { from: A, local: B.address, bytes, segmentBytes });
    expect(frames.map((frame) => frame.subarray(10))).toEqual(packets.slice(0, bytes.length / segmentBytes));
  });
});

describe("roaming (WG-62, SN-145)", () => {
  const elsewhere: SocketAddress = { address: ip("198.51.100.9"), port: 7 };
  const local = B.address;

  it("reports an authentic message from elsewhere once, until control has seen it", () => {
    const { b } = createPair();
    receiveOne(b, message(0n), NOW, elsewhere);
    receiveOne(b, message(1n), NOW, elsewhere);
    const events = b.takeEvents(10).filter(({ kind }) => kind === "roamed");
    expect(events).toEqual([{ kind: "roamed", slot: SLOT, from: elsewhere, local }]);
    receiveOne(b, message(2n), NOW, elsewhere);
    expect(b.takeEvents(10)).toHaveLength(1);
    b.execute({ kind: "set-path", slot: SLOT, path: directPath(elsewhere) });
    receiveOne(b, message(3n), NOW, elsewhere);
    expect(b.takeEvents(10)).toEqual([]);
  });

  it("compares address, port and family", () => {
    const { b } = createPair();
    const sources = [
      A,
      { ...A, port: A.port + 1 },
      { ...A, address: ip("192.0.2.9") },
      { address: ip("2001:db8::1"), port: A.port },
    ];
    for (const [i, from] of sources.entries()) {
      receiveOne(b, message(BigInt(i)), NOW, from);
      const roamed = b.takeEvents(10).filter(({ kind }) => kind === "roamed");
      expect(roamed).toEqual(i === 0 ? [] : [{ kind: "roamed", slot: SLOT, from, local }]);
    }
  });

  it("WG-76: compares the scope of a link-local address", () => {
    const { b } = createPair();
    const neighbour = { address: ip("fe80::1"), port: 7, scope: 3 };
    receiveOne(b, message(0n), NOW, neighbour);
    const roamed = { kind: "roamed", slot: SLOT, from: neighbour, local };
    expect(b.takeEvents(10)).toContainEqual(roamed);
    b.execute({ kind: "set-path", slot: SLOT, path: directPath(neighbour) });
    receiveOne(b, message(1n), NOW, neighbour);
    expect(b.takeEvents(10)).toEqual([]);
    const other = { ...neighbour, scope: 4 };
    receiveOne(b, message(2n), NOW, other);
    expect(b.takeEvents(10)).toEqual([{ ...roamed, from: other }]);
  });

  it("does not follow what is not authentic", () => {
    const { b } = createPair();
    const forged = message(0n);
    forged[20] = 1;
    receiveOne(b, forged, NOW, elsewhere);
    expect(b.takeEvents(10)).toEqual([]);
  });

  it.each(["client", "gateway"] as const)(
    "SN-145: as a %s reports it, too, but not again within 250 ms, whatever the address",
    (mode) => {
      const { b } = createPair({ mode });
      const roamedAt = (counter: bigint, ms: number, from: SocketAddress) => {
        receiveOne(b, message(counter), after(NOW, ms), from);
        return b.takeEvents(10).filter(({ kind }) => kind === "roamed");
      };
      const other = { ...elsewhere, port: 8 };
      expect(roamedAt(0n, 0, A)).toEqual([]);
      expect(roamedAt(1n, 0, elsewhere)).toEqual([{ kind: "roamed", slot: SLOT, from: elsewhere, local }]);
      expect(roamedAt(2n, 249, other)).toEqual([]);
      expect(roamedAt(2n, 250, other), "a replayed message").toEqual([]);
      expect(roamedAt(3n, 250, other)).toEqual([{ kind: "roamed", slot: SLOT, from: other, local }]);
      expect(roamedAt(4n, 499, elsewhere)).toEqual([]);
      expect(roamedAt(5n, 501, A)).toEqual([]);
    },
  );

  it("SN-145: what comes through a relay tells nothing, whatever the path", () => {
    const relay = { address: { address: ip("203.0.113.5"), port: 3478 }, channel: 0x4abc };
    const { b } = createPair({ mode: "gateway", relay });
    const channelData = (counter: bigint) => {
      const inner = message(counter);
      const header = Uint8Array.from([0x4a, 0xbc, inner.length >> 8, inner.length & 0xff]);
      return concatBytes(header, inner);
    };
    const roamed = () => b.takeEvents(10).filter(({ kind }) => kind === "roamed");
    receiveOne(b, channelData(0n), NOW, relay.address);
    expect(b.records.activity(SLOT).rxPackets).toBe(1);
    expect(roamed()).toEqual([]);
    receiveOne(b, message(1n), NOW, elsewhere);
    expect(roamed()).toHaveLength(1);
  });
});

describe("watch and idle (WG-50, SN-129)", () => {
  it("data disarms the watch and clears the idle flag; a keepalive does neither", () => {
    const { b } = createPair();
    b.execute({ kind: "set-path", slot: SLOT, path: directPath(A, { isIdle: true }) });
    b.execute({ kind: "arm-watch", slot: SLOT });
    receiveOne(b, message(0n, { text: new Uint8Array() }));
    expect(b.takeEvents(10).map(({ kind }) => kind)).toEqual(["confirmed"]);
    receiveOne(b, message(1n));
    receiveOne(b, message(2n));
    expect(b.takeEvents(10)).toEqual([
      { kind: "activity", slot: SLOT },
      { kind: "wake", slot: SLOT },
    ]);
  });

  it("PG-51: an event that finds the ring full comes with a later batch", () => {
    const { b } = createPair();
    for (let i = 0; i < 1024; i++) receiveOne(b, STUN_HEADER, instant(NOW - 300 + 100 * Math.floor(i / 400)));
    receiveOne(b, message(0n));
    expect(b.counters().ingress.counters.events_deferred).toBeGreaterThan(0);
    expect(b.takeEvents(2000).filter(({ kind }) => kind === "confirmed")).toEqual([]);
    receiveOne(b, message(1n));
    expect(b.takeEvents(10)).toEqual([{ kind: "confirmed", slot: SLOT, generation: 1 }]);
  });
});

describe("what control is asked to judge (PG-51)", () => {
  const initiation = new Uint8Array(148);
  initiation[0] = 1;
  const unknown = new Uint8Array([0xff]);

  it.each([
    ["handshakes, without a key of our own", initiation, 10],
    ["unknown datagrams", unknown, 50],
  ])("of %s only so many in 100 ms, and as many again afterwards", (_, datagram, most) => {
    const { b } = createPair();
    for (let i = 0; i <= most; i++) receiveOne(b, datagram);
    expect(drops(b)).toEqual({ "punt-rate": 1 });
    receiveOne(b, datagram, instant(NOW + 99));
    expect(drops(b)).toEqual({ "punt-rate": 2 });
    receiveOne(b, datagram, instant(NOW + 100));
    expect(drops(b)).toEqual({ "punt-rate": 2 });
    expect(b.takeEvents(2000)).toHaveLength(most + 1);
    expectLaw(b);
  });

  it("one kind does not use up what the other may", () => {
    const { b } = createPair();
    for (let i = 0; i < 60; i++) receiveOne(b, unknown);
    for (let i = 0; i < 20; i++) receiveOne(b, initiation);
    for (let i = 0; i < 300; i++) receiveOne(b, STUN_HEADER);
    const kinds = b.takeEvents(2000).map(({ kind }) => kind);
    const count = (wanted: string) => kinds.filter((kind) => kind === wanted).length;
    expect([count("other"), count("handshake"), count("stun")]).toEqual([50, 10, 300]);
    expect(drops(b)).toEqual({ "punt-rate": 20 });
  });
});

describe("the gateway's judgement (TN-61, TN-38)", () => {
  const permits = {
    slot: SLOT,
    sources: [prefix("10.1.0.1/32")],
    destinations: [prefix("10.2.0.0/24")],
    refuseDestination: true,
  };

  it("refuses a destination that is not granted, so that control can answer", () => {
    const { b } = createPair({ mode: "gateway" });
    b.publish({ ...POLICIES.b, permits: [permits] });
    const away = udp(counting(8), { ...ROUTED, destination: ip("10.2.1.1") });
    expect(receiveOne(b, message(0n, { text: away }))).toEqual([]);
    expect(b.takePunts(10)).toEqual([{ reason: "refused", slot: SLOT, packet: away }]);
    expect(receiveOne(b, message(1n))).toHaveLength(1);
    expectLaw(b);
  });

  it("TN-40: hands control events to control, in both tunnel modes", () => {
    for (const mode of ["client", "gateway"] as const) {
      const { b } = createPair({ mode });
      const event = ipPacket(255, new Uint8Array([1, 2]), {
        family: 6,
        source: new Uint8Array(16),
        destination: new Uint8Array(16),
      });
      receiveOne(b, message(0n, { text: event }));
      expect(b.takePunts(10)).toEqual([{ reason: "control-event", slot: SLOT, packet: event }]);
    }
  });

  it("revocation takes effect with the publication (WG-58)", () => {
    const { b } = createPair({ mode: "gateway" });
    b.publish({ ...POLICIES.b, permits: [permits] });
    expect(receiveOne(b, message(0n))).toHaveLength(1);
    b.publish({ ...POLICIES.b, permits: [] });
    expect(receiveOne(b, message(1n))).toHaveLength(0);
    expect(drops(b)).toEqual({ "no-peer-state": 1 });
  });

  it("WG-58: a plain peer may not send from a longer prefix of another peer", () => {
    const { b } = createPair();
    b.publish({
      routes: [...POLICIES.b.routes, { prefix: prefix("10.1.0.1/32"), target: { kind: "peer", slot: 9 } }],
      permits: [],
    });
    expect(receiveOne(b, message(0n))).toHaveLength(0);
    expect(drops(b)).toEqual({ wg_disallowed_source: 1 });
  });
});
