import { malformed, type Parsed, parsed } from "./result.ts";

/** An address is its bytes: 4 for IPv4, 16 for IPv6. The length is the family. */
export type IpAddress = Uint8Array;

/** No link that carries IPv6 takes less, in bytes (RFC 8200 §5). */
export const IPV6_MTU_MIN = 1280;

/** One end of a UDP or TCP flow. */
export interface SocketAddress {
  readonly address: IpAddress;
  readonly port: number;
  /**
   * Index of the interface by which a link-local IPv6 address is meant: each link has its own fe80::1
   * (RFC 4007 §6). Absent: none, as for every other address.
   */
  readonly scope?: number;
}

/** Reads dotted IPv4 or RFC 4291 IPv6 text (with an embedded IPv4 tail); no zone, no brackets. */
export function parseIp(text: string): Parsed<IpAddress, "not-an-address"> {
  const address = text.includes(":") ? parseV6(text) : parseV4(text);
  return address === undefined ? malformed("not-an-address") : parsed(address);
}

/** Like `parseIp` for addresses that the source code itself writes; throws on a typing error. */
export function ip(text: string): IpAddress {
  const result = parseIp(text);
  if (!result.ok) throw new Error(`not an address: ${text}`);
  return result.value;
}

function parseV4(text: string): Uint8Array | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  const bytes = new Uint8Array(4);
  for (const [i, part] of parts.entries()) {
    // A leading zero is octal to some readers and decimal to others: refused.
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined;
    bytes[i] = Number(part);
  }
  return bytes;
}

function parseV6(text: string): Uint8Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? "", halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? "", true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const bytes = new Uint8Array(16);
  const total = head.length + tail.length;
  if (halves.length === 1 ? total !== 16 : total > 14) return undefined;
  bytes.set(head, 0);
  bytes.set(tail, 16 - tail.length);
  return bytes;
}

function parseGroups(text: string, mayEndInV4: boolean): number[] | undefined {
  if (text === "") return [];
  const bytes: number[] = [];
  const groups = text.split(":");
  for (const [i, group] of groups.entries()) {
    if (group.includes(".")) {
      const v4 = mayEndInV4 && i === groups.length - 1 ? parseV4(group) : undefined;
      if (v4 === undefined) return undefined;
      bytes.push(...v4);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined;
      const value = Number.parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
    }
  }
  return bytes;
}

/** Canonical text: dotted IPv4, RFC 5952 IPv6. */
export function formatIp(address: IpAddress): string {
  // Many maps have these texts for keys; joining a typed array takes several times as long.
  if (address.length === 4) return `${address[0]}.${address[1]}.${address[2]}.${address[3]}`;
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(((address[i] ?? 0) << 8) | (address[i + 1] ?? 0));
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return `::ffff:${address.slice(12).join(".")}`;
  }
  const { start, length } = longestZeroRun(groups);
  const text = groups.map((group) => group.toString(16));
  if (length < 2) return text.join(":");
  return `${text.slice(0, start).join(":")}::${text.slice(start + length).join(":")}`;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  for (let i = 0; i <= groups.length; i++) {
    if (groups[i] === 0) continue;
    if (i - start > best.length) best = { start, length: i - start };
    start = i + 1;
  }
  return best;
}

export function equalIp(a: IpAddress, b: IpAddress): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function equalSocketAddress(a: SocketAddress, b: SocketAddress): boolean {
  return a.port === b.port && (a.scope ?? 0) === (b.scope ?? 0) && equalIp(a.address, b.address);
}

/** Whether an address means one link only: fe80::/10 (RFC 4291 §2.5.6). */
export function isLinkLocalV6(address: IpAddress): boolean {
  return address.length === 16 && address[0] === 0xfe && ((address[1] ?? 0) & 0xc0) === 0x80;
}

/**
 * Whether an address can be a candidate at all: a unicast address that means the same to the peer as
 * to us. Link-local addresses need a zone, which cannot be signalled (SN-15, SN-29).
 */
export function isUsableAddress(address: IpAddress): boolean {
  const [a = 0, b = 0] = address;
  if (address.every((byte) => byte === 0)) return false;
  if (address.length === 4) {
    const isMulticast = a >= 224 && a <= 239;
    const isBroadcast = address.every((byte) => byte === 255);
    return !isMulticast && !isBroadcast && !(a === 169 && b === 254);
  }
  const isMapped =
    address.slice(0, 10).every((byte) => byte === 0) && address[10] === 255 && address[11] === 255;
  return a !== 0xff && !(a === 0xfe && (b & 0xc0) === 0x80) && !isMapped;
}

/**
 * `192.0.2.1:51820`, `[2001:db8::1]:51820` or `[fe80::1%2]:51820`: for people, and unique enough as a map
 * key.
 */
export function formatSocketAddress({ address, port, scope }: SocketAddress): string {
  const text = formatIp(address);
  if (address.length === 4) return `${text}:${port}`;
  return `[${text}${scope === undefined ? "" : `%${scope}`}]:${port}`;
}

/** The inverse of `formatSocketAddress`, but for scopes; host names are not addresses. */
export function parseSocketAddress(text: string): Parsed<SocketAddress, "not-an-address" | "bad-port"> {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  if (match === null || host === undefined) return malformed("not-an-address");
  const address = parseIp(host);
  if (!address.ok) return address;
  if ((match[1] !== undefined) !== (address.value.length === 16)) return malformed("not-an-address");
  const port = Number(match[3]);
  return port <= 0xffff ? parsed({ address: address.value, port }) : malformed("bad-port");
}
