/** Where a peer is to be found: an address, or a name that is resolved at start (WG-63). */
import { parseIp, parseSocketAddress, type SocketAddress } from "../base/index.ts";

export type Endpoint =
  | { readonly kind: "address"; readonly address: SocketAddress }
  | { readonly kind: "name"; readonly host: string; readonly port: number };

/** Reads `192.0.2.1:51820`, `[2001:db8::1]:51820` or `host.example:51820`. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const address = parseSocketAddress(text);
  if (address.ok) return address.value.port === 0 ? undefined : { kind: "address", address: address.value };
  const match = /^([A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?):(\d{1,5})$/.exec(text);
  const [, host = "", digits = ""] = match ?? [];
  const port = Number(digits);
  // What looks like a number is a mistyped address, not a name.
  if (match === null || port < 1 || port > 0xffff || /^[\d.]+$/.test(host)) return undefined;
  return parseIp(host).ok ? undefined : { kind: "name", host, port };
}
