/**
 * Explicit congestion notification between the inner and the outer IP header (RFC 6040 §4,
 * TN-10, TN-11, WG-56). The packets here have passed validation. The twin:
 * `test/twin/plane/congestion.ts`.
 */

import { Ip4 } from "../header";
import { sum, updated } from "./checksum";

/** RFC 3168 §5: Not-ECT 0, ECT(1) 1, ECT(0) 2, CE 3. */
export const ECN_CE: u32 = 3;

/** The ECN field of the IP packet at `packet`: what the outer header carries (TN-10). */
export function innerEcn(packet: usize): u32 {
  const first = <u32>load<u8>(packet);
  const second = <u32>load<u8>(packet, Ip4.TOS);
  return first >> 4 == 6 ? (second >> 4) & 3 : second & 3;
}

/**
 * Merges the ECN field of the outer header into the decrypted packet at `packet` (TN-11).
 *
 * Only outer CE on inner ECT(0) or ECT(1) changes anything: a Not-ECT packet is never marked,
 * because its receiver would not understand, and no mark is ever taken away.
 */
export function mergeEcn(packet: usize, outerEcn: u32): void {
  if (outerEcn != ECN_CE) return;
  const inner = innerEcn(packet);
  if (inner == 0 || inner == ECN_CE) return;
  if (load<u8>(packet) >> 4 == 6) {
    store<u8>(packet, load<u8>(packet, 1) | ((<u8>ECN_CE) << 4), 1);
    return;
  }
  const before = sum(packet, 2);
  store<u8>(packet, load<u8>(packet, Ip4.TOS) | <u8>ECN_CE, Ip4.TOS);
  store<u16>(
    packet,
    <u16>updated(<u32>load<u16>(packet, Ip4.CHECKSUM), before, sum(packet, 2)),
    Ip4.CHECKSUM,
  );
}
