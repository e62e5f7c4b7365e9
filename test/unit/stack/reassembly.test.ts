/** Datagrams in fragments, as they come out of a tunnel (PG-129). */
import { describe, expect, it } from "vitest";
import { createSeededRandom, type Instant, instant, ip } from "../../../src/base/index.ts";
import { checksumAdd, checksumFinish, PROTOCOL, pseudoHeaderSum } from "../../../src/packet/index.ts";
import { createStack, type Stack } from "../../../src/stack/index.ts";
import fc from "../../lib/property.ts";

const PORT = 4_000;
const ENDS = {
  4: { own: ip("100.64.0.2"), remote: ip("10.0.0.1") },
  6: { own: ip("fd00:2021:1111::2"), remote: ip("2001:db8::1") },
} as const;
const FAMILIES = [4, 6] as const;
const NOW = instant(1_000);
const REST_MS = 30_000;

function stackOf(): Stack {
  const stack = createStack({ random: createSeededRandom(1), isRouter: false });
  stack.configure([ENDS[4].own, ENDS[6].own]);
  stack.bindUdp(PORT);
  return stack;
}

const payloadOf = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i * 7 + (i >> 8));

/** UDP header and payload, from `ENDS[family].remote`. */
function transportOf(family: 4 | 6, payload: Uint8Array): Uint8Array {
  const transport = new Uint8Array(8 + payload.length);
  const view = new DataView(transport.buffer);
  view.setUint16(0, 53);
  view.setUint16(2, PORT);
  view.setUint16(4, transport.length);
  transport.set(payload, 8);
  const { own: destination, remote: source } = ENDS[family];
  const pseudo = { source, destination, protocol: PROTOCOL.udp, lengthBytes: transport.length };
  view.setUint16(6, checksumFinish(checksumAdd(transport, pseudoHeaderSum(pseudo))));
  return transport;
}

interface Cut {
  readonly at: number;
  readonly end: number;
  readonly isLast: boolean;
}

function fragment(family: 4 | 6, transport: Uint8Array, { at, end, isLast }: Cut, id = 1): Uint8Array {
  const octets = transport.subarray(at, end);
  const { own, remote } = ENDS[family];
  const headerBytes = family === 4 ? 20 : 48;
  const packet = new Uint8Array(headerBytes + octets.length);
  const view = new DataView(packet.buffer);
  if (family === 4) {
    packet.set([0x45, 0, 0, 0, 0, 0, 0, 0, 64, PROTOCOL.udp]);
    view.setUint16(2, packet.length);
    view.setUint16(4, id);
    view.setUint16(6, (at / 8) | (isLast ? 0 : 0x2000));
    packet.set(remote, 12);
    packet.set(own, 16);
    view.setUint16(10, checksumFinish(checksumAdd(packet.subarray(0, 20))));
  } else {
    packet.set([0x60, 0, 0, 0, 0, 0, 44, 64]);
    view.setUint16(4, 8 + octets.length);
    packet.set(remote, 8);
    packet.set(own, 24);
    packet[40] = PROTOCOL.udp;
    view.setUint16(42, at | (isLast ? 0 : 1));
    view.setUint32(44, id);
  }
  packet.set(octets, headerBytes);
  return packet;
}

/** The whole of it, in pieces of `step` bytes. */
function cut(family: 4 | 6, transport: Uint8Array, step = 1_232, id = 1): Uint8Array[] {
  const packets: Uint8Array[] = [];
  for (let at = 0; at < transport.length; at += step) {
    const end = Math.min(at + step, transport.length);
    packets.push(fragment(family, transport, { at, end, isLast: end === transport.length }, id));
  }
  return packets;
}

function give(stack: Stack, packets: readonly Uint8Array[], now: Instant = NOW): Uint8Array[] {
  const came: Uint8Array[] = [];
  for (const packet of packets) stack.handlePacket(now, packet);
  for (let event = stack.pollEvent(); event !== undefined; event = stack.pollEvent()) {
    if (event.kind === "datagram") came.push(event.bytes);
  }
  return came;
}

const dropped = (stack: Stack): number => stack.counters().stack_drop_fragment;
const [HALF, REST] = [1_232, 1_500];
const halves = (family: 4 | 6, id = 1): [Uint8Array, Uint8Array] => {
  const [first, second] = cut(family, transportOf(family, payloadOf(REST)), HALF, id);
  if (first === undefined || second === undefined) throw new Error("there are two");
  return [first, second];
};

describe.each(FAMILIES)("a datagram in fragments over IPv%d", (family) => {
  it("PG-129: comes whole, whatever the order and the sizes of its pieces", () => {
    const cases = fc.record({
      length: fc.integer({ min: 9, max: 9_000 }),
      step: fc.integer({ min: 15, max: 154 }).map((units) => units * 8),
      order: fc.array(fc.nat(), { maxLength: 80 }),
    });
    fc.assert(
      fc.property(cases, ({ length, step, order }) => {
        const stack = stackOf();
        const payload = payloadOf(length);
        const pieces = cut(family, transportOf(family, payload), step);
        for (const [i, at] of order.entries()) {
          const [moved] = pieces.splice(at % pieces.length, 1);
          if (moved !== undefined) pieces.splice(i % (pieces.length + 1), 0, moved);
        }
        expect(give(stack, pieces)).toEqual([payload]);
        expect(dropped(stack)).toBe(0);
        expect(stack.pollTimeout()).toBeUndefined();
      }),
    );
  });

  it("PG-129: may be as long as a datagram can be", () => {
    const stack = stackOf();
    const most = family === 4 ? 65_507 : 65_487;
    const payload = payloadOf(most);
    const [came] = give(stack, cut(family, transportOf(family, payload)));
    expect(Buffer.compare(came ?? Buffer.of(), payload)).toBe(0);
    expect(give(stack, cut(family, transportOf(family, payloadOf(most + 1))))).toEqual([]);
  });

  it("PG-129: is waited for 30 s from its first fragment on, not longer", () => {
    const [first, second] = halves(family);
    const stack = stackOf();
    give(stack, [first]);
    expect(stack.pollTimeout()).toBe(NOW + REST_MS);
    stack.handleTimeout(instant(NOW + REST_MS - 1));
    expect(give(stack, [second], instant(NOW + REST_MS - 1))).toHaveLength(1);
    give(stack, [first]);
    stack.handleTimeout(instant(NOW + REST_MS));
    expect([dropped(stack), stack.pollTimeout()]).toEqual([1, undefined]);
    give(stack, [first], instant(NOW));
    // Nobody woke it: what is late is so all the same.
    expect(give(stack, [second], instant(NOW + REST_MS))).toEqual([]);
    expect(dropped(stack)).toBe(2);
  });

  it("PG-129: is another one with another identification", () => {
    const stack = stackOf();
    const [first] = halves(family, 1);
    const [, second] = halves(family, 2);
    expect(give(stack, [first, second])).toEqual([]);
  });

  it("PG-129: takes a piece once, and ends where two of them overlap (RFC 5722)", () => {
    const transport = transportOf(family, payloadOf(REST));
    const [first, second] = halves(family);
    const stack = stackOf();
    expect(give(stack, [first, first, second])).toHaveLength(1);
    expect(dropped(stack)).toBe(1);
    const overlapping = fragment(family, transport, { at: HALF - 8, end: HALF + 8, isLast: false });
    expect(give(stack, [first, overlapping, second])).toEqual([]);
    expect(dropped(stack)).toBe(3);
  });

  it("PG-129: has one end, and nothing behind it", () => {
    const transport = transportOf(family, payloadOf(REST));
    const stack = stackOf();
    const early = fragment(family, transport, { at: HALF, end: HALF + 8, isLast: true });
    const behind = fragment(family, transport, { at: HALF + 8, end: HALF + 16, isLast: false });
    expect(give(stack, [early, behind])).toEqual([]);
    expect(give(stack, [behind, early])).toEqual([]);
    expect(dropped(stack)).toBe(4);
  });

  it("PG-129: is dropped where its checksum says that pieces of two were taken for one (RFC 4963)", () => {
    const stack = stackOf();
    const [first, second] = halves(family);
    second[second.length - 1] = (second.at(-1) ?? 0) ^ 1;
    expect(give(stack, [first, second])).toEqual([]);
    expect(dropped(stack)).toBe(2);
  });

  it("PG-129: 256 are waited for, then the oldest makes way", () => {
    const all = Array.from({ length: 257 }, (_, id) => halves(family, id));
    const stack = stackOf();
    give(
      stack,
      all.map(([first]) => first),
    );
    expect(dropped(stack)).toBe(1);
    const [oldest, ...others] = all.map(([, second]) => second);
    expect(give(stack, others)).toHaveLength(256);
    expect(give(stack, oldest === undefined ? [] : [oldest])).toEqual([]);
  });

  it("PG-129: 128 pieces are enough for it", () => {
    const stack = stackOf();
    const of = (count: number): Uint8Array[] =>
      cut(family, transportOf(family, payloadOf(count * 24 - 8)), 24);
    expect(give(stack, of(128))).toHaveLength(1);
    expect(give(stack, of(129))).toEqual([]);
    expect(dropped(stack)).toBe(129);
  });
});

it("PG-129: no more than 4 MiB wait", () => {
  const stack = stackOf();
  // All but the last piece of each: 52 packets of 1,252 bytes. 64 times that is less than 4 MiB, 65 times is more.
  const transport = transportOf(4, payloadOf(52 * 1_232));
  const open = (id: number): void => {
    for (const packet of cut(4, transport, 1_232, id).slice(0, -1)) stack.handlePacket(NOW, packet);
  };
  for (let id = 1; id <= 64; id++) open(id);
  expect(dropped(stack)).toBe(0);
  open(65);
  expect(dropped(stack)).toBe(52);
});
