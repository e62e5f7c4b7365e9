/**
 * The four messages on the wire (WG-4): where their fields are, and nothing else.
 *
 *   initiation   [type u32][sender u32][ephemeral 32][static 48][stamp 28][mac1 16][mac2 16]
 *   response     [type u32][sender u32][receiver u32][ephemeral 32][nothing 16][mac1 16][mac2 16]
 *   cookie reply [type u32][receiver u32][nonce 24][cookie 32]
 *   transport    [type u32][receiver u32][counter u64][ciphertext n][tag 16]
 *
 * Integers are little-endian. Parsed fields borrow from the datagram.
 */
import { malformed, type Parsed, parsed } from "../base/index.ts";
import {
  COOKIE_REPLY_BYTES,
  INITIATION_BYTES,
  KEEPALIVE_BYTES,
  MAC_BYTES,
  RESPONSE_BYTES,
  TRANSPORT_HEADER_BYTES,
  TYPE_COOKIE_REPLY,
  TYPE_INITIATION,
  TYPE_RESPONSE,
  TYPE_TRANSPORT,
} from "./constants.ts";

export interface Initiation {
  readonly kind: "initiation";
  readonly sender: number;
  readonly ephemeral: Uint8Array;
  readonly encryptedStatic: Uint8Array;
  readonly encryptedStamp: Uint8Array;
  readonly macs: MacFields;
}

export interface Response {
  readonly kind: "response";
  readonly sender: number;
  readonly receiver: number;
  readonly ephemeral: Uint8Array;
  readonly encryptedNothing: Uint8Array;
  readonly macs: MacFields;
}

export interface CookieReply {
  readonly kind: "cookie-reply";
  readonly receiver: number;
  readonly nonce: Uint8Array;
  readonly encryptedCookie: Uint8Array;
}

export interface Transport {
  readonly kind: "transport";
  readonly receiver: number;
  readonly counter: bigint;
  readonly sealed: Uint8Array;
}

/** Both MACs of a handshake message and what each of them covers (WG-7). */
export interface MacFields {
  readonly beforeMac1: Uint8Array;
  readonly mac1: Uint8Array;
  readonly beforeMac2: Uint8Array;
  readonly mac2: Uint8Array;
}

export type Message = Initiation | Response | CookieReply | Transport;

/** Reads a datagram as a WireGuard message: type, zero reserved bytes, exact length (WG-22). */
export function parseMessage(datagram: Uint8Array): Parsed<Message, "wg_malformed"> {
  if (datagram.length < 4) return malformed("wg_malformed");
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.length);
  // Reserved bytes that are not zero give a type that nobody knows.
  switch (view.getUint32(0, true)) {
    case TYPE_INITIATION:
      return datagram.length === INITIATION_BYTES
        ? parsed(initiationOf(datagram, view))
        : malformed("wg_malformed");
    case TYPE_RESPONSE:
      return datagram.length === RESPONSE_BYTES
        ? parsed(responseOf(datagram, view))
        : malformed("wg_malformed");
    case TYPE_COOKIE_REPLY:
      return datagram.length === COOKIE_REPLY_BYTES
        ? parsed(cookieReplyOf(datagram, view))
        : malformed("wg_malformed");
    case TYPE_TRANSPORT:
      return datagram.length >= KEEPALIVE_BYTES
        ? parsed(transportOf(datagram, view))
        : malformed("wg_malformed");
    default:
      return malformed("wg_malformed");
  }
}

function initiationOf(datagram: Uint8Array, view: DataView): Initiation {
  return {
    kind: "initiation",
    sender: view.getUint32(4, true),
    ephemeral: datagram.subarray(8, 40),
    encryptedStatic: datagram.subarray(40, 88),
    encryptedStamp: datagram.subarray(88, 116),
    macs: macFields(datagram),
  };
}

function responseOf(datagram: Uint8Array, view: DataView): Response {
  return {
    kind: "response",
    sender: view.getUint32(4, true),
    receiver: view.getUint32(8, true),
    ephemeral: datagram.subarray(12, 44),
    encryptedNothing: datagram.subarray(44, 60),
    macs: macFields(datagram),
  };
}

function cookieReplyOf(datagram: Uint8Array, view: DataView): CookieReply {
  return {
    kind: "cookie-reply",
    receiver: view.getUint32(4, true),
    nonce: datagram.subarray(8, 32),
    encryptedCookie: datagram.subarray(32, 64),
  };
}

function transportOf(datagram: Uint8Array, view: DataView): Transport {
  return {
    kind: "transport",
    receiver: view.getUint32(4, true),
    counter: view.getBigUint64(8, true),
    sealed: datagram.subarray(TRANSPORT_HEADER_BYTES),
  };
}

/** The two MACs are the last 32 bytes of both handshake messages. */
export function macFields(datagram: Uint8Array): MacFields {
  const mac1At = datagram.length - 2 * MAC_BYTES;
  const mac2At = datagram.length - MAC_BYTES;
  return {
    beforeMac1: datagram.subarray(0, mac1At),
    mac1: datagram.subarray(mac1At, mac2At),
    beforeMac2: datagram.subarray(0, mac2At),
    mac2: datagram.subarray(mac2At),
  };
}

/** An initiation whose MACs are still zero. */
export function encodeInitiation(fields: Omit<Initiation, "kind" | "macs">): Uint8Array {
  const datagram = new Uint8Array(INITIATION_BYTES);
  const view = new DataView(datagram.buffer);
  view.setUint32(0, TYPE_INITIATION, true);
  view.setUint32(4, fields.sender, true);
  datagram.set(fields.ephemeral, 8);
  datagram.set(fields.encryptedStatic, 40);
  datagram.set(fields.encryptedStamp, 88);
  return datagram;
}

/** A response whose MACs are still zero. */
export function encodeResponse(fields: Omit<Response, "kind" | "macs">): Uint8Array {
  const datagram = new Uint8Array(RESPONSE_BYTES);
  const view = new DataView(datagram.buffer);
  view.setUint32(0, TYPE_RESPONSE, true);
  view.setUint32(4, fields.sender, true);
  view.setUint32(8, fields.receiver, true);
  datagram.set(fields.ephemeral, 12);
  datagram.set(fields.encryptedNothing, 44);
  return datagram;
}

export function encodeCookieReply(fields: Omit<CookieReply, "kind">): Uint8Array {
  const datagram = new Uint8Array(COOKIE_REPLY_BYTES);
  const view = new DataView(datagram.buffer);
  view.setUint32(0, TYPE_COOKIE_REPLY, true);
  view.setUint32(4, fields.receiver, true);
  datagram.set(fields.nonce, 8);
  datagram.set(fields.encryptedCookie, 32);
  return datagram;
}

export function encodeTransport(fields: Omit<Transport, "kind">): Uint8Array {
  const datagram = new Uint8Array(TRANSPORT_HEADER_BYTES + fields.sealed.length);
  const view = new DataView(datagram.buffer);
  view.setUint32(0, TYPE_TRANSPORT, true);
  view.setUint32(4, fields.receiver, true);
  view.setBigUint64(8, fields.counter, true);
  datagram.set(fields.sealed, TRANSPORT_HEADER_BYTES);
  return datagram;
}

/** `(peer|session)`, the only form in which an index is printed (WG-11). */
export function formatIndex(index: number): string {
  return `(${index >>> 8}|${index & 0xff})`;
}
