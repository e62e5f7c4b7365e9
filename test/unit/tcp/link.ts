/** Two hosts and a bad network between them: frames are split, and of the packets some are lost, late, doubled, broken. */
import {
  createSeededRandom,
  type Instant,
  instant,
  ip,
  type Random,
  randomBelow,
  type SocketAddress,
} from "../../../src/base/index.ts";
import { viewPacket } from "../../../src/packet/index.ts";
import {
  createTcpHost,
  FRAME_BYTES_MAX,
  FULL_PROFILE,
  type TcpEvent,
  type TcpHost,
  type TcpProfile,
} from "../../../src/tcp/index.ts";
import { parseSegment } from "../../../src/tcp/segment.ts";
import { finite } from "../../lib/bounds.ts";
import { splitFrame } from "../../twin/plane/split.ts";

const A: SocketAddress = { address: ip("100.64.0.5"), port: 40_000 };
const B: SocketAddress = { address: ip("100.64.0.6"), port: 80 };
const VNET_BYTES = 10;
const STEPS_MAX = 400_000;

export interface LinkOptions {
  readonly seed: number;
  /** Octets that each side sends. */
  readonly octets: readonly [number, number];
  /** In percent of the packets. */
  readonly loss?: number;
  readonly duplicate?: number;
  readonly corrupt?: number;
  readonly delayMs?: number;
  /** Packets are as much later as chance will have it, and so out of order. */
  readonly jitterMs?: number;
  readonly profiles?: readonly [Partial<TcpProfile>, Partial<TcpProfile>];
  /** Some reads are put off for so long. */
  readonly lazyMs?: number;
}

export interface LinkResult {
  readonly a: Side;
  readonly b: Side;
  /** Until both were closed. */
  readonly tookMs: number;
}

export interface Side {
  readonly host: TcpHost;
  readonly random: Random;
  readonly toSend: number;
  id: number | undefined;
  sent: number;
  received: number;
  isRight: boolean;
  closed: string | undefined;
  /** Octets to take, and when. */
  readonly reads: { readonly at: Instant; readonly octets: number }[];
  /** The right edge that was announced last, and by how much one lay before it at most. */
  edge: number | undefined;
  readonly shift: number;
  shrunk: number;
  segments: number;
}

interface Packet {
  readonly at: Instant;
  readonly order: number;
  readonly to: Side;
  readonly frame: Uint8Array;
}

/** The octet at a position of a stream. */
const octetAt = (position: number): number => (position * 31 + (position >> 8)) & 0xff;

/** Carries all octets both ways until both ends are closed. Throws if nothing ends it. */
export function runLink(options: LinkOptions): LinkResult {
  const random = createSeededRandom(options.seed);
  const [a, b] = [createSide(random, options, 0), createSide(random, options, 1)];
  const wire: Packet[] = [];
  let now = instant(1_000_000);
  let order = 0;
  a.id = a.host.connect(now, A, B);
  const chance = (percent = 0): boolean => randomBelow(random, 1_000) < percent * 10;
  const put = (to: Side, packet: Uint8Array): void => {
    if (chance(options.loss)) return;
    const frame = new Uint8Array(VNET_BYTES + packet.length);
    frame.set(packet, VNET_BYTES);
    if (chance(options.corrupt)) corrupt(random, frame);
    for (let copies = chance(options.duplicate) ? 2 : 1; copies > 0; copies--) {
      const { delayMs = 5, jitterMs = 0 } = options;
      const at = instant(now + delayMs + randomBelow(random, jitterMs + 1));
      wire.push({ at, order: order++, to, frame: frame.slice() });
    }
  };
  for (let steps = 0; steps < STEPS_MAX; steps++) {
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      hear(from, now, options.lazyMs ?? 0);
      for (const packet of packetsOf(from)) put(to, packet);
    }
    if (a.closed !== undefined && b.closed !== undefined) return { a, b, tookMs: now - 1_000_000 };
    wire.sort((x, y) => x.at - y.at || x.order - y.order);
    now = instant(Math.max(now, nextAt(wire, [a, b])));
    if (now === Number.POSITIVE_INFINITY) throw new Error("an end waits for ever");
    const next = wire[0];
    if (next !== undefined && next.at <= now) {
      wire.shift();
      next.to.host.handleFrame(now, next.frame);
    } else act([a, b], now);
  }
  throw new Error("it goes on for ever");
}

function createSide(random: Random, { octets, profiles }: LinkOptions, index: 0 | 1): Side {
  const [own, other] = [index, 1 - index].map((i) => ({ ...FULL_PROFILE, ...profiles?.[i] }));
  const profile = own ?? FULL_PROFILE;
  return {
    host: createTcpHost({ random, admit: () => (index === 0 ? "refuse" : "accept"), profile }),
    random,
    toSend: octets[index],
    id: undefined,
    sent: 0,
    received: 0,
    isRight: true,
    closed: undefined,
    reads: [],
    edge: undefined,
    // It counts only if both have it (RFC 7323 §2.2).
    shift: other?.windowShift === undefined ? 0 : (profile.windowShift ?? 0),
    shrunk: 0,
    segments: 0,
  };
}

function nextAt(wire: readonly Packet[], sides: readonly Side[]): number {
  const dues = sides.flatMap(({ host, reads }) => [host.pollTimeout(), reads[0]?.at]);
  for (const due of dues) if (due !== undefined) finite(due, "a host's deadline");
  return Math.min(
    wire[0]?.at ?? Number.POSITIVE_INFINITY,
    ...dues.map((at) => at ?? Number.POSITIVE_INFINITY),
  );
}

/** Timers and lazy readers. */
function act(sides: readonly Side[], now: Instant): void {
  for (const { host, reads, id } of sides) {
    if ((host.pollTimeout() ?? Number.POSITIVE_INFINITY) <= now) {
      host.handleTimeout(now);
      const next = host.pollTimeout();
      if (next !== undefined && next <= now) throw new Error("the poll law: a deadline that is past");
    }
    while ((reads[0]?.at ?? Number.POSITIVE_INFINITY) <= now)
      host.take(now, id ?? 0, reads.shift()?.octets ?? 0);
  }
}

function hear(side: Side, now: Instant, lazyMs: number): void {
  for (let event = side.host.pollEvent(); event !== undefined; event = side.host.pollEvent()) {
    note(side, now, event, lazyMs);
  }
}

function note(side: Side, now: Instant, event: TcpEvent, lazyMs: number): void {
  switch (event.kind) {
    case "opened":
      side.id = event.id;
      return write(side, now);
    case "writable":
      return write(side, now);
    case "data": {
      const { bytes } = event;
      for (let i = 0; i < bytes.length; i++) side.isRight &&= bytes[i] === octetAt(side.received + i);
      side.received += bytes.length;
      const at = instant(now + (lazyMs === 0 ? 0 : randomBelow(side.random, lazyMs)));
      if (at === now) side.host.take(now, event.id, bytes.length);
      else side.reads.push({ at: instant(Math.max(at, side.reads.at(-1)?.at ?? at)), octets: bytes.length });
      return;
    }
    case "closed":
      side.closed = event.reason;
      return;
    default:
      return;
  }
}

/** In writes of any length. */
function write(side: Side, now: Instant): void {
  const { host, id = 0, toSend, random } = side;
  while (side.sent < toSend) {
    const length = Math.min(
      toSend - side.sent,
      1 + randomBelow(random, randomBelow(random, 2) === 0 ? 100 : 60_000),
    );
    const bytes = Uint8Array.from({ length }, (_, i) => octetAt(side.sent + i));
    const taken = host.send(now, id, bytes);
    if (!Number.isInteger(taken)) throw new Error(`a part of an octet was taken: ${taken}`);
    side.sent += taken;
    if (taken < length) return;
  }
  host.end(now, id);
}

/** Everything that a host sends, in packets of the MTU, as the plane would make them. */
function packetsOf(side: Side): Uint8Array[] {
  const into = new Uint8Array(FRAME_BYTES_MAX);
  const all: Uint8Array[] = [];
  for (let length = side.host.pollFrame(into); length > 0; length = side.host.pollFrame(into)) {
    const split = splitFrame(into.slice(0, length), { limitBytes: 1_280, mode: "strict" });
    if (!split.ok) throw new Error(split.reason);
    for (const packet of split.value) {
      watchWindow(side, packet);
      all.push(packet);
    }
  }
  side.segments += all.length;
  return all;
}

/** The right edge of the window as the peer sees it: it may not move back (RFC 9293 §3.8.6). */
function watchWindow(side: Side, packet: Uint8Array): void {
  const read = parseSegment(viewPacket(packet));
  if (!read.ok) throw new Error(read.reason);
  const { isSyn, isAck, isRst, window, ack } = read.value;
  if (!isAck || isRst) return;
  const edge = (ack + window * 2 ** (isSyn ? 0 : side.shift)) >>> 0;
  if (side.edge !== undefined) side.shrunk = Math.max(side.shrunk, -((edge - side.edge) | 0));
  side.edge = side.edge === undefined || ((edge - side.edge) | 0) > 0 ? edge : side.edge;
}

function corrupt(random: Random, frame: Uint8Array): void {
  const at = VNET_BYTES + randomBelow(random, frame.length - VNET_BYTES);
  frame[at] = (frame[at] ?? 0) ^ (1 << randomBelow(random, 8));
}
