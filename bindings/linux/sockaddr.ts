/**
 * `struct sockaddr_in` and `sockaddr_in6`.
 *
 *     v4: [family u16 le][port u16 be][address 4][zero 8]                       16 bytes
 *     v6: [family u16 le][port u16 be][flow u32][address 16][scope u32 le]      28 bytes
 */
import {
  copyOf,
  type IpAddress,
  malformed,
  type Parsed,
  parsed,
  type SocketAddress,
} from "../../src/base/index.ts";
import { AF_INET, AF_INET6, SOCKADDR_IN_BYTES, SOCKADDR_IN6_BYTES } from "./socket-constants.ts";

/** Writes the structure at the start of `into`; returns its length in bytes. */
export function encodeSockaddr(to: SocketAddress, into: Uint8Array): number {
  const isV4 = to.address.length === 4;
  const length = isV4 ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES;
  const view = new DataView(into.buffer, into.byteOffset, length);
  into.fill(0, 0, length);
  view.setUint16(0, isV4 ? AF_INET : AF_INET6, true);
  view.setUint16(2, to.port, false);
  into.set(to.address, isV4 ? 4 : 8);
  if (!isV4) view.setUint32(24, to.scope ?? 0, true);
  return length;
}

export type MalformedSockaddr = "short" | "unknown-family";

/** Reads what the kernel filled in. The address is a copy. */
export function parseSockaddr(bytes: Uint8Array): Parsed<SocketAddress, MalformedSockaddr> {
  if (bytes.length < 4) return malformed("short");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const port = view.getUint16(2, false);
  switch (view.getUint16(0, true)) {
    case AF_INET:
      if (bytes.length < SOCKADDR_IN_BYTES) return malformed("short");
      return parsed({ address: copyOf(bytes.subarray(4, 8)), port });
    case AF_INET6:
      if (bytes.length < SOCKADDR_IN6_BYTES) return malformed("short");
      return parsed(scoped(copyOf(bytes.subarray(8, 24)), port, view.getUint32(24, true)));
    default:
      return malformed("unknown-family");
  }
}

/** The kernel gives a scope to link-local addresses only; 0 is none. */
function scoped(address: IpAddress, port: number, scope: number): SocketAddress {
  return scope === 0 ? { address, port } : { address, port, scope };
}
