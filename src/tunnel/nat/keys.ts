/** Text keys of tuples and addresses: latin1, short, and equal exactly for what is equal. */
import type { IpAddress } from "../../base/index.ts";

export function addressKey(address: IpAddress): string {
  return String.fromCharCode(...address);
}

/** A protocol, a port or echo identifier, and an address. */
export function tupleKey(protocol: number, port: number, address: IpAddress): string {
  return String.fromCharCode(protocol, port) + addressKey(address);
}
