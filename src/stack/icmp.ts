/** What ICMP says to sockets (PG-124), and echoes. */
import { concatBytes, copyOf } from "../base/index.ts";
import {
  ECHO_REQUEST,
  encodeIcmp,
  type IcmpQuote,
  type PacketDescriptor,
  parseIcmpQuote,
  viewPacket,
} from "../packet/index.ts";
import type { Unreached } from "./face.ts";

const ECHO_REPLY = { 4: 0, 6: 129 } as const;

/** Destination unreachable: codes that a firewall gives (RFC 792, RFC 1812 §5.2.7.1, RFC 4443 §3.1). */
const PROHIBITED = { 4: [9, 10, 13], 6: [1, 5, 6] } as const satisfies Record<4 | 6, readonly number[]>;
const PORT_UNREACHABLE = { 4: 3, 6: 4 } as const;
const FRAGMENTATION_NEEDED = 4;
/** Time exceeded. */
const EXCEEDED = { 4: 11, 6: 3 } as const;
const UNREACHABLE = { 4: 3, 6: 1 } as const;

export interface IcmpError {
  readonly quote: IcmpQuote;
  readonly reason: Unreached;
}

/** `undefined`: no error, or one that sockets do not hear of, such as a narrower path (PG-128). */
export function readIcmpError(packet: Uint8Array, found: PacketDescriptor): IcmpError | undefined {
  const quote = parseIcmpQuote(packet, found);
  if (!quote.ok || quote.value === undefined) return undefined;
  const reason = reasonOf(found.family, packet[found.transportOffset], packet[found.transportOffset + 1]);
  return reason && { quote: quote.value, reason };
}

function reasonOf(family: 4 | 6, type = 0, code = 0): Unreached | undefined {
  if (type === EXCEEDED[family]) return "unreachable";
  if (type !== UNREACHABLE[family]) return undefined;
  if ((PROHIBITED[family] as readonly number[]).includes(code)) return "prohibited";
  if (code === PORT_UNREACHABLE[family]) return "refused";
  return family === 4 && code === FRAGMENTATION_NEEDED ? undefined : "unreachable";
}

export interface Echo {
  readonly kind: "request" | "reply";
  readonly identifier: number;
  readonly sequence: number;
}

export function readEcho(packet: Uint8Array): Echo | undefined {
  const { family, transport } = viewPacket(packet);
  const [type, , , , high = 0, low = 0, seqHigh = 0, seqLow = 0] = transport;
  const isReply = type === ECHO_REPLY[family];
  if (!isReply && type !== ECHO_REQUEST[family]) return undefined;
  return {
    kind: isReply ? "reply" : "request",
    identifier: (high << 8) | low,
    sequence: (seqHigh << 8) | seqLow,
  };
}

/** The answer to an echo request, from whom it was sent to. */
export function encodeEchoReply(request: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
  const { family, source, destination, transport } = viewPacket(request);
  const reply = encodeIcmp({
    source: copyOf(destination),
    destination: copyOf(source),
    type: ECHO_REPLY[family],
    code: 0,
    rest: transport.subarray(4, 8),
    body: concatBytes(transport.subarray(8)),
  });
  return reply.ok ? reply.value : undefined;
}
