/** The readable twin of `assembly/packet/mss.ts` (TN-109, TN-9). */
import { checksumAdd } from "../../../src/packet/checksum.ts";
import { type PacketDescriptor, PROTOCOL } from "../../../src/packet/index.ts";
import { setU16 } from "./split.ts";

const TCP_BYTES = 20;
const SYN = 0x02;
const MSS = { kind: 2, bytes: 4 } as const;

/** The packet with every MSS option lowered to what `mtu` leaves, if it is a SYN; else the packet itself. */
export function withLowerMss(packet: Uint8Array, found: PacketDescriptor, mtu: number): Uint8Array {
  const { family, protocol, transportOffset, isFragment } = found;
  if (protocol !== PROTOCOL.tcp || isFragment) return packet;
  const copy = Uint8Array.from(packet);
  const tcp = copy.subarray(transportOffset);
  if (((tcp[13] ?? 0) & SYN) === 0) return packet;
  const most = Math.max(0, mtu - (family === 6 ? 40 : 20) - TCP_BYTES);
  const header = tcp.subarray(0, ((tcp[12] ?? 0) >> 4) * 4);
  for (const at of mssOptions(header)) {
    if (u16(header, at) <= most) continue;
    const before = checksumAdd(header);
    setU16(header, at, most);
    setU16(header, 16, updated(u16(header, 16), before, checksumAdd(header)));
  }
  return copy;
}

/** Where the values of the MSS options of a TCP header lie; the walk ends at the first malformed option. */
function mssOptions(header: Uint8Array): readonly number[] {
  const found: number[] = [];
  for (let at = TCP_BYTES; at < header.length; ) {
    const kind = header[at];
    const bytes = kind === 1 ? 1 : (header[at + 1] ?? 0);
    if (kind === 0 || (kind !== 1 && bytes < 2) || at + bytes > header.length) break;
    if (kind === MSS.kind && bytes === MSS.bytes) found.push(at + 2);
    at += bytes;
  }
  return found;
}

/** RFC 1624 eqn. 3: `before` and `after` are sums over all that the checksum covers and that changed. */
function updated(checksum: number, before: number, after: number): number {
  const negated = (value: number): number => ~value & 0xffff;
  let sum = negated(checksum) + negated(before) + after;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return negated(sum);
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}
