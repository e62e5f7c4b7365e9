/**
 * Datagrams that come in fragments, put together as a kernel does (PG-129; RFC 791 §3.2, RFC 8200 §4.5, RFC 5722).
 *
 * The plane lets fragments through as they are and has judged the first one (TN-111). Here is what a host behind it
 * would do. Everything is bounded, since a client may send first fragments only: the oldest datagram makes way.
 */
import { after, type Instant } from "../base/index.ts";
import {
  checksumAdd,
  checksumFinish,
  FRAGMENT_HEADER_BYTES,
  fragmentOf,
  PACKET_BYTES_MAX,
  type PacketDescriptor,
  PROTOCOL,
  pseudoHeaderSum,
  viewPacket,
} from "../packet/index.ts";

/** Without options and extension headers. */
const HEADER_BYTES = { 4: 20, 6: 40 } as const;
/** How long the rest of a datagram is waited for. */
const REST_MS = 30_000;
const DATAGRAMS_MAX = 256;
/** Of a datagram: 64 KiB in packets of 576 bytes, and a few more. */
const PIECES_MAX = 128;
/** Of all fragments that wait, with their headers. */
const OCTETS_MAX = 4 << 20;

export interface Reassembly {
  /** Takes a validated fragment (TN-3); returns the datagram that it completes, without options and extensions. */
  take(now: Instant, fragment: Uint8Array, found: PacketDescriptor): Uint8Array<ArrayBuffer> | undefined;
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
  /** Fragments of datagrams that were given up. */
  dropped(): number;
}

interface Piece {
  readonly start: number;
  readonly octets: Uint8Array;
  readonly packet: Uint8Array;
}

interface Datagram {
  readonly until: Instant;
  /** In order of their starts, without overlap. */
  readonly pieces: Piece[];
  /** Known from the last fragment on. */
  length: number | undefined;
  heldOctets: number;
}

interface State {
  /** In order of their ends. */
  readonly datagrams: Map<string, Datagram>;
  heldOctets: number;
  dropped: number;
}

export function createReassembly(): Reassembly {
  const state: State = { datagrams: new Map(), heldOctets: 0, dropped: 0 };
  return {
    take: (now, fragment, found) => take(state, now, fragment, found),
    handleTimeout: (now) => forgetLate(state, now),
    pollTimeout: () => oldest(state)?.[1].until,
    dropped: () => state.dropped,
  };
}

function take(
  state: State,
  now: Instant,
  packet: Uint8Array,
  found: PacketDescriptor,
): Uint8Array<ArrayBuffer> | undefined {
  forgetLate(state, now);
  const key = fragmentOf(packet)?.datagram ?? "";
  const { start, isLast } = placeOf(packet, found);
  const piece: Piece = { start, octets: packet.subarray(found.transportOffset, found.totalBytes), packet };
  const known = state.datagrams.get(key);
  const datagram = known ?? { until: after(now, REST_MS), pieces: [], length: undefined, heldOctets: 0 };
  if (known === undefined) state.datagrams.set(key, datagram);
  const verdict = add(datagram, piece, isLast, PACKET_BYTES_MAX - HEADER_BYTES[found.family]);
  if (verdict !== "added") {
    state.dropped++;
    if (verdict === "bad") drop(state, key, datagram);
    return undefined;
  }
  datagram.heldOctets += packet.length;
  state.heldOctets += packet.length;
  if (isComplete(datagram)) return complete(state, key, datagram, found);
  makeRoom(state);
  return undefined;
}

/** Where in the datagram a fragment lies. */
function placeOf(
  packet: Uint8Array,
  { family, transportOffset }: PacketDescriptor,
): { readonly start: number; readonly isLast: boolean } {
  if (family === 4) {
    const field = u16(packet, 6);
    return { start: (field & 0x1fff) * 8, isLast: (field & 0x2000) === 0 };
  }
  // The fragment header is the last before what it has of the datagram.
  const field = u16(packet, transportOffset - FRAGMENT_HEADER_BYTES + 2);
  return { start: field & 0xfff8, isLast: (field & 1) === 0 };
}

/** An overlap ends the datagram, which an attacker would have wanted to change (RFC 5722); a repetition does not. */
function add(datagram: Datagram, piece: Piece, isLast: boolean, most: number): "added" | "again" | "bad" {
  const { pieces } = datagram;
  const end = piece.start + piece.octets.length;
  if (end > most || pieces.length === PIECES_MAX) return "bad";
  if (pieces.some(({ start, octets }) => start === piece.start && start + octets.length === end))
    return "again";
  if (pieces.some(({ start, octets }) => start < end && piece.start < start + octets.length)) return "bad";
  if (isLast && datagram.length !== undefined) return "bad";
  const length = isLast ? end : datagram.length;
  if (length !== undefined && (end > length || pieces.some((one) => one.start >= length))) return "bad";
  datagram.length = length;
  const at = pieces.findIndex(({ start }) => start > piece.start);
  pieces.splice(at === -1 ? pieces.length : at, 0, piece);
  return "added";
}

function isComplete({ pieces, length }: Datagram): boolean {
  if (length === undefined) return false;
  return pieces.reduce((sum, { octets }) => sum + octets.length, 0) === length;
}

/** What was put together of fragments of two datagrams with one identification is not what either sender meant (RFC 4963). */
function complete(
  state: State,
  key: string,
  datagram: Datagram,
  { family, protocol }: PacketDescriptor,
): Uint8Array<ArrayBuffer> | undefined {
  forget(state, key, datagram);
  const { pieces, length = 0 } = datagram;
  const [first] = pieces;
  if (first === undefined) return undefined;
  const whole = new Uint8Array(HEADER_BYTES[family] + length);
  whole.set(first.packet.subarray(0, HEADER_BYTES[family]));
  for (const { start, octets } of pieces) whole.set(octets, HEADER_BYTES[family] + start);
  if (family === 4) mendV4(whole);
  else mendV6(whole, protocol, length);
  if (isSumRight(whole)) return whole;
  state.dropped += pieces.length;
  return undefined;
}

/** Without options, not a fragment. */
function mendV4(packet: Uint8Array): void {
  packet[0] = 0x45;
  setU16(packet, 2, packet.length);
  setU16(packet, 6, 0);
  setU16(packet, 10, 0);
  setU16(packet, 10, checksumFinish(checksumAdd(packet.subarray(0, HEADER_BYTES[4]))));
}

/** Without extension headers. */
function mendV6(packet: Uint8Array, protocol: number, length: number): void {
  setU16(packet, 4, length);
  packet[6] = protocol;
}

function isSumRight(packet: Uint8Array): boolean {
  const { family, source, destination, protocol, transport } = viewPacket(packet);
  if (protocol === PROTOCOL.icmp) return checksumFinish(checksumAdd(transport)) === 0;
  const isSummed = [PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.icmpv6].some((one) => one === protocol);
  // Over IPv4 UDP may do without.
  if (!isSummed || (protocol === PROTOCOL.udp && family === 4 && u16(transport, 6) === 0)) return true;
  const pseudo = pseudoHeaderSum({ source, destination, protocol, lengthBytes: transport.length });
  return checksumFinish(checksumAdd(transport, pseudo)) === 0;
}

function forgetLate(state: State, now: Instant): void {
  for (let one = oldest(state); one !== undefined && one[1].until <= now; one = oldest(state)) {
    drop(state, ...one);
  }
}

function makeRoom(state: State): void {
  while (state.datagrams.size > DATAGRAMS_MAX || state.heldOctets > OCTETS_MAX) {
    const one = oldest(state);
    if (one === undefined) return;
    drop(state, ...one);
  }
}

function oldest({ datagrams }: State): [string, Datagram] | undefined {
  for (const one of datagrams) return one;
  return undefined;
}

function drop(state: State, key: string, datagram: Datagram): void {
  state.dropped += datagram.pieces.length;
  forget(state, key, datagram);
}

function forget(state: State, key: string, datagram: Datagram): void {
  state.datagrams.delete(key);
  state.heldOctets -= datagram.heldOctets;
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

function setU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value;
}
