/** Where a peer is to be found: an address, or a name that is resolved at start (WG-63). */
import { formatIp, parseIp, type SocketAddress } from "../base/index.ts";
import {
  type ConfigHost,
  NO_HOST,
  parseLooseV4,
  parsePort,
  parseScopedIp,
  type Reading,
} from "./config-value.ts";

export type Endpoint =
  | { readonly kind: "address"; readonly address: SocketAddress }
  | { readonly kind: "name"; readonly host: string; readonly port: number };

const HOST_NAME = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?$/;
/** What ends in a number is a mistyped address, not a name. */
const ENDS_IN_NUMBER = /(^|\.)(\d+|0x[0-9a-f]*)$/i;

/**
 * Reads `192.0.2.1:51820`, `[2001:db8::1]:51820` or `host.example:51820`, and as wg does also an IPv6
 * address without brackets: what follows the last colon is the port.
 */
export function parseEndpoint(text: string, names: ConfigHost = NO_HOST): Reading<Endpoint> | undefined {
  const [, bracketed, bare, service = ""] = /^(?:\[([^\]]*)\]|([^[].*)):([^:]+)$/.exec(text) ?? [];
  const host = bracketed ?? bare;
  const port = parsePort(service, names);
  if (host === undefined || port === undefined) return undefined;
  const endpoint = toEndpoint(host, port.value, names);
  if (endpoint === undefined) return undefined;
  const remark = port.remark ?? remarkOn(host, endpoint);
  return remark === undefined ? { value: endpoint } : { value: endpoint, remark };
}

function toEndpoint(host: string, port: number, names: ConfigHost): Endpoint | undefined {
  const scoped = parseScopedIp(host, names);
  if (scoped !== undefined) return { kind: "address", address: { ...scoped, port } };
  const loose = parseLooseV4(host);
  if (loose !== undefined) return { kind: "address", address: { address: loose, port } };
  return HOST_NAME.test(host) && !ENDS_IN_NUMBER.test(host) ? { kind: "name", host, port } : undefined;
}

function remarkOn(host: string, endpoint: Endpoint): string | undefined {
  if (endpoint.kind === "name" || parseIp(host).ok || host.includes("%")) return undefined;
  return `'${host}' means ${formatIp(endpoint.address.address)}`;
}
