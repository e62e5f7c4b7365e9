/** ICMP errors about segments of ours (PG-124, RFC 5461, RFC 5927, RFC 1191, RFC 8201). */
import type { SocketAddress } from "../base/index.ts";
import { ICMP_HEADER_BYTES, PROTOCOL, viewPacket } from "../packet/index.ts";
import { setSegmentSize } from "./congestion.ts";
import { type Connection, firstSent } from "./connection.ts";
import { HEADERS_BYTES } from "./constants.ts";
import { optionBytesOf } from "./encode.ts";
import { loseAll } from "./sent-ranges.ts";
import { toOffset } from "./sequence.ts";

export type IcmpTrouble = "prohibited" | "refused" | "unreachable" | "too-big";

export interface IcmpError {
  readonly trouble: IcmpTrouble;
  /** The quoted segment was sent from here. */
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
  readonly seq: number;
  /** What the next hop takes, if the error says so. */
  readonly mtu: number;
}

/** Ports and sequence number, which every error quotes (RFC 792). */
const QUOTED_TCP_BYTES = 8;
const V4 = { unreachable: 3, timeExceeded: 11 } as const;
const V6 = { unreachable: 1, tooBig: 2, timeExceeded: 3 } as const;

/** What an ICMP error says of a segment; `undefined` for everything else. Never throws. */
export function readIcmpError(packet: Uint8Array): IcmpError | undefined {
  const outer = viewPacket(packet);
  const { family, protocol, transport } = outer;
  if (protocol !== (family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6)) return undefined;
  if (transport.length < ICMP_HEADER_BYTES) return undefined;
  const [type, code] = [transport[0] ?? 0, transport[1] ?? 0];
  const trouble = family === 4 ? troubleV4(type, code) : troubleV6(type, code);
  if (trouble === undefined) return undefined;
  const inner = viewPacket(transport.subarray(ICMP_HEADER_BYTES));
  const { ports } = inner;
  if (inner.family !== family || inner.protocol !== PROTOCOL.tcp || ports === undefined) return undefined;
  if (inner.transport.length < QUOTED_TCP_BYTES || inner.source.length !== outer.source.length)
    return undefined;
  const quoted = new DataView(inner.transport.buffer, inner.transport.byteOffset);
  const head = new DataView(transport.buffer, transport.byteOffset);
  return {
    trouble,
    local: { address: inner.source.slice(), port: ports.source },
    remote: { address: inner.destination.slice(), port: ports.destination },
    seq: quoted.getUint32(4),
    mtu: family === 4 ? head.getUint16(6) : head.getUint32(4),
  };
}

function troubleV4(type: number, code: number): IcmpTrouble | undefined {
  if (type === V4.timeExceeded) return "unreachable";
  if (type !== V4.unreachable) return undefined;
  switch (code) {
    case 3:
      return "refused";
    case 4:
      return "too-big";
    case 9:
    case 10:
    case 13:
      return "prohibited";
    default:
      return "unreachable";
  }
}

function troubleV6(type: number, code: number): IcmpTrouble | undefined {
  if (type === V6.tooBig) return "too-big";
  if (type === V6.timeExceeded) return "unreachable";
  if (type !== V6.unreachable) return undefined;
  if (code === 1) return "prohibited";
  return code === 4 ? "refused" : "unreachable";
}

/** Whether the quoted segment is under way: whoever cannot see it can only guess (RFC 5927 §4.1). */
export function isUnderWay(connection: Connection, { seq }: IcmpError): boolean {
  const { sender, state, iss } = connection;
  if (state === "syn-sent" || state === "syn-received") return seq === iss;
  const offset = toOffset(firstSent(connection), sender.una, seq);
  return offset >= sender.una && offset < sender.nxt;
}

/** Packets below this are no path's limit, but somebody's wish to make us send many (as Linux' `min_pmtu`). */
const MTU_MIN = { 4: 552, 6: 1_280 } as const;

/** The path takes less than we send: what is under way goes again, in smaller packets (RFC 1191 §6.5). */
export function lowerMtu(connection: Connection, { mtu }: IcmpError): void {
  const { sender, local, hasTimestamps } = connection;
  const family = local.address.length === 4 ? 4 : 6;
  const path = Math.max(mtu, MTU_MIN[family]) - HEADERS_BYTES[family];
  const mss = path - optionBytesOf(hasTimestamps, 0);
  if (mss >= sender.mss) return;
  sender.mss = mss;
  setSegmentSize(sender.congestion, mss, false);
  loseAll(sender.sent);
}
