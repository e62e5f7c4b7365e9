/**
 * TURN over a stream: STUN messages and ChannelData one behind the other (RFC 8656 §12.5, RL-201), and
 * what waits to be written (RL-204).
 *
 *     STUN           20 bytes of header, whose length field counts the rest
 *     ChannelData    4 bytes of header, data, zeros up to a multiple of 4
 */
import type { Instant } from "../base/index.ts";
import { HEADER_BYTES, MAGIC_COOKIE } from "../stun/index.ts";
import {
  CHANNEL_FIRST,
  CHANNEL_HEADER_BYTES,
  CHANNEL_LAST_ACCEPTED,
  STREAM_ANSWERS_MAX,
  STREAM_DATAGRAM_COST_LEAST,
  STREAM_LATE_MS,
  STREAM_QUEUE_BYTES_MAX,
  TURN_MESSAGE_BYTES_MAX,
} from "./constants.ts";

export interface StreamRead {
  /** Complete ones, ChannelData without its padding; copies. */
  readonly messages: readonly Uint8Array[];
  /** What follows is no TURN, and nothing can be found in it any more. */
  readonly isBroken: boolean;
}

/** Cuts a stream into messages. It holds less than one of them between two calls. */
export function createStreamReader(): (bytes: Uint8Array) => StreamRead {
  let held = new Uint8Array(0);
  return (bytes) => {
    const joined = new Uint8Array(held.length + bytes.length);
    joined.set(held);
    joined.set(bytes, held.length);
    held = joined;
    const messages: Uint8Array[] = [];
    for (;;) {
      const size = measure(held);
      if (size === "malformed") return { messages, isBroken: true };
      if (size === undefined || held.length < size.whole) return { messages, isBroken: false };
      messages.push(held.slice(0, size.message));
      held = held.subarray(size.whole);
    }
  };
}

interface Size {
  /** In bytes. */
  readonly message: number;
  /** With padding. */
  readonly whole: number;
}

/** How long the first message is; `undefined` as long as that is not known. */
function measure(bytes: Uint8Array): Size | "malformed" | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const first = bytes[0];
  if (first === undefined) return undefined;
  return first >> 6 === 0 ? measureStun(view) : measureChannelData(view);
}

function measureStun(view: DataView): Size | "malformed" | undefined {
  if (view.byteLength >= 8 && view.getUint32(4) !== MAGIC_COOKIE) return "malformed";
  if (view.byteLength < 4) return undefined;
  const length = view.getUint16(2);
  const whole = HEADER_BYTES + length;
  return length % 4 !== 0 || whole > TURN_MESSAGE_BYTES_MAX ? "malformed" : { message: whole, whole };
}

function measureChannelData(view: DataView): Size | "malformed" | undefined {
  if (view.byteLength < 2) return view.getUint8(0) << 8 > CHANNEL_LAST_ACCEPTED ? "malformed" : undefined;
  const channel = view.getUint16(0);
  if (channel < CHANNEL_FIRST || channel > CHANNEL_LAST_ACCEPTED) return "malformed";
  if (view.byteLength < CHANNEL_HEADER_BYTES) return undefined;
  const message = CHANNEL_HEADER_BYTES + view.getUint16(2);
  return { message, whole: padded(message) };
}

/** A datagram of UDP as it goes into a stream; STUN messages are multiples of 4 already. */
export function toStream(datagram: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(padded(datagram.length));
  bytes.set(datagram);
  return bytes;
}

function padded(length: number): number {
  return (length + 3) & ~3;
}

/** What waits for a stream that is slower than what comes (RL-204). */
export interface StreamQueue {
  push(now: Instant, datagram: Uint8Array): void;
  /** The next that is not late. */
  pop(now: Instant): Uint8Array | undefined;
  /** Without padding. */
  readonly bytes: number;
  /** ChannelData that was late, or for which there was no room. */
  readonly dropped: number;
  /** So many answers wait that the other side must have stopped reading. */
  readonly isStalled: boolean;
}

interface Waiting {
  /** `undefined`: dropped meanwhile. */
  datagram: Uint8Array | undefined;
  readonly since: Instant;
}

interface QueueState {
  items: Waiting[];
  /** What is before was taken. */
  first: number;
  /** No ChannelData waits before it. */
  oldest: number;
  bytes: number;
  /** What is counted against the limit. */
  cost: number;
  answers: number;
  dropped: number;
}

/** Items that were taken are let go when there are so many. */
const TAKEN_MAX = 512;

/** In constant time per datagram: a peer decides how many come, and control has more to do. */
export function createStreamQueue(): StreamQueue {
  const state: QueueState = { items: [], first: 0, oldest: 0, bytes: 0, cost: 0, answers: 0, dropped: 0 };
  return {
    push(now, datagram) {
      state.items.push({ datagram, since: now });
      note(state, datagram, 1);
      while (dropOldest(state, (since) => isLate(now, since) || state.cost > STREAM_QUEUE_BYTES_MAX));
    },
    pop: (now) => pop(state, now),
    get bytes() {
      return state.bytes;
    },
    get dropped() {
      return state.dropped;
    },
    get isStalled() {
      return state.answers > STREAM_ANSWERS_MAX;
    },
  };
}

function note(state: QueueState, datagram: Uint8Array, sign: 1 | -1): void {
  state.bytes += sign * datagram.length;
  state.cost += sign * Math.max(datagram.length, STREAM_DATAGRAM_COST_LEAST);
  if (!isChannelData(datagram)) state.answers += sign;
}

/** The oldest ChannelData, if it may go; answers of the relay never do. @returns whether it went */
function dropOldest(state: QueueState, mayGo: (since: Instant) => boolean): boolean {
  state.oldest = Math.max(state.oldest, state.first);
  for (; state.oldest < state.items.length; state.oldest++) {
    const item = state.items[state.oldest];
    if (item?.datagram === undefined || !isChannelData(item.datagram)) continue;
    if (!mayGo(item.since)) return false;
    note(state, item.datagram, -1);
    item.datagram = undefined;
    state.dropped++;
    return true;
  }
  return false;
}

function pop(state: QueueState, now: Instant): Uint8Array | undefined {
  while (state.first < state.items.length) {
    const item = state.items[state.first++];
    compact(state);
    if (item?.datagram === undefined) continue;
    note(state, item.datagram, -1);
    if (!isLate(now, item.since) || !isChannelData(item.datagram)) return item.datagram;
    state.dropped++;
  }
  return undefined;
}

function compact(state: QueueState): void {
  const { items, first } = state;
  if (first < items.length && first < TAKEN_MAX) return;
  state.items = items.slice(first);
  state.oldest = Math.max(0, state.oldest - first);
  state.first = 0;
}

function isLate(now: Instant, since: Instant): boolean {
  return now - since > STREAM_LATE_MS;
}

function isChannelData(datagram: Uint8Array): boolean {
  return (datagram[0] ?? 0) >> 6 !== 0;
}
