/** ICMP errors that we make: "prohibited", "unreachable" and "too big" instead of silence (TN-12 to TN-14, TN-108). */

import { assert, IPV6_MTU_MIN, type IpAddress } from "../base/index.ts";
import { encodeIcmp } from "./build.ts";
import { ECHO_REQUEST } from "./icmp.ts";
import { PROTOCOL, V6_HEADER_BYTES, walkExtensions } from "./ip.ts";
import { type PacketView, viewPacket } from "./view.ts";

/**
 * `host-unreachable` is what plain WireGuard answers where no peer is (WG-58), `port-unreachable` what a host does
 * where nobody listens (DN-58).
 */
export type Refusal = "prohibited" | "unreachable" | "host-unreachable" | "port-unreachable";

/** Hop limit of ICMP errors that we make (tunnel.md §1). */
export const ICMP_HOP_LIMIT = 20;
/** An ICMPv4 error quotes the IP header and this much behind it (RFC 792). */
const ICMPV4_QUOTE_BYTES = 8;
/** An ICMPv6 error fits into the least MTU of IPv6 (RFC 4443 §2.4(c)). */
const ICMPV6_QUOTE_BYTES = 1232;

/** Type and code (TN-12). */
const TYPE_AND_CODE = {
  prohibited: { v4: [3, 13], v6: [1, 1] },
  unreachable: { v4: [3, 0], v6: [1, 3] },
  "host-unreachable": { v4: [3, 1], v6: [1, 3] },
  "port-unreachable": { v4: [3, 3], v6: [1, 4] },
} as const satisfies Record<Refusal, { v4: readonly [number, number]; v6: readonly [number, number] }>;

/** Fragmentation needed, and packet too big (RFC 1191 §4, RFC 4443 §3.2). */
const TOO_BIG = { v4: [3, 4], v6: [2, 0] } as const;

/**
 * The ICMP error that refuses `packet`, from its destination to its source (TN-13).
 *
 * @param packet a validated IP packet (TN-3)
 * @returns a new packet, or `undefined` where no refusal may be made (TN-14)
 */
export function encodeRefusal(packet: Uint8Array, refusal: Refusal): Uint8Array<ArrayBuffer> | undefined {
  const view = viewPacket(packet);
  return isRefusable(packet, view) ? encodeError(packet, view, { of: TYPE_AND_CODE[refusal] }) : undefined;
}

/**
 * The ICMP error that tells the sender of `packet` which length passes (TN-108); an IPv6 sender hears of no
 * less than 1280 bytes.
 *
 * @param packet a validated IP packet (TN-3)
 * @returns a new packet, or `undefined` where no refusal may be made (TN-14)
 */
export function encodeTooBig(packet: Uint8Array, mtu: number): Uint8Array<ArrayBuffer> | undefined {
  const view = viewPacket(packet);
  if (!isRefusable(packet, view)) return undefined;
  // A smaller number would be ignored (RFC 8201 §4).
  const named = view.family === 6 ? Math.max(mtu, IPV6_MTU_MIN) : mtu;
  // ICMP has 16 bits for it behind two unused bytes, ICMPv6 all 32.
  const rest = Uint8Array.of(0, 0, named >> 8, named);
  return encodeError(packet, view, { of: TOO_BIG, rest });
}

interface IcmpError {
  readonly of: { readonly v4: readonly [number, number]; readonly v6: readonly [number, number] };
  readonly rest?: Uint8Array;
}

/** From the packet's destination to its source, about as much of it as may be quoted. */
function encodeError(packet: Uint8Array, view: PacketView, { of, rest }: IcmpError): Uint8Array<ArrayBuffer> {
  const isV6 = view.family === 6;
  const headerBytes = packet.length - view.transport.length;
  const quoteBytes = isV6 ? ICMPV6_QUOTE_BYTES : headerBytes + ICMPV4_QUOTE_BYTES;
  const [type, code] = of[isV6 ? "v6" : "v4"];
  const body = packet.subarray(0, quoteBytes);
  const way = { source: view.destination, destination: view.source };
  const error = encodeIcmp({ ...way, type, code, ...(rest && { rest }), body, hopLimit: ICMP_HOP_LIMIT });
  assert(error.ok, "a quote of bounded length makes an error of bounded length");
  return error.value;
}

function isRefusable(packet: Uint8Array, view: PacketView): boolean {
  const { source, destination } = view;
  if (isUnspecified(source) || isLoopback(source) || isMulticast(source)) return false;
  if (isMulticast(destination) || isBroadcast(destination)) return false;
  return isEchoRequestOrNotIcmp(packet, view);
}

/** An error about an error, or about an answer, could go round in circles (RFC 1122 §3.2.2). */
function isEchoRequestOrNotIcmp(packet: Uint8Array, { family, protocol, transport }: PacketView): boolean {
  if (family === 4) {
    // A later fragment does not show what it belongs to, and is never answered (RFC 1122 §3.2.2).
    if (((packet[6] ?? 0) & 0x1f) !== 0 || packet[7] !== 0) return false;
    return protocol !== PROTOCOL.icmp || transport[0] === ECHO_REQUEST[4];
  }
  // The message may stand behind extension headers.
  const walk = walkExtensions(packet, packet[6] ?? 0, V6_HEADER_BYTES);
  if (walk === undefined || walk.isFragment) return false;
  return protocol !== PROTOCOL.icmpv6 || transport[0] === ECHO_REQUEST[6];
}

function isUnspecified(address: IpAddress): boolean {
  return address.every((byte) => byte === 0);
}

function isLoopback(address: IpAddress): boolean {
  if (address.length === 4) return address[0] === 127;
  return address.every((byte, i) => byte === (i === 15 ? 1 : 0));
}

function isMulticast(address: IpAddress): boolean {
  const first = address[0] ?? 0;
  return address.length === 4 ? first >> 4 === 14 : first === 0xff;
}

function isBroadcast(address: IpAddress): boolean {
  return address.length === 4 && address.every((byte) => byte === 255);
}
