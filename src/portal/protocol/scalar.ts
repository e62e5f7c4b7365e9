/**
 * The small values of the portal's messages (PT §4, "Common types"), read strictly and written back.
 */
import * as v from "valibot";
import {
  formatIp,
  fromBase64,
  type IpAddress,
  parseIp,
  parseSocketAddress,
  type SocketAddress,
  toBase64,
  type UnixMs,
  unixMs,
} from "../../base/index.ts";

/** "Never expires" where the wire wants a number: the end of 9999, in seconds (PT-52). */
export const NEVER_EXPIRES_S = 253402300799;

/** Bytes of an X25519 or pre-shared key. */
export const KEY_BYTES = 32;

/** The reference's ids are lower-case and hyphenated; another spelling would be another id. */
export const uuid = v.pipe(
  v.string(),
  v.regex(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/),
);

/** Base64 of exactly 32 bytes. */
export const key = v.pipe(
  v.string(),
  v.rawTransform<string, Uint8Array>(({ dataset, addIssue, NEVER }) => {
    const bytes = fromBase64(dataset.value);
    if (bytes !== undefined && bytes.length === KEY_BYTES) return bytes;
    addIssue({ message: "not a key of 32 bytes in base64" });
    return NEVER;
  }),
);

/** Whole Unix seconds. Later than the end of 9999 counts as that, so that nothing overflows (PT-52). */
export const time = v.pipe(
  v.number(),
  v.integer(),
  v.minValue(0),
  v.transform((seconds): UnixMs => unixMs(Math.min(seconds, NEVER_EXPIRES_S) * 1000)),
);

export const ipAddress = v.pipe(
  v.string(),
  v.rawTransform<string, IpAddress>(({ dataset, addIssue, NEVER }) => {
    const address = parseIp(dataset.value);
    if (address.ok) return address.value;
    addIssue({ message: "not an IP address" });
    return NEVER;
  }),
);

export const ipv4Address = v.pipe(
  ipAddress,
  v.check((address) => address.length === 4, "not an IPv4 address"),
);

export const ipv6Address = v.pipe(
  ipAddress,
  v.check((address) => address.length === 16, "not an IPv6 address"),
);

/** `192.0.2.1:53` or `[2001:db8::1]:53`. */
export const socketAddress = v.pipe(
  v.string(),
  v.rawTransform<string, SocketAddress>(({ dataset, addIssue, NEVER }) => {
    const address = parseSocketAddress(dataset.value);
    if (address.ok) return address.value;
    addIssue({ message: "not an address with a port" });
    return NEVER;
  }),
);

/** What ICE calls ufrag and password; opaque here, the node decides which it accepts (SN-13). */
export interface IceCredentials {
  readonly username: string;
  readonly password: string;
}

export const iceCredentials = v.object({ username: v.string(), password: v.string() });

export function toWireTime(at: UnixMs): number {
  return Math.floor(at / 1000);
}

export function toWireKey(bytes: Uint8Array): string {
  return toBase64(bytes);
}

export function toWireIp(address: IpAddress): string {
  return formatIp(address);
}

/** Counts the faulty elements that were left out of the lists of one message (PT-6). */
export interface Tally {
  skipped: number;
}

/** The elements that parse, in their order; a faulty one never spoils its list (PT-6). */
export function parseList<T>(
  items: readonly unknown[],
  parseItem: (item: unknown) => T | "ignored" | undefined,
  tally: Tally,
): readonly T[] {
  const values: T[] = [];
  for (const item of items) {
    const value = parseItem(item);
    if (value === undefined) tally.skipped++;
    else if (value !== "ignored") values.push(value);
  }
  return values;
}

/** The value a schema makes of `input`, or `undefined` when it is faulty. */
export function readAs<S extends v.GenericSchema>(schema: S, input: unknown): v.InferOutput<S> | undefined {
  const result = v.safeParse(schema, input, { abortEarly: true });
  return result.success ? result.output : undefined;
}
