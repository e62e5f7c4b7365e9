/** Keys as people write them: base64 in files, hexadecimal on the status socket (WG-63, WG-66). */
import { fromBase64, fromHex } from "../base/index.ts";
import { KEY_BYTES } from "../wireguard/index.ts";

const KEY_BASE64_CHARACTERS = 44;
const KEY_HEX_CHARACTERS = 64;

export function parseKeyBase64(text: string): Uint8Array | undefined {
  const key = text.length === KEY_BASE64_CHARACTERS ? fromBase64(text) : undefined;
  // As many characters with another padding are 31 or 33 bytes.
  return key?.length === KEY_BYTES ? key : undefined;
}

export function parseKeyHex(text: string): Uint8Array | undefined {
  return text.length === KEY_HEX_CHARACTERS ? fromHex(text) : undefined;
}

/** All zeros stand for "none" on the status socket. */
export function isZeroKey(key: Uint8Array): boolean {
  return key.every((byte) => byte === 0);
}
