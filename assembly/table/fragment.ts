/**
 * Datagrams in fragments: what became of the first, so that the later ones follow, and of which a later one came before
 * the first (TN-112). Each worker has the last FRAGMENTS of its own. The twin searches a list:
 * `test/twin/plane/fragments.ts`.
 */
import { Ip4, Ip6 } from "../header";
import {
  Flow,
  FRAGMENT_MISSED,
  FRAGMENT_MISSED_TTL,
  FRAGMENT_TTL,
  FRAGMENT_V6,
  FRAGMENTS,
  Fragment,
  Packet,
  VERDICT_DROP,
  VERDICT_NAT,
  Worker,
} from "../layout";
import { findFlow, generationOfSlot } from "./flow";

/** Remembers the first fragment at `packet`: by the record at `row` it passes, or by VERDICT_DROP does not. */
export function rememberFragment(
  worker: usize,
  packet: usize,
  found: usize,
  row: usize,
  isIn: bool,
  verdict: u32,
  now: u32,
): void {
  const at = addFragment(worker, packet, found, verdict, now);
  v128.store(at, v128.load(row + (isIn ? Flow.REMOTE : Flow.OUTSIDE)), Fragment.ADDRESS);
  const ports = load<u32>(found, Packet.SOURCE_PORT) | (load<u32>(found, Packet.DESTINATION_PORT) << 16);
  store<u32>(at, ports, Fragment.PORTS);
  store<u32>(at, load<u32>(row, Flow.GENERATION), Fragment.GENERATION);
  store<u16>(at, load<u16>(row, Flow.SLOT), Fragment.SLOT);
}

/** Remembers that the later fragment at `packet` has come without its first one. */
export function missFirst(worker: usize, packet: usize, found: usize, now: u32): void {
  addFragment(worker, packet, found, FRAGMENT_MISSED, now);
  store<u32>(worker, now, Worker.MISSED_AT);
}

/** Whether a later fragment of the datagram that begins at `packet` has come already. */
export function isMissed(worker: usize, packet: usize, found: usize, now: u32): bool {
  const missedAt = load<u32>(worker, Worker.MISSED_AT);
  // As good as always: nothing is searched.
  if (missedAt == 0 || now - missedAt > FRAGMENT_MISSED_TTL) return false;
  const fragment = findFragment(worker, packet, found, now);
  return fragment != 0 && fateOf(fragment) == FRAGMENT_MISSED;
}

/** What is known of the datagram of which `packet` is a fragment; 0: nothing, or too long ago. */
export function findFragment(worker: usize, packet: usize, found: usize, now: u32): usize {
  const first = load<usize>(worker, Worker.FRAGMENTS);
  const count = load<u32>(worker, Worker.FRAGMENT_COUNT);
  const isV6 = load<u32>(found, Packet.FAMILY) == 6;
  const source = sourceOf(packet, isV6);
  const destination = destinationOf(packet, isV6);
  const identification = identificationOf(packet, found, isV6);
  const protocol = load<u32>(found, Packet.PROTOCOL);
  // The newest first: fragments come together.
  for (let i: u32 = 1; i <= FRAGMENTS; i++) {
    const at = first + <usize>((count - i) & (FRAGMENTS - 1)) * Fragment.BYTES;
    if (load<u32>(at, Fragment.IDENTIFICATION) != identification) continue;
    if (<u32>load<u8>(at, Fragment.PROTOCOL) != protocol || isV6 != isV6Entry(at)) continue;
    if (v128.any_true(v128.xor(v128.load(at, Fragment.SOURCE), source))) continue;
    if (v128.any_true(v128.xor(v128.load(at, Fragment.DESTINATION), destination))) continue;
    return isOfUse(at, now) ? at : 0;
  }
  return 0;
}

/** VERDICT_PASS, VERDICT_NAT, VERDICT_DROP or FRAGMENT_MISSED. */
export function fateOf(fragment: usize): u32 {
  return <u32>load<u8>(fragment, Fragment.VERDICT) & ~(<u32>FRAGMENT_V6);
}

export function isTranslated(fragment: usize): bool {
  return fateOf(fragment) == VERDICT_NAT;
}

/**
 * The flow's newest record, found by the ports of the first fragment; 0: it has gone. Its row may be another flow's by
 * now, so it is looked for each time.
 */
export function flowOfFragment(fragment: usize, packet: usize, found: usize, isIn: bool): usize {
  const ports = load<u32>(fragment, Fragment.PORTS);
  store<u32>(found, ports & 0xffff, Packet.SOURCE_PORT);
  store<u32>(found, ports >>> 16, Packet.DESTINATION_PORT);
  const row = findFlow(packet, found, isIn, 0);
  store<u32>(found, 0, Packet.SOURCE_PORT);
  store<u32>(found, 0, Packet.DESTINATION_PORT);
  return row;
}

/** The record of the last FRAGMENTS that is taken next; all but what its verdict needs. */
function addFragment(worker: usize, packet: usize, found: usize, verdict: u32, now: u32): usize {
  const count = load<u32>(worker, Worker.FRAGMENT_COUNT);
  store<u32>(worker, count + 1, Worker.FRAGMENT_COUNT);
  const at = load<usize>(worker, Worker.FRAGMENTS) + <usize>(count & (FRAGMENTS - 1)) * Fragment.BYTES;
  const isV6 = load<u32>(found, Packet.FAMILY) == 6;
  v128.store(at, sourceOf(packet, isV6), Fragment.SOURCE);
  v128.store(at, destinationOf(packet, isV6), Fragment.DESTINATION);
  store<u32>(at, identificationOf(packet, found, isV6), Fragment.IDENTIFICATION);
  store<u32>(at, now, Fragment.AT);
  store<u8>(at, <u8>load<u32>(found, Packet.PROTOCOL), Fragment.PROTOCOL);
  store<u8>(at, <u8>(verdict | (isV6 ? FRAGMENT_V6 : 0)), Fragment.VERDICT);
  return at;
}

/** In time, and no revocation has come since the first fragment passed (TN-82). */
function isOfUse(fragment: usize, now: u32): bool {
  const age = now - load<u32>(fragment, Fragment.AT);
  const fate = fateOf(fragment);
  if (fate == FRAGMENT_MISSED) return age <= FRAGMENT_MISSED_TTL;
  if (age > FRAGMENT_TTL) return false;
  if (fate == VERDICT_DROP) return true;
  return (
    load<u32>(fragment, Fragment.GENERATION) == generationOfSlot(<u32>load<u16>(fragment, Fragment.SLOT))
  );
}

function isV6Entry(fragment: usize): bool {
  return (<u32>load<u8>(fragment, Fragment.VERDICT) & FRAGMENT_V6) != 0;
}

function sourceOf(packet: usize, isV6: bool): v128 {
  return isV6 ? v128.load(packet, Ip6.SOURCE) : v128.load32_zero(packet, Ip4.SOURCE);
}

function destinationOf(packet: usize, isV6: bool): v128 {
  return isV6 ? v128.load(packet, Ip6.DESTINATION) : v128.load32_zero(packet, Ip4.DESTINATION);
}

/** In IPv6 it ends the fragment header, behind which the transport begins. */
function identificationOf(packet: usize, found: usize, isV6: bool): u32 {
  if (!isV6) return <u32>load<u16>(packet, Ip4.IDENTIFICATION);
  return load<u32>(packet + <usize>load<u32>(found, Packet.TRANSPORT_OFFSET) - 4);
}
