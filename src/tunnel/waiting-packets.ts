/** Packets that wait for a gateway's access or answer, at most so many of them (TN-30, TN-46). */
import { copyOf, equalBytes } from "../base/index.ts";
import { isSyn, viewPacket } from "../packet/index.ts";

/** Ports and sequence number, at the beginning of a TCP header. */
const IDENTITY_BYTES = 8;

/**
 * Keeps a copy unless it is there already; a repeated SYN replaces the stored one in place.
 * @returns how many packets were pushed out
 */
export function keepPacket(packets: Uint8Array[], packet: Uint8Array, limit: number): number {
  if (packets.some((stored) => equalBytes(stored, packet))) return 0;
  const again = packets.findIndex((stored) => isRepeatedSyn(stored, packet));
  if (again >= 0) {
    packets[again] = copyOf(packet);
    return 0;
  }
  packets.push(copyOf(packet));
  if (packets.length <= limit) return 0;
  packets.shift();
  return 1;
}

/** The same addresses, ports and sequence number; options and checksums may differ. */
function isRepeatedSyn(a: Uint8Array, b: Uint8Array): boolean {
  const [x, y] = [viewPacket(a), viewPacket(b)];
  return (
    isSyn(x) &&
    isSyn(y) &&
    equalBytes(x.source, y.source) &&
    equalBytes(x.destination, y.destination) &&
    equalBytes(x.transport.subarray(0, IDENTITY_BYTES), y.transport.subarray(0, IDENTITY_BYTES))
  );
}
