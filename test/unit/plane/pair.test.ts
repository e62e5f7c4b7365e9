import { describe, expect, it } from "vitest";
import type { PlaneSend } from "../../../bindings/plane/index.ts";
import { concatBytes, type SocketAddress, toHex } from "../../../src/base/index.ts";
import fc from "../../lib/property.ts";
import { openMessage } from "../../twin/plane/message.ts";
import { encodeVnet, splitFrame } from "../../twin/plane/split.ts";
import { expectLaw } from "./law.ts";
import { counting, tcp, udp } from "./packets.ts";
import {
  A,
  B,
  createPair,
  datagramsOf,
  NET_A,
  NET_B,
  NOW,
  type Pair,
  plainFrame,
  receiveAll,
  receiveOne,
  SLOT,
  sendAll,
  sessionKeys,
} from "./pair.ts";

const RELAY = { address: { address: new Uint8Array([198, 51, 100, 7]), port: 3478 }, channel: 0x4abc };
const LIMITS = { limitBytes: 65535, mode: "plain" } as const;

type Family = 4 | 6;

function addresses(family: Family) {
  return family === 4
    ? { family, source: NET_A.v4, destination: NET_B.v4 }
    : { family, source: NET_A.v6, destination: NET_B.v6 };
}

/** A super-frame as the TUN device gives it. */
function superFrame(kind: "tcp" | "udp", family: Family, payload: Uint8Array, gsoBytes: number): Uint8Array {
  const isTcp = kind === "tcp";
  const packet = isTcp ? tcp(payload, addresses(family)) : udp(payload, addresses(family));
  const checksumStart = family === 4 ? 20 : 40;
  const vnet = encodeVnet({
    needsChecksum: true,
    gsoType: isTcp ? (family === 4 ? 1 : 4) : 5,
    headerBytes: checksumStart + (isTcp ? 20 : 8),
    gsoBytes,
    checksumStart,
    checksumOffset: isTcp ? 16 : 6,
  });
  return concatBytes(vnet, packet);
}

/** The packets that frames stand for, without what a coalesced frame may change: IPv4 identification. */
function packetsOf(frames: readonly Uint8Array[]): readonly string[] {
  return frames.flatMap((frame) => {
    const packets = splitFrame(frame, LIMITS);
    if (!packets.ok) throw new Error(packets.reason);
    return packets.value.map((packet) => {
      const copy = Uint8Array.from(packet);
      if ((copy[0] ?? 0) >> 4 === 4) {
        copy.fill(0, 4, 6);
        copy.fill(0, 10, 12);
      }
      return Buffer.from(copy).toString("hex");
    });
  });
}

function carry({ a, b }: Pair, frames: readonly Uint8Array[], from: SocketAddress = A) {
  const sends = [...frames.flatMap((frame) => a.drive.egress(NOW, frame)), ...a.drive.flushEgress(NOW)];
  const received = receiveAll(b, sends, { from });
  expectLaw(a);
  expectLaw(b);
  expect(a.counters().egress.drops).toEqual({});
  expect(b.counters().ingress.drops).toEqual({});
  return { sends, received };
}

describe("two planes back to back (D-15)", () => {
  const family = fc.constantFrom<Family>(4, 6);
  const anyFrame = fc.oneof(
    fc
      .tuple(
        family,
        fc.constantFrom("tcp" as const, "udp" as const),
        fc.nat(20_000),
        fc.integer({ min: 200, max: 1360 }),
      )
      .map(([of, kind, length, gso]) => superFrame(kind, of, counting(length + 1), gso)),
    fc
      .tuple(family, fc.boolean(), fc.nat(1300))
      .map(([of, isTcp, length]) =>
        plainFrame((isTcp ? tcp : udp)(counting(length, length), { ...addresses(of), identification: 7 })),
      ),
  );

  it("D-15: datagrams that nobody has joined give the same frames, lent", () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { minLength: 1, maxLength: 8 }), (frames) => {
        const [one, other] = [createPair(), createPair()];
        const { sends, received } = carry(one, frames);
        const found: Uint8Array[] = [];
        const take = (frame: Uint8Array): void => void found.push(Uint8Array.from(frame));
        for (const send of sends) {
          const { ecn } = send;
          other.b.drive.ingressOf(
            NOW,
            { from: A, local: B.address, ecn, datagrams: datagramsOf(send) },
            take,
          );
        }
        other.b.drive.flushIngressTo(NOW, take);
        expectLaw(other.b);
        expect(found.map(toHex)).toEqual(received.map(toHex));
      }),
      { numRuns: 20 },
    );
  });

  it.each([
    ["direct", undefined],
    ["relayed", RELAY],
  ])("gives out byte by byte what went in, %s", (_, relay) => {
    fc.assert(
      fc.property(fc.array(anyFrame, { minLength: 1, maxLength: 8 }), (frames) => {
        const pair = createPair(relay === undefined ? {} : { relay, variant: "wide" });
        const { received } = carry(pair, frames, relay?.address ?? A);
        expect(packetsOf(received)).toEqual(packetsOf(frames));
      }),
      { numRuns: 60 },
    );
  });

  it.each(["turboshaft", "wide", "jsc"] as const)("works alike with every cipher variant (%s)", (variant) => {
    fc.assert(
      fc.property(fc.array(anyFrame, { minLength: 1, maxLength: 8 }), (frames) => {
        const { received } = carry(createPair({ variant }), frames);
        expect(packetsOf(received)).toEqual(packetsOf(frames));
      }),
      { numRuns: 15 },
    );
  });

  it("D-6, G-6: a TSO super-frame becomes few sends, and few super-frames at the other end", () => {
    const pair = createPair();
    const frame = superFrame("tcp", 4, counting(63_000), 1368);
    const { sends, received } = carry(pair, [frame, frame]);
    expect(sends.length).toBe(4);
    expect(sends[0]?.bytes.length).toBe(45 * 1440);
    expect(received.length).toBeLessThanOrEqual(4);
  });

  it("WG-6, D-7: what is sealed is what another implementation opens, with 0 or 4 bytes before it", () => {
    for (const relay of [undefined, RELAY]) {
      const { a } = createPair(relay === undefined ? {} : { relay });
      const packet = udp(counting(99), addresses(4));
      const [send] = sendAll(a, plainFrame(packet));
      const datagram = send?.bytes ?? new Uint8Array();
      const message = relay === undefined ? datagram : datagram.subarray(4);
      if (relay !== undefined) {
        const header = new DataView(datagram.buffer, datagram.byteOffset);
        expect(header.getUint16(0)).toBe(RELAY.channel);
        expect(header.getUint16(2)).toBe(message.length);
      }
      const keys = sessionKeys("a");
      const { index, counter, text } = openMessage(keys.sendKey, message);
      expect({ index, counter }).toEqual({ index: keys.remote, counter: 0n });
      expect(text.subarray(0, packet.length)).toEqual(packet);
      expect([...text.subarray(packet.length)].every((byte) => byte === 0)).toBe(true);
    }
  });

  it.each([
    [1, 32],
    [16, 48],
    [1391, 1420],
    [1392, 1420],
    [1380, 1408],
  ])(
    "PF-55: a datagram with %i bytes of payload is padded to %i bytes, at most to the MTU",
    (payload, text) => {
      const { a } = createPair();
      const [send] = sendAll(a, plainFrame(udp(counting(payload), addresses(4))));
      expect(send?.bytes.length).toBe(text + 32);
    },
  );

  it("pads nothing in the tunnel modes (section 2 of the WireGuard document)", () => {
    const { a } = createPair({ mode: "client" });
    const packet = udp(counting(101), addresses(4));
    const [send] = sendAll(a, plainFrame(packet));
    expect(send?.bytes.length).toBe(packet.length + 32);
  });

  it("WG-56, TN-10, TN-11: ECN goes out with the packet and a mark comes in with it", () => {
    const { a, b } = createPair();
    const packet = udp(counting(20), { ...addresses(4), tos: 0xb9 });
    const sends = sendAll(a, plainFrame(packet));
    expect(sends[0]?.ecn).toBe(1);
    const [marked] = receiveAll(b, sends, { ecn: 3 });
    expect(marked?.[11]).toBe(0xbb);
    // The header's checksum was updated: the sum over it is all ones.
    const check = splitFrame(marked ?? new Uint8Array(), LIMITS);
    expect(check.ok).toBe(true);
  });

  it("counts what was sent and received, and stamps the time (WG-49)", () => {
    const { a, b } = createPair();
    const sends = sendAll(a, plainFrame(udp(counting(100), addresses(4))));
    receiveAll(b, sends);
    const bytes = sends[0]?.bytes.length ?? 0;
    expect(a.records.activity(SLOT)).toEqual({
      sentAny: NOW,
      sentData: NOW,
      recvAny: 0,
      recvData: 0,
      unanswered: NOW,
      unreplied: 0,
      txPackets: 1,
      txBytes: bytes,
      rxPackets: 0,
      rxBytes: 0,
    });
    expect(b.records.activity(SLOT)).toEqual({
      sentAny: 0,
      sentData: 0,
      recvAny: NOW,
      recvData: NOW,
      unanswered: 0,
      unreplied: NOW,
      txPackets: 0,
      txBytes: 0,
      rxPackets: 1,
      rxBytes: bytes,
    });
  });

  it("WG-41: 'unanswered' and 'unreplied' keep the first time, and an answer clears them", () => {
    const { a, b } = createPair();
    const later = { now: (NOW + 5000) as typeof NOW };
    const frame = plainFrame(udp(counting(10), addresses(4)));
    receiveAll(b, sendAll(a, frame));
    receiveAll(b, sendAll(a, frame, later.now), later);
    expect(a.records.activity(SLOT).unanswered).toBe(NOW);
    expect(b.records.activity(SLOT).unreplied).toBe(NOW);
    expect(b.records.activity(SLOT).recvData).toBe(later.now);
    const answer = udp(counting(10), { family: 4, source: NET_B.v4, destination: NET_A.v4 });
    const sends: readonly PlaneSend[] = sendAll(b, plainFrame(answer), later.now);
    expect(b.records.activity(SLOT).unreplied).toBe(0);
    expect(receiveAll(a, sends, { ...later, from: B })).toHaveLength(1);
    expect(a.records.activity(SLOT).unanswered).toBe(0);
  });

  it("opens datagrams of a run and single ones alike (PF-36)", () => {
    const { a, b } = createPair();
    const frame = superFrame("udp", 6, counting(5000), 1000);
    const sends = sendAll(a, frame);
    const received = sends.flatMap(datagramsOf).flatMap((datagram) => receiveOne(b, datagram));
    expect(packetsOf(received)).toEqual(packetsOf([frame]));
  });
});
