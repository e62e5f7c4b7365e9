/** What fits a peer's path: the twin of `assembly/batch/fit.ts` (TN-108, TN-109, TN-121). */
import { type PacketDescriptor, parsePacket } from "../../../src/packet/index.ts";
import { withLowerMss } from "./mss.ts";
import type { TwinPeer } from "./peer.ts";

const IP6_MTU_MIN = 1280;

/** Whether somebody who sends such packets to the peer must be told to make them shorter. */
export function isTooBig({ path }: TwinPeer, packets: readonly Uint8Array[]): boolean {
  const mtu = path?.mtu ?? 0;
  const [first] = packets;
  if (mtu === 0 || first === undefined) return false;
  const largest = Math.max(...packets.map(({ length }) => length));
  const isV6 = (first[0] ?? 0) >> 4 === 6;
  if (isV6) return largest > Math.max(mtu, IP6_MTU_MIN);
  const isWhole = ((first[6] ?? 0) & 0x40) !== 0;
  return largest > mtu && isWhole;
}

/** Whether control must cut such packets up, of which no sender need be told (TN-121). */
export function isCutInside({ path }: TwinPeer, packets: readonly Uint8Array[]): boolean {
  const mtu = path?.mtu ?? 0;
  return mtu !== 0 && path?.isCutInside === true && packets.some(({ length }) => length > mtu);
}

/** A packet to or from the peer, as it goes on. */
export function lowered({ path }: TwinPeer, packet: Uint8Array): Uint8Array {
  const found = parsePacket(packet, { limitBytes: 65_535, mode: "plain" });
  return found.ok ? loweredAs({ path }, packet, found.value) : packet;
}

/** The same for a packet that has been described already. */
export function loweredAs(
  { path }: Pick<TwinPeer, "path">,
  packet: Uint8Array,
  found: PacketDescriptor,
): Uint8Array {
  const mtu = path?.mtu ?? 0;
  return mtu === 0 ? packet : withLowerMss(packet, found, mtu);
}
