/**
 * What fits a peer's path: frames of the TUN device (TN-108), and the segments that TCP is told to send
 * (TN-109). A path without a limit, or none at all, changes nothing. The twin: `test/twin/plane/fit.ts`.
 */
import { Ip4 } from "../header";
import { IP6_MTU_MIN, Packet, Path, Peer, Split } from "../layout";
import { validate } from "../packet/ip";
import { clampMss, isSyn } from "../packet/mss";
import { peerRow } from "../table/session";

/** Don't fragment: in the first byte of the field of flags and offset. */
const DF: u32 = 0x40;
const IP_BYTES_MAX: u32 = 65_535;

/**
 * Whether the frame that was begun in `split`, and is described at `found`, goes to the peer at `peer`. A
 * SYN is lowered on the way. False: its sender must be told what fits. What nobody would cut up outside is held:
 * control cuts it up inside (TN-121).
 */
export function doesFit(peer: usize, found: usize, split: usize): bool {
  const path = atomic.load<usize>(peer, Peer.PATH);
  const mtu: u32 = path == 0 ? 0 : load<u32>(path, Path.MTU);
  if (mtu == 0) return true;
  const packet = load<usize>(split, Split.PACKET);
  const largest = largestPacket(split);
  if (largest > mtu) {
    if (mustTell(packet, found, largest)) return false;
    if (load<u32>(path, Path.IS_CUT_INSIDE) != 0) atomic.store<u32>(peer, 1, Peer.HOLD);
  }
  const isSingle = load<u32>(split, Split.HEADER_BYTES) == 0;
  if (isSingle && isSyn(packet, found)) clampMss(packet, found, mtu);
  return true;
}

/** Lowers a SYN of `bytes` bytes that control has injected. `found` is used for it. */
export function clampPacket(slot: u32, packet: usize, bytes: u32, found: usize): void {
  const mtu = mtuOf(peerRow(slot));
  if (mtu == 0 || validate(packet, bytes, IP_BYTES_MAX, false, found) < 0) return;
  if (isSyn(packet, found)) clampMss(packet, found, mtu);
}

/** Lowers a SYN that the peer of `slot` sent. */
export function clampArriving(slot: u32, packet: usize, found: usize): void {
  if (!isSyn(packet, found)) return;
  const mtu = mtuOf(peerRow(slot));
  if (mtu != 0) clampMss(packet, found, mtu);
}

/** Of the peer's path; 0: no limit. */
function mtuOf(peer: usize): u32 {
  const path = atomic.load<usize>(peer, Peer.PATH);
  return path == 0 ? 0 : load<u32>(path, Path.MTU);
}

function largestPacket(split: usize): u32 {
  const total = load<u32>(split, Split.TOTAL_BYTES);
  const header = load<u32>(split, Split.HEADER_BYTES);
  return header == 0 ? total : min<u32>(total, header + load<u32>(split, Split.GSO_BYTES));
}

/** A packet too long for the path of which only its sender may make a shorter one. */
function mustTell(packet: usize, found: usize, largest: u32): bool {
  if (load<u32>(found, Packet.FAMILY) == 6) return largest > IP6_MTU_MIN;
  return (<u32>load<u8>(packet, Ip4.FRAGMENT) & DF) != 0;
}
