/** Binding messages as ICE uses them (RFC 8445 §7): connectivity checks and their answers. */
import { malformed, type Parsed, parsed, type SocketAddress } from "../base/index.ts";
import {
  ATTRIBUTE_HEADER_BYTES,
  ERROR_CODE,
  ICE_CONTROLLED,
  ICE_CONTROLLING,
  METHOD_BINDING,
  PADDING,
  PRIORITY,
  USE_CANDIDATE,
  USERNAME,
  USERNAME_BYTES_MAX,
  XOR_MAPPED_ADDRESS,
} from "./constants.ts";
import {
  attributeOf,
  encodeFrame,
  frameBytes,
  type MalformedFrame,
  parseFrame,
  type StunAttribute,
  type StunFrame,
} from "./message.ts";
import { parseXorAddress, toXorAddress } from "./xor-address.ts";

export type IceRole = "controlling" | "controlled";

export interface RoleClaim {
  readonly role: IceRole;
  /** Random u64. */
  readonly tieBreaker: bigint;
}

/** `frame` carries what `verifyIntegrity` needs: nothing here may be believed before that. */
export type BindingMessage =
  | {
      readonly kind: "request";
      readonly frame: StunFrame;
      /** User name fragments: the receiver's and the sender's. */
      readonly receiver: string;
      readonly sender: string;
      readonly priority: number;
      readonly isNominated: boolean;
      readonly claim?: RoleClaim;
    }
  | { readonly kind: "success"; readonly frame: StunFrame; readonly mappedAddress: SocketAddress }
  | { readonly kind: "error"; readonly frame: StunFrame; readonly code: number; readonly phrase: string }
  | { readonly kind: "indication"; readonly frame: StunFrame };

export type MalformedBinding =
  | MalformedFrame
  | "not-binding"
  | "attribute-length"
  | "xor-address"
  | "error-code"
  | "username-utf8"
  | "username-form"
  | "missing-username"
  | "missing-priority"
  | "missing-integrity"
  | "missing-mapped-address"
  | "missing-error-code";

const FIXED_LENGTHS: ReadonlyMap<number, number> = new Map([
  [PRIORITY, 4],
  [USE_CANDIDATE, 0],
  [ICE_CONTROLLED, 8],
  [ICE_CONTROLLING, 8],
]);

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const TO_UTF8 = new TextEncoder();

/** Reads a Binding message strictly (SN-5, SN-6). Never throws: the caller counts the reason. */
export function parseBinding(datagram: Uint8Array): Parsed<BindingMessage, MalformedBinding> {
  const result = parseFrame(datagram);
  if (!result.ok) return result;
  const frame = result.value;
  if (frame.method !== METHOD_BINDING) return malformed("not-binding");
  const fault = attributeFault(frame);
  if (fault !== undefined) return malformed(fault);
  switch (frame.class) {
    case "request":
      return parseRequest(frame);
    case "success":
      return parseSuccess(frame);
    case "error":
      return parseError(frame);
    case "indication":
      return parsed({ kind: "indication", frame });
  }
}

function parseRequest(frame: StunFrame): Parsed<BindingMessage, MalformedBinding> {
  const username = attributeOf(frame, USERNAME);
  const priority = attributeOf(frame, PRIORITY);
  if (username === undefined) return malformed("missing-username");
  if (priority === undefined) return malformed("missing-priority");
  if (frame.integrityOffset === undefined) return malformed("missing-integrity");
  const text = decodeUtf8(username) ?? "";
  const colon = text.indexOf(":");
  if (colon < 0 || colon === text.length - 1) return malformed("username-form");
  const claim = roleClaimOf(frame);
  return parsed({
    kind: "request",
    frame,
    receiver: text.slice(0, colon),
    sender: text.slice(colon + 1),
    priority: viewOf(priority).getUint32(0),
    isNominated: attributeOf(frame, USE_CANDIDATE) !== undefined,
    ...(claim === undefined ? {} : { claim }),
  });
}

function parseSuccess(frame: StunFrame): Parsed<BindingMessage, MalformedBinding> {
  if (frame.integrityOffset === undefined) return malformed("missing-integrity");
  const value = attributeOf(frame, XOR_MAPPED_ADDRESS);
  if (value === undefined) return malformed("missing-mapped-address");
  const mapped = parseXorAddress(value, frame.transactionId);
  return mapped.ok ? parsed({ kind: "success", frame, mappedAddress: mapped.value }) : mapped;
}

function parseError(frame: StunFrame): Parsed<BindingMessage, MalformedBinding> {
  const value = attributeOf(frame, ERROR_CODE);
  if (value === undefined) return malformed("missing-error-code");
  const code = ((value[2] ?? 0) & 0x07) * 100 + (value[3] ?? 0);
  return parsed({ kind: "error", frame, code, phrase: decodeUtf8(value.subarray(4)) ?? "" });
}

/** What is wrong with the first known attribute that is not as its definition says (SN-6). */
function attributeFault(frame: StunFrame): MalformedBinding | undefined {
  for (const { type, value } of frame.attributes) {
    switch (type) {
      case USERNAME:
        if (value.length > USERNAME_BYTES_MAX) return "attribute-length";
        if (decodeUtf8(value) === undefined) return "username-utf8";
        break;
      case ERROR_CODE: {
        const hundreds = (value[2] ?? 0) & 0x07;
        if (value.length < 4 || hundreds < 3 || hundreds > 6 || (value[3] ?? 0) > 99) return "error-code";
        break;
      }
      case XOR_MAPPED_ADDRESS:
        if (!parseXorAddress(value, frame.transactionId).ok) return "xor-address";
        break;
      default:
        if ((FIXED_LENGTHS.get(type) ?? value.length) !== value.length) return "attribute-length";
    }
  }
  return undefined;
}

/** The first of both attributes counts, should there be two (SN-5). */
function roleClaimOf(frame: StunFrame): RoleClaim | undefined {
  for (const { type, value } of frame.attributes) {
    if (type !== ICE_CONTROLLED && type !== ICE_CONTROLLING) continue;
    const role = type === ICE_CONTROLLING ? "controlling" : "controlled";
    return { role, tieBreaker: viewOf(value).getBigUint64(0) };
  }
  return undefined;
}

export interface BindingRequest {
  readonly transactionId: Uint8Array;
  /** `<receiver's fragment>:<sender's fragment>`. */
  readonly username: string;
  readonly claim: RoleClaim;
  readonly priority: number;
  readonly isNominated: boolean;
  /** Of the whole message, a multiple of 4, reached with PADDING (SN-151). */
  readonly lengthBytes?: number;
}

/** @returns length in bytes, 0 if it is longer than `lengthBytes` anyway. Attribute order: SN-2. `key` is the receiver's password (SN-4). */
export function encodeBindingRequest(into: Uint8Array, request: BindingRequest, key: Uint8Array): number {
  const attributes: StunAttribute[] = [
    { type: USERNAME, value: TO_UTF8.encode(request.username) },
    {
      type: request.claim.role === "controlling" ? ICE_CONTROLLING : ICE_CONTROLLED,
      value: toU64(request.claim.tieBreaker),
    },
    { type: PRIORITY, value: toU32(request.priority) },
  ];
  if (request.isNominated) attributes.push({ type: USE_CANDIDATE, value: new Uint8Array(0) });
  const { transactionId, lengthBytes } = request;
  if (lengthBytes !== undefined) {
    const room = lengthBytes - frameBytes(attributes) - ATTRIBUTE_HEADER_BYTES;
    if (room < 0 || room % 4 !== 0) return 0;
    attributes.push({ type: PADDING, value: new Uint8Array(room) });
  }
  return encodeFrame(into, { method: METHOD_BINDING, class: "request", transactionId, attributes }, { key });
}

/** @returns length in bytes. `key` is the responder's own password (SN-4). */
export function encodeBindingSuccess(
  into: Uint8Array,
  success: { readonly transactionId: Uint8Array; readonly mappedAddress: SocketAddress },
  key: Uint8Array,
): number {
  const { transactionId, mappedAddress } = success;
  const attributes = [{ type: XOR_MAPPED_ADDRESS, value: toXorAddress(mappedAddress, transactionId) }];
  return encodeFrame(into, { method: METHOD_BINDING, class: "success", transactionId, attributes }, { key });
}

/** @returns length in bytes. `code` is 300 to 699. */
export function encodeBindingError(
  into: Uint8Array,
  error: { readonly transactionId: Uint8Array; readonly code: number; readonly phrase: string },
  key: Uint8Array,
): number {
  const { transactionId, code, phrase } = error;
  const text = TO_UTF8.encode(phrase);
  const value = new Uint8Array(4 + text.length);
  value[2] = Math.floor(code / 100);
  value[3] = code % 100;
  value.set(text, 4);
  const attributes = [{ type: ERROR_CODE, value }];
  return encodeFrame(into, { method: METHOD_BINDING, class: "error", transactionId, attributes }, { key });
}

function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return UTF8.decode(bytes);
  } catch {
    // The decoder has no other way to say that the bytes are not UTF-8.
    return undefined;
  }
}

function toU32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  viewOf(bytes).setUint32(0, value);
  return bytes;
}

function toU64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  viewOf(bytes).setBigUint64(0, value);
  return bytes;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
