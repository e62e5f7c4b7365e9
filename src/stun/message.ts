/**
 * The frame of a STUN message (RFC 8489 §5, §14): header, attributes, integrity, fingerprint.
 *
 *     0      type u16: 00 | method and class bits interleaved
 *     2      length of the attributes u16, a multiple of 4
 *     4      magic cookie u32
 *     8      transaction id (12)
 *     20     attributes: type u16, length u16 (without padding), value, padded to 4
 */
import { hmac } from "@noble/hashes/hmac.js";
import { sha1 } from "@noble/hashes/legacy.js";
import { equalSecret, malformed, type Parsed, parsed } from "../base/index.ts";
import {
  ATTRIBUTE_HEADER_BYTES,
  ATTRIBUTES_MAX,
  FINGERPRINT,
  FINGERPRINT_BYTES,
  FINGERPRINT_XOR,
  HEADER_BYTES,
  INTEGRITY_BYTES,
  MAGIC_COOKIE,
  MESSAGE_INTEGRITY,
  TRANSACTION_ID_BYTES,
  TYPE_MAX,
} from "./constants.ts";
import { crc32 } from "./crc32.ts";

export type StunClass = "request" | "indication" | "success" | "error";

export interface StunAttribute {
  readonly type: number;
  readonly value: Uint8Array;
}

/** A parsed frame. It borrows `bytes`: valid as long as those are not overwritten. */
export interface StunFrame {
  readonly bytes: Uint8Array;
  readonly method: number;
  readonly class: StunClass;
  readonly transactionId: Uint8Array;
  /** In order, without MESSAGE-INTEGRITY, FINGERPRINT, and what follows MESSAGE-INTEGRITY (SN-5). */
  readonly attributes: readonly StunAttribute[];
  /** Offset of the MESSAGE-INTEGRITY attribute. */
  readonly integrityOffset?: number;
  /** Offset of the FINGERPRINT attribute, whose value is right. */
  readonly fingerprintOffset?: number;
}

export type MalformedFrame =
  | "short"
  | "not-stun"
  | "bad-cookie"
  | "bad-length"
  | "attribute-overrun"
  | "too-many-attributes"
  | "integrity-length"
  | "fingerprint-length"
  | "bad-fingerprint";

/** Whether a datagram is STUN-shaped: then it is nothing else (SN-1). */
export function isStunShaped(datagram: Uint8Array): boolean {
  return headerFault(datagram) === undefined;
}

/** Reads a frame. A wrong FINGERPRINT is a fault, a missing one is not (SN-5 to SN-7). */
export function parseFrame(datagram: Uint8Array): Parsed<StunFrame, MalformedFrame> {
  const fault = headerFault(datagram);
  if (fault !== undefined) return malformed(fault);
  const view = viewOf(datagram);
  const attributes: StunAttribute[] = [];
  let integrityOffset: number | undefined;
  let fingerprintOffset: number | undefined;
  let count = 0;
  for (let offset = HEADER_BYTES; offset < datagram.length; ) {
    // An attribute header always fits: offset and length of the datagram are multiples of 4.
    const start = offset + ATTRIBUTE_HEADER_BYTES;
    const type = view.getUint16(offset);
    const length = view.getUint16(offset + 2);
    if (start + length > datagram.length) return malformed("attribute-overrun");
    if (++count > ATTRIBUTES_MAX) return malformed("too-many-attributes");
    if (type === FINGERPRINT && fingerprintOffset === undefined) {
      if (length !== FINGERPRINT_BYTES) return malformed("fingerprint-length");
      if (view.getUint32(start) !== fingerprintOf(datagram.subarray(0, offset))) {
        return malformed("bad-fingerprint");
      }
      fingerprintOffset = offset;
    } else if (integrityOffset === undefined) {
      if (type === MESSAGE_INTEGRITY) {
        if (length !== INTEGRITY_BYTES) return malformed("integrity-length");
        integrityOffset = offset;
      } else if (type !== FINGERPRINT) {
        attributes.push({ type, value: datagram.subarray(start, start + length) });
      }
    }
    offset = start + padded(length);
  }
  const type = view.getUint16(0);
  return parsed({
    bytes: datagram,
    method: methodOf(type),
    class: classOf(type),
    transactionId: datagram.subarray(8, HEADER_BYTES),
    attributes,
    ...(integrityOffset === undefined ? {} : { integrityOffset }),
    ...(fingerprintOffset === undefined ? {} : { fingerprintOffset }),
  });
}

/** The first attribute of that type: of repeated ones only the first counts (SN-5). */
export function attributeOf(frame: StunFrame, type: number): Uint8Array | undefined {
  return frame.attributes.find((attribute) => attribute.type === type)?.value;
}

/** Whether MESSAGE-INTEGRITY is there and right for `key`; compared in constant time (SN-3, SN-8). */
export function verifyIntegrity(frame: StunFrame, key: Uint8Array): boolean {
  const offset = frame.integrityOffset;
  if (offset === undefined) return false;
  const start = offset + ATTRIBUTE_HEADER_BYTES;
  return equalSecret(
    frame.bytes.subarray(start, start + INTEGRITY_BYTES),
    integrityOf(frame.bytes.subarray(0, offset), key),
  );
}

export interface FrameContent {
  readonly method: number;
  readonly class: StunClass;
  readonly transactionId: Uint8Array;
  readonly attributes: readonly StunAttribute[];
}

export interface FrameOptions {
  /** Adds MESSAGE-INTEGRITY with this key. */
  readonly key?: Uint8Array;
  /** Value of padding bytes: zero, except to rebuild the vectors of RFC 5769 (SN-10). */
  readonly padding?: number;
  /** TURN writes it only where it was asked for (RL-2). */
  readonly omitsFingerprint?: boolean;
}

/** Length in bytes of a message with these attributes, MESSAGE-INTEGRITY and FINGERPRINT. */
export function frameBytes(attributes: readonly StunAttribute[]): number {
  const ends = 2 * ATTRIBUTE_HEADER_BYTES + INTEGRITY_BYTES + FINGERPRINT_BYTES;
  return attributes.reduce(
    (sum, { value }) => sum + ATTRIBUTE_HEADER_BYTES + padded(value.length),
    HEADER_BYTES + ends,
  );
}

/**
 * Writes a message with FINGERPRINT, unless it is omitted, and, given a key, MESSAGE-INTEGRITY (SN-2, SN-3).
 *
 * @returns its length in bytes; `into` must be large enough, else a RangeError is thrown
 */
export function encodeFrame(into: Uint8Array, content: FrameContent, options: FrameOptions): number {
  const view = viewOf(into);
  view.setUint16(0, typeOf(content.method, content.class));
  view.setUint32(4, MAGIC_COOKIE);
  into.set(content.transactionId.subarray(0, TRANSACTION_ID_BYTES), 8);
  let end = HEADER_BYTES;
  for (const { type, value } of content.attributes) {
    end = encodeAttribute(into, end, { type, value, padding: options.padding ?? 0 });
  }
  if (options.key !== undefined) {
    const value = integrityOf(into.subarray(0, end), options.key);
    end = encodeAttribute(into, end, { type: MESSAGE_INTEGRITY, value, padding: 0 });
  }
  if (options.omitsFingerprint === true) {
    view.setUint16(2, end - HEADER_BYTES);
    return end;
  }
  // The CRC covers the length field as it will be sent, this attribute included.
  view.setUint16(2, end + ATTRIBUTE_HEADER_BYTES + FINGERPRINT_BYTES - HEADER_BYTES);
  const fingerprint = new Uint8Array(FINGERPRINT_BYTES);
  viewOf(fingerprint).setUint32(0, fingerprintOf(into.subarray(0, end)));
  return encodeAttribute(into, end, { type: FINGERPRINT, value: fingerprint, padding: 0 });
}

function encodeAttribute(
  into: Uint8Array,
  offset: number,
  attribute: StunAttribute & { readonly padding: number },
): number {
  const { type, value, padding } = attribute;
  const view = viewOf(into);
  const start = offset + ATTRIBUTE_HEADER_BYTES;
  const end = start + padded(value.length);
  view.setUint16(offset, type);
  view.setUint16(offset + 2, value.length);
  into.set(value, start);
  into.fill(padding, start + value.length, end);
  if (end > into.length) throw new RangeError("no room for a STUN attribute");
  return end;
}

function headerFault(datagram: Uint8Array): "short" | "not-stun" | "bad-cookie" | "bad-length" | undefined {
  if (datagram.length < HEADER_BYTES) return "short";
  const view = viewOf(datagram);
  if (view.getUint16(0) > TYPE_MAX) return "not-stun";
  if (view.getUint32(4) !== MAGIC_COOKIE) return "bad-cookie";
  const length = view.getUint16(2);
  if (length % 4 !== 0 || HEADER_BYTES + length !== datagram.length) return "bad-length";
  return undefined;
}

/** HMAC-SHA1 over the message so far, its length field counting this attribute (RFC 8489 §14.5). */
function integrityOf(before: Uint8Array, key: Uint8Array): Uint8Array {
  const header = before.slice(0, HEADER_BYTES);
  const length = before.length + ATTRIBUTE_HEADER_BYTES + INTEGRITY_BYTES - HEADER_BYTES;
  viewOf(header).setUint16(2, length);
  return hmac.create(sha1, key).update(header).update(before.subarray(HEADER_BYTES)).digest();
}

function fingerprintOf(before: Uint8Array): number {
  return (crc32(before) ^ FINGERPRINT_XOR) >>> 0;
}

function padded(length: number): number {
  return (length + 3) & ~3;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

// RFC 8489 §5: M11…M7 C1 M6…M4 C0 M3…M0.
function methodOf(type: number): number {
  return (type & 0x000f) | ((type & 0x00e0) >> 1) | ((type & 0x3e00) >> 2);
}

function classOf(type: number): StunClass {
  if (type & 0x0100) return type & 0x0010 ? "error" : "success";
  return type & 0x0010 ? "indication" : "request";
}

function typeOf(method: number, kind: StunClass): number {
  const bits = { request: 0x0000, indication: 0x0010, success: 0x0100, error: 0x0110 }[kind];
  return (method & 0x000f) | ((method & 0x0070) << 1) | ((method & 0x0f80) << 2) | bits;
}
