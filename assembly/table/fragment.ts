/**
 * Datagrams in fragments, of which the first has passed by its flow: what it was, and what became of it, so that
 * the later ones follow (TN-112). Each worker has the last FRAGMENTS of its own. The twin searches a list:
 * `test/twin/plane/fragments.ts`.
 */
import { Ip4, Ip6 } from "../header";
import { Flow, FRAGMENT_TTL, FRAGMENT_V6, FRAGMENTS, Fragment, Packet, VERDICT_NAT, Worker } from "../layout";
import { generationOfSlot } from "./flow";

/** Remembers the first fragment at `packet`, which passes by the record at `row`. */
export function rememberFragment(
  worker: usize,
  packet: usize,
  found: usize,
  row: usize,
  isIn: bool,
  verdict: u32,
  now: u32,
): void {
  const count = load<u32>(worker, Worker.FRAGMENT_COUNT);
  store<u32>(worker, count + 1, Worker.FRAGMENT_COUNT);
  const at = load<usize>(worker, Worker.FRAGMENTS) + <usize>(count & (FRAGMENTS - 1)) * Fragment.BYTES;
  const isV6 = load<u32>(found, Packet.FAMILY) == 6;
  v128.store(at, sourceOf(packet, isV6), Fragment.SOURCE);
  v128.store(at, destinationOf(packet, isV6), Fragment.DESTINATION);
  v128.store(at, v128.load(row + (isIn ? Flow.REMOTE : Flow.OUTSIDE)), Fragment.ADDRESS);
  store<u32>(at, identificationOf(packet, found, isV6), Fragment.IDENTIFICATION);
  store<u32>(at, now, Fragment.AT);
  store<u32>(at, load<u32>(row, Flow.GENERATION), Fragment.GENERATION);
  store<u16>(at, load<u16>(row, Flow.SLOT), Fragment.SLOT);
  store<u8>(at, <u8>load<u32>(found, Packet.PROTOCOL), Fragment.PROTOCOL);
  store<u8>(at, <u8>(verdict | (isV6 ? FRAGMENT_V6 : 0)), Fragment.VERDICT);
}

/** What became of the first fragment of the datagram of which `packet` is a later one; 0: not known, or too long ago. */
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
    return now - load<u32>(at, Fragment.AT) <= FRAGMENT_TTL && isCurrent(at) ? at : 0;
  }
  return 0;
}

export function isTranslated(fragment: usize): bool {
  return (<u32>load<u8>(fragment, Fragment.VERDICT) & ~(<u32>FRAGMENT_V6)) == VERDICT_NAT;
}

/** Whether no revocation has come since the first fragment passed (TN-82). */
function isCurrent(fragment: usize): bool {
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
