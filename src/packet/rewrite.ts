/**
 * Translation of addresses, ports and echo identifiers (TN-9): what control uses for the packets it settles itself,
 * and the twin of `assembly/packet/rewrite.ts`.
 */
import type { IpAddress } from "../base/index.ts";
import { checksumAdd } from "./checksum.ts";
import { type PacketDescriptor, PROTOCOL } from "./ip.ts";

/** A new source with a new destination port, or the other way round; either changes the one identifier of an echo. */
export interface Translation {
  readonly field: "source" | "destination";
  /** Of the packet's family. */
  readonly address: IpAddress;
  /** Of the other end: inward the client's own port, outward the one it has outside (TN-76). */
  readonly port: number;
}

const ADDRESS_AT = { 4: { source: 12, destination: 16 }, 6: { source: 8, destination: 24 } } as const;
/** Offset of the other end's port in TCP and UDP. */
const OTHER_PORT_AT = { source: 2, destination: 0 } as const;
const IP4_CHECKSUM = 10;
const ICMP = { checksum: 2, identifier: 4 } as const;
const CHECKSUM_AT: Readonly<Partial<Record<number, number>>> = {
  [PROTOCOL.tcp]: 16,
  [PROTOCOL.udp]: 6,
  [PROTOCOL.icmp]: ICMP.checksum,
  [PROTOCOL.icmpv6]: ICMP.checksum,
};

/** A copy of the packet that `found` describes, translated. Portless packets and later fragments change their address only. */
export function translated(
  packet: Uint8Array,
  { family, protocol, transportOffset, totalBytes, ports, isFragment }: PacketDescriptor,
  { field, address, port }: Translation,
): Uint8Array<ArrayBuffer> {
  const copy = Uint8Array.from(packet.subarray(0, totalBytes));
  const at = ADDRESS_AT[family][field];
  const change = replaced(copy, at, address);
  if (family === 4) mend(copy, IP4_CHECKSUM, [change]);
  const checksumAt = CHECKSUM_AT[protocol];
  // A later fragment has no transport header; of a plain peer's nobody knows.
  if (checksumAt === undefined || (isFragment && ports === undefined)) return copy;
  // The checksum of ICMP in IPv4 knows no addresses.
  const changes = protocol === PROTOCOL.icmp ? [] : [change];
  if (ports !== undefined) {
    const isEcho = protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6;
    const place = transportOffset + (isEcho ? ICMP.identifier : OTHER_PORT_AT[field]);
    changes.push(replaced(copy, place, Uint8Array.of(port >> 8, port & 0xff)));
  }
  const place = transportOffset + checksumAt;
  const isUdp = protocol === PROTOCOL.udp;
  // To UDP zero means "none": that stays, and is never the result (RFC 768).
  if (isUdp && u16(copy, place) === 0) return copy;
  mend(copy, place, changes);
  if (isUdp && u16(copy, place) === 0) copy.fill(0xff, place, place + 2);
  return copy;
}

/** Sums over bytes before and after their change. */
interface Change {
  readonly before: number;
  readonly after: number;
}

function replaced(packet: Uint8Array, at: number, bytes: Uint8Array): Change {
  const before = checksumAdd(packet.subarray(at, at + bytes.length));
  packet.set(bytes, at);
  return { before, after: checksumAdd(bytes) };
}

/** RFC 1624 eqn. 3. A packet that was corrupted before stays recognisably corrupted. */
function mend(packet: Uint8Array, at: number, changes: readonly Change[]): void {
  let sum = ~u16(packet, at) & 0xffff;
  for (const { before, after } of changes) sum += (~before & 0xffff) + after;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  packet[at] = (~sum >> 8) & 0xff;
  packet[at + 1] = ~sum & 0xff;
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}
