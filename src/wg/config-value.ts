/**
 * Values of a wg-quick file as wg, ip and the C library below them read them (WG-63): numbers in three
 * bases, ports by name, addresses in short forms. Where the reading may surprise, it comes with a remark.
 */
import { formatIp, type IpAddress, isLinkLocalV6, parseIp, U16_MAX, U32_MAX } from "../base/index.ts";

/** An address of ours with the length of its network; host bits are kept. */
export interface InterfaceAddress {
  readonly address: IpAddress;
  readonly bits: number;
}

/** What the codec asks of the host. */
export interface ConfigHost {
  /** The UDP port of a service, as /etc/services has it. */
  portOf(service: string): number | undefined;
  /** The index of an interface, for the scope of a link-local address. */
  indexOf(device: string): number | undefined;
}

export const NO_HOST: ConfigHost = { portOf: () => undefined, indexOf: () => undefined };

/** A value, and what is to be known about its reading. */
export interface Reading<T> {
  readonly value: T;
  readonly remark?: string;
}

/** Larger numbers are negative to the C library, and a name to it then. */
const PORT_DIGITS_MAX = 0x7fff_ffff;
const PORT_RANGE = 0x1_0000;
const V4_BITS = 32;

/** A decimal number of at most ten digits. */
export function parseNumber(text: string, min: number, max: number): number | undefined {
  if (!/^\d{1,10}$/.test(text)) return undefined;
  const value = Number(text);
  return value >= min && value <= max ? value : undefined;
}

/** A number as C reads it: `0x` begins hexadecimal, `0` octal digits. */
export function parseAnyBase(text: string, min: number, max: number): Reading<number> | undefined {
  const digits = text.replace(/^\+/, "");
  const value = /^0x[0-9a-fA-F]{1,12}$/i.test(digits)
    ? Number(digits)
    : /^0[0-7]{1,14}$/.test(digits)
      ? Number.parseInt(digits, 8)
      : /^(0|[1-9]\d{0,11})$/.test(digits)
        ? Number(digits)
        : undefined;
  if (value === undefined || value < min || value > max) return undefined;
  return /^0\d/.test(digits) ? { value, remark: `'${text}' is octal and means ${value}` } : { value };
}

/** A port's number, or the name of a service. A number beyond 65,535 counts modulo 65,536, as in C. */
export function parsePort(text: string, host: ConfigHost): Reading<number> | undefined {
  if (!/^\+?\d+$/.test(text)) {
    const value = text === "" ? undefined : host.portOf(text);
    return value === undefined ? undefined : { value };
  }
  const number = Number(text);
  if (number > PORT_DIGITS_MAX) return undefined;
  const value = number % PORT_RANGE;
  return number > U16_MAX ? { value, remark: `${text} is no port and counts as ${value}` } : { value };
}

/** An address as `ip address add` reads it: short IPv4 forms, and a mask in place of the length. */
export function parseInterfaceAddress(text: string): Reading<InterfaceAddress> | undefined {
  const at = text.indexOf("/");
  const host = at < 0 ? text : text.slice(0, at);
  const address = host.includes(":") ? parseIpOrNone(host) : parsePaddedV4(host);
  if (address === undefined) return undefined;
  const most = address.length * 8;
  const bits = at < 0 ? most : parseLength(text.slice(at + 1), most);
  if (bits === undefined) return undefined;
  const value = { address, bits };
  const isUsual = !host.includes(".") || parseIp(host).ok;
  const hasUsualLength = at < 0 || text.slice(at + 1) === `${bits}`;
  if (isUsual && hasUsualLength) return { value };
  return { value, remark: `'${text}' means ${formatIp(address)}/${bits}` };
}

/**
 * An address with the scope behind `%`: the name or number of an interface for a link-local address
 * (RFC 4007 §11). Others may have a number, which means nothing.
 */
export function parseScopedIp(
  text: string,
  host: Pick<ConfigHost, "indexOf">,
): { readonly address: IpAddress; readonly scope?: number } | undefined {
  const [bare = "", zone, ...rest] = text.split("%");
  const address = parseIpOrNone(bare);
  if (address === undefined || rest.length > 0) return undefined;
  if (zone === undefined) return { address };
  const number = parseNumber(zone, 0, U32_MAX);
  if (!isLinkLocalV6(address)) return number === undefined ? undefined : { address };
  const scope = number ?? (zone === "" ? undefined : host.indexOf(zone));
  if (scope === undefined) return undefined;
  return scope === 0 ? { address } : { address, scope };
}

function parseIpOrNone(text: string): IpAddress | undefined {
  const address = parseIp(text);
  return address.ok ? address.value : undefined;
}

/** One to four numbers in any base; what is missing is zero at the end: `10.8` is 10.8.0.0. */
function parsePaddedV4(text: string): IpAddress | undefined {
  const parts = text.split(".").map((part) => parseAnyBase(part, 0, 255));
  if (parts.length > 4) return undefined;
  const address = new Uint8Array(4);
  for (const [i, part] of parts.entries()) {
    if (part === undefined) return undefined;
    address[i] = part.value;
  }
  return address;
}

function parseLength(text: string, most: number): number | undefined {
  const number = parseAnyBase(text, 0, 0xffff_ffff);
  if (number !== undefined) return number.value <= most ? number.value : undefined;
  const mask = most === V4_BITS ? parsePaddedV4(text) : undefined;
  return mask === undefined ? undefined : maskBits(mask);
}

/** The length of a netmask; `undefined` when its ones are not all at the front. */
function maskBits(mask: IpAddress): number | undefined {
  const digits = [...mask].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  return /^1*0*$/.test(digits) ? digits.replaceAll("0", "").length : undefined;
}

/** IPv4 as the C library's resolver reads it: the last of one to four numbers fills the rest. */
export function parseLooseV4(text: string): IpAddress | undefined {
  const parts = text.split(".");
  if (parts.length > 4) return undefined;
  let word = 0;
  for (const [i, part] of parts.entries()) {
    const isLast = i === parts.length - 1;
    const number = parseAnyBase(part, 0, isLast ? 2 ** (8 * (4 - i)) - 1 : 255);
    if (number === undefined || part.startsWith("+")) return undefined;
    word += number.value * (isLast ? 1 : 2 ** (8 * (3 - i)));
  }
  const address = new Uint8Array(4);
  new DataView(address.buffer).setUint32(0, word);
  return address;
}
