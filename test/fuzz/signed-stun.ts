/** STUN messages whose attributes are anything and whose signature is right: what a hostile client with credentials sends. */
import { encodeFrame, METHOD_BINDING, type StunAttribute, type StunClass } from "../../src/stun/index.ts";

const MESSAGE_BYTES_MAX = 2304;

export interface SignedMessage {
  readonly method: number;
  readonly class: StunClass;
  readonly transactionId: Uint8Array;
  /** `[type u16][length u16][value]` one after another; padding as STUN has it. */
  readonly raw: Uint8Array;
  /** In front of them. */
  readonly attributes?: readonly StunAttribute[];
  readonly key?: Uint8Array;
}

export function encodeSigned({ raw, attributes = [], key, ...content }: SignedMessage): Uint8Array {
  const into = new Uint8Array(MESSAGE_BYTES_MAX);
  const all = [...attributes, ...attributesIn(raw)];
  const options = content.method === METHOD_BINDING ? {} : { omitsFingerprint: true };
  const length = encodeFrame(into, { ...content, attributes: all }, { ...options, ...(key && { key }) });
  return into.slice(0, length);
}

/** Up to the first that is not whole. */
function attributesIn(raw: Uint8Array): readonly StunAttribute[] {
  const found: StunAttribute[] = [];
  const view = new DataView(raw.buffer, raw.byteOffset, raw.length);
  for (let at = 0; at + 4 <= raw.length; ) {
    const length = view.getUint16(at + 2);
    if (at + 4 + length > raw.length || found.length > 30) break;
    found.push({ type: view.getUint16(at), value: raw.subarray(at + 4, at + 4 + length) });
    at += 4 + ((length + 3) & ~3);
  }
  return found;
}
