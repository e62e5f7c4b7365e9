/** Transport messages made and read by Node's own ChaCha20-Poly1305: the plane's independent counterpart. */
import { createCipheriv, createDecipheriv } from "node:crypto";
import { concatBytes } from "../../../src/base/index.ts";

const TAG_BYTES = 16;
const OPTIONS = { authTagLength: TAG_BYTES } as const;

function nonceOf(counter: bigint): Uint8Array {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setBigUint64(4, counter, true);
  return nonce;
}

/** A transport message of type 4 (paper §5.4.6). */
export function sealMessage(
  key: Uint8Array,
  index: number,
  counter: bigint,
  text: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(16);
  const view = new DataView(header.buffer);
  view.setUint32(0, 4, true);
  view.setUint32(4, index, true);
  view.setBigUint64(8, counter, true);
  const cipher = createCipheriv("chacha20-poly1305", key, nonceOf(counter), OPTIONS);
  const body = cipher.update(text);
  cipher.final();
  return concatBytes(header, body, cipher.getAuthTag());
}

/** Index, counter and text of a message; throws when the tag is wrong. */
export function openMessage(
  key: Uint8Array,
  message: Uint8Array,
): { readonly index: number; readonly counter: bigint; readonly text: Uint8Array } {
  const view = new DataView(message.buffer, message.byteOffset, message.length);
  const counter = view.getBigUint64(8, true);
  const decipher = createDecipheriv("chacha20-poly1305", key, nonceOf(counter), OPTIONS);
  decipher.setAuthTag(message.subarray(message.length - TAG_BYTES));
  const text = decipher.update(message.subarray(16, message.length - TAG_BYTES));
  decipher.final();
  return { index: view.getUint32(4, true), counter, text: Uint8Array.from(text) };
}
