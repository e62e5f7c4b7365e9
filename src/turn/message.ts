/** Control messages of TURN, both directions: one codec for the relay and for its clients (RL-1 to RL-3). */
import { malformed, type Parsed, parsed } from "../base/index.ts";
import {
  ATTRIBUTE_HEADER_BYTES,
  encodeFrame,
  FINGERPRINT_BYTES,
  type MalformedFrame,
  parseFrame,
  type StunClass,
  type StunFrame,
} from "../stun/index.ts";
import { decodeFields, encodeFields, type TurnFields } from "./attributes.ts";
import { TURN_MESSAGE_BYTES_MAX } from "./constants.ts";

/** A message whose frame is right. Nothing in it may be believed before `verifyIntegrity(frame, key)`. */
export interface TurnMessage {
  readonly frame: StunFrame;
  readonly fields: TurnFields;
  /** Types that must be understood and are not, each once, in order (420, RL-3). */
  readonly unknownTypes: readonly number[];
  /** Known types whose value is not as its definition says (400, RL-15). They are not in `fields`. */
  readonly faultyTypes: readonly number[];
}

export type MalformedTurn = MalformedFrame | "too-long" | "fingerprint-not-last";

/** Reads a control message (RL-14). Never throws: the caller counts the reason. */
export function parseTurn(datagram: Uint8Array): Parsed<TurnMessage, MalformedTurn> {
  if (datagram.length > TURN_MESSAGE_BYTES_MAX) return malformed("too-long");
  const result = parseFrame(datagram);
  if (!result.ok) return result;
  const frame = result.value;
  const { fingerprintOffset } = frame;
  const end = (fingerprintOffset ?? 0) + ATTRIBUTE_HEADER_BYTES + FINGERPRINT_BYTES;
  if (fingerprintOffset !== undefined && end !== datagram.length) return malformed("fingerprint-not-last");
  return parsed({ frame, ...decodeFields(frame) });
}

export interface TurnContent {
  readonly method: number;
  readonly class: StunClass;
  /** 12 bytes. */
  readonly transactionId: Uint8Array;
  /** Written in the order in which they stand here. */
  readonly fields: TurnFields;
}

export interface TurnEncoding {
  /** Adds MESSAGE-INTEGRITY with this key (`longTermKey`). */
  readonly key?: Uint8Array;
  /** A response has a FINGERPRINT exactly if its request had one (RL-2). */
  readonly hasFingerprint?: boolean;
}

/**
 * Writes a control message.
 *
 * @returns its length in bytes; `into` must be large enough, else a RangeError is thrown
 */
export function encodeTurn(into: Uint8Array, content: TurnContent, encoding: TurnEncoding = {}): number {
  const { transactionId } = content;
  return encodeFrame(
    into,
    { ...content, attributes: encodeFields(content.fields, transactionId) },
    { omitsFingerprint: encoding.hasFingerprint !== true, ...(encoding.key && { key: encoding.key }) },
  );
}
