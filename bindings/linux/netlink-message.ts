/**
 * Netlink's framing: messages, each with a fixed header of its own kind and attributes behind it.
 *
 *     [length u32][type u16][flags u16][sequence u32][port u32] [kind's header] [attribute]…
 *     attribute: [length u16][type u16][value…], padded to 4
 *
 * All numbers are in the host's order, which is little-endian on every platform we support.
 */
import { malformed, type Parsed, parsed } from "../../src/base/index.ts";
import {
  NLATTR_BYTES,
  NLATTR_NESTED,
  NLATTR_TYPE_MASK,
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLMSG_ERROR,
  NLMSGERR_ATTR_MSG,
  NLMSGHDR_BYTES,
} from "./netlink-constants.ts";

export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** The kind's header and the attributes: borrowed from the parsed buffer. */
  readonly body: Uint8Array;
}

/** A value of bytes, or attributes inside an attribute. */
export interface Attribute {
  readonly type: number;
  readonly value: Uint8Array | readonly Attribute[];
}

/** By type; of a repeated one the last counts. Values are borrowed. */
export type Attributes = ReadonlyMap<number, Uint8Array>;

export type MalformedNetlink = "short" | "bad-length";

export interface NetlinkRequest {
  readonly type: number;
  /** The kind's fixed header. */
  readonly header: Uint8Array;
  readonly attributes: readonly Attribute[];
}

export function toMessageBytes(request: NetlinkRequest, flags: number, sequence: number): Uint8Array {
  const attributes = toAttributeBytes(request.attributes);
  const bytes = new Uint8Array(NLMSGHDR_BYTES + align(request.header.length) + attributes.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, request.type, true);
  view.setUint16(6, flags, true);
  view.setUint32(8, sequence, true);
  bytes.set(request.header, NLMSGHDR_BYTES);
  bytes.set(attributes, NLMSGHDR_BYTES + align(request.header.length));
  return bytes;
}

function toAttributeBytes(attributes: readonly Attribute[]): Uint8Array {
  const parts = attributes.map(({ type, value }) =>
    value instanceof Uint8Array
      ? { type, bytes: value }
      : { type: type | NLATTR_NESTED, bytes: toAttributeBytes(value) },
  );
  const total = parts.reduce((sum, { bytes }) => sum + align(NLATTR_BYTES + bytes.length), 0);
  const whole = new Uint8Array(total);
  const view = new DataView(whole.buffer);
  let at = 0;
  for (const { type, bytes } of parts) {
    view.setUint16(at, NLATTR_BYTES + bytes.length, true);
    view.setUint16(at + 2, type, true);
    whole.set(bytes, at + NLATTR_BYTES);
    at += align(NLATTR_BYTES + bytes.length);
  }
  return whole;
}

/** Splits what one receive returned. */
export function parseMessages(bytes: Uint8Array): Parsed<readonly NetlinkMessage[], MalformedNetlink> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const messages: NetlinkMessage[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (bytes.length - at < NLMSGHDR_BYTES) return malformed("short");
    const length = view.getUint32(at, true);
    if (length < NLMSGHDR_BYTES || length > bytes.length - at) return malformed("bad-length");
    messages.push({
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
      body: bytes.subarray(at + NLMSGHDR_BYTES, at + length),
    });
    at += align(length);
  }
  return parsed(messages);
}

/** Reads attributes; up to three bytes of padding may be missing at the end. */
export function parseAttributes(bytes: Uint8Array): Parsed<Attributes, MalformedNetlink> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const attributes = new Map<number, Uint8Array>();
  let at = 0;
  while (at < bytes.length) {
    if (bytes.length - at < NLATTR_BYTES) return malformed("short");
    const length = view.getUint16(at, true);
    if (length < NLATTR_BYTES || length > bytes.length - at) return malformed("bad-length");
    const type = view.getUint16(at + 2, true) & NLATTR_TYPE_MASK;
    attributes.set(type, bytes.subarray(at + NLATTR_BYTES, at + length));
    at += align(length);
  }
  return parsed(attributes);
}

/** What an acknowledgement says: errno 0 is success; the text explains a refusal, where there is one. */
export interface Acknowledgement {
  readonly errno: number;
  readonly text: string;
}

/** Reads the body of NLMSG_ERROR: `[error i32][request's header 16][request…][attributes…]`. */
export function parseAcknowledgement(message: NetlinkMessage): Parsed<Acknowledgement, MalformedNetlink> {
  const { body } = message;
  if (body.length < 4 + NLMSGHDR_BYTES) return malformed("short");
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const errno = Math.abs(view.getInt32(0, true));
  if ((message.flags & NLM_F_ACK_TLVS) === 0) return parsed({ errno, text: "" });
  const repeated = (message.flags & NLM_F_CAPPED) === 0 ? view.getUint32(4, true) : NLMSGHDR_BYTES;
  if (repeated < NLMSGHDR_BYTES || repeated > body.length - 4) return malformed("bad-length");
  const attributes = parseAttributes(body.subarray(4 + align(repeated)));
  if (!attributes.ok) return attributes;
  const text = attributes.value.get(NLMSGERR_ATTR_MSG);
  return parsed({ errno, text: text === undefined ? "" : toText(text) });
}

export function isAcknowledgement(message: NetlinkMessage): boolean {
  return message.type === NLMSG_ERROR;
}

/** A text with its final zero, as attributes carry them. */
export function toText(value: Uint8Array): string {
  const end = value.indexOf(0);
  // Copied: a decoder refuses shared memory.
  return new TextDecoder().decode(value.slice(0, end < 0 ? value.length : end));
}

export function toU32(value: Uint8Array | undefined): number | undefined {
  if (value === undefined || value.length < 4) return undefined;
  return new DataView(value.buffer, value.byteOffset, 4).getUint32(0, true);
}

export function fromU8(value: number): Uint8Array {
  return new Uint8Array([value]);
}

export function fromU32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value >>> 0, true);
  return bytes;
}

/** A text with a zero behind, as names are sent. */
export function fromText(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}

function align(bytes: number): number {
  return (bytes + 3) & ~3;
}
