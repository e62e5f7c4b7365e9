/** Packets of the test's applications and servers: how they are made, read and checked. */
import { type IpAddress, type Parsed, toHex } from "../../../src/base/index.ts";
import {
  checksumAdd,
  checksumFinish,
  ECHO_REQUEST,
  encodeEchoRequest,
  encodeIcmp,
  encodeUdp,
  isIcmpError,
  MAX_IP_SIZE,
  type PacketDescriptor,
  PROTOCOL,
  parseIcmpQuote,
  parsePacket,
  pseudoHeaderSum,
  viewPacket,
} from "../../../src/packet/index.ts";
import type { ErrorKind } from "./setup.ts";

/** What an application sends once; its source port or identifier is its own and names it. */
export interface Probe {
  readonly protocol: "icmp" | "udp";
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly id: number;
  readonly port: number;
  readonly number: number;
}

export type Sight =
  | {
      readonly kind: "request" | "answer";
      readonly protocol: "icmp" | "udp";
      readonly source: IpAddress;
      readonly destination: IpAddress;
      readonly sourcePort: number;
      readonly port: number;
      readonly number: number;
    }
  | {
      readonly kind: "error";
      readonly source: IpAddress;
      readonly destination: IpAddress;
      /** `type/code` */
      readonly what: string;
      readonly quotedSource: IpAddress;
      readonly quotedDestination: IpAddress;
      readonly id: number;
      readonly quotedPort: number;
    }
  | { readonly kind: "tcp" }
  | { readonly kind: "other"; readonly why: string };

export function encodeProbe({ protocol, source, destination, id, port, number }: Probe): Uint8Array {
  const body = new Uint8Array(8);
  new DataView(body.buffer).setUint32(4, number);
  if (protocol === "icmp") {
    const sequence = number & 0xffff;
    return made(encodeEchoRequest({ source, destination, identifier: id, sequence, body }));
  }
  return made(encodeUdp({ address: source, port: id }, { address: destination, port }, body));
}

/** Reads a packet that came out of a TUN device; it must be whole and its checksums right. */
export function readPacket(packet: Uint8Array): Sight {
  const found = parsePacket(packet, { limitBytes: MAX_IP_SIZE, mode: "strict" });
  if (!found.ok) return { kind: "other", why: `${found.reason} ${toHex(packet)}` };
  if (!isIntact(packet, found.value)) return { kind: "other", why: `wrong checksum ${toHex(packet)}` };
  if (isIcmpError(packet, found.value)) return readError(packet, found.value);
  const { source, destination, protocol, transport, ports } = viewPacket(packet);
  const ends = { source: source.slice(), destination: destination.slice() };
  if (protocol === PROTOCOL.tcp) return { kind: "tcp" };
  if (ports === undefined) return { kind: "other", why: `protocol ${protocol}` };
  const numberAt = new DataView(transport.buffer, transport.byteOffset + 12, 4);
  const number = transport.length === 16 ? numberAt.getUint32(0) : 0;
  const port = { sourcePort: ports.source, port: ports.destination };
  if (protocol === PROTOCOL.udp) return { kind: "request", protocol: "udp", ...ends, ...port, number };
  const isRequest = transport[0] === ECHO_REQUEST[ends.source.length === 4 ? 4 : 6];
  return { kind: isRequest ? "request" : "answer", protocol: "icmp", ...ends, ...port, number };
}

function readError(packet: Uint8Array, found: PacketDescriptor): Sight {
  const quote = parseIcmpQuote(packet, found);
  const { source, destination, transport } = viewPacket(packet);
  const ports = quote.ok ? quote.value?.ports : undefined;
  if (!quote.ok || quote.value === undefined || ports === undefined) {
    return { kind: "other", why: `unreadable quote ${toHex(packet)}` };
  }
  return {
    kind: "error",
    source: source.slice(),
    destination: destination.slice(),
    what: `${transport[0]}/${transport[1]}`,
    quotedSource: quote.value.source,
    quotedDestination: quote.value.destination,
    id: ports.source,
    quotedPort: ports.destination,
  };
}

/** Whether all checksums are right. */
function isIntact(packet: Uint8Array, { family, protocol, transportOffset }: PacketDescriptor): boolean {
  const { source, destination, transport } = viewPacket(packet);
  if (family === 4 && checksumFinish(checksumAdd(packet.subarray(0, transportOffset))) !== 0) return false;
  const lengthBytes = transport.length;
  const pseudo =
    protocol === PROTOCOL.icmp ? 0 : pseudoHeaderSum({ source, destination, protocol, lengthBytes });
  return checksumFinish(checksumAdd(transport, pseudo)) === 0;
}

/** What a server says to a request. */
export function encodeAnswer(request: Uint8Array): Uint8Array {
  const { source, destination, protocol, transport, ports } = viewPacket(request);
  const way = { source: destination, destination: source };
  if (protocol === PROTOCOL.udp && ports !== undefined) {
    const from = { address: destination, port: ports.destination };
    return made(encodeUdp(from, { address: source, port: ports.source }, transport.subarray(8)));
  }
  const type = source.length === 4 ? 0 : 129;
  return made(
    encodeIcmp({ ...way, type, code: 0, rest: transport.subarray(4, 8), body: transport.subarray(8) }),
  );
}

/** Type and code of either family; none of those that the tunnel makes itself (TN-12). */
export const ERRORS: Readonly<Record<ErrorKind, { readonly v4: string; readonly v6: string }>> = {
  "host-unreachable": { v4: "3/1", v6: "1/0" },
  "port-unreachable": { v4: "3/3", v6: "1/4" },
  "time-exceeded": { v4: "11/0", v6: "3/0" },
  "too-big": { v4: "3/4", v6: "2/0" },
};

/** What a host says that does not serve, or a router on the way to it. */
export function encodeError(request: Uint8Array, kind: ErrorKind, from?: IpAddress): Uint8Array {
  const { source, destination } = viewPacket(request);
  const [type = 0, code = 0] = ERRORS[kind][source.length === 4 ? "v4" : "v6"].split("/").map(Number);
  const rest = kind === "too-big" ? Uint8Array.of(0, 0, 5, 0) : new Uint8Array(4);
  const way = { source: from ?? destination, destination: source };
  return made(encodeIcmp({ ...way, type, code, rest, body: request.subarray(0, 1_200) }));
}

export function made(encoded: Parsed<Uint8Array<ArrayBuffer>, string>): Uint8Array<ArrayBuffer> {
  if (!encoded.ok) throw new Error(encoded.reason);
  return encoded.value;
}
