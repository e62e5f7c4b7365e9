/** Domain names as they stand on the wire (DN-1 to DN-3). */
import { concatBytes, malformed, type Parsed, parsed } from "../base/index.ts";

export interface Name {
  /** Uncompressed: length octets, labels and the final zero. */
  readonly wire: Uint8Array<ArrayBuffer>;
  /** The same octets with A-Z folded to a-z, as latin1 text: what names are compared by (RFC 4343). */
  readonly key: string;
}

export type MalformedName = "bad-name";

const LABEL_BYTES_MAX = 63;
const NAME_BYTES_MAX = 255;
const POINTER = 0xc0;
/** A pointer cannot lead into the header (RFC 1035 §4.1.4). */
export const HEADER_BYTES = 12;

/**
 * Reads a name that may be compressed.
 * @returns the name and the offset behind its own octets
 */
export function parseName(
  message: Uint8Array,
  at: number,
): Parsed<{ readonly name: Name; readonly end: number }, MalformedName> {
  const labels: Uint8Array[] = [];
  let bytes = 1;
  let end: number | undefined;
  // Each jump leads to before the part that is being read, so that reading ends.
  let bound = at;
  for (let next = at; ; ) {
    const length = message[next];
    if (length === undefined) return malformed("bad-name");
    if (length >= POINTER) {
      const low = message[next + 1];
      if (low === undefined) return malformed("bad-name");
      const target = ((length & ~POINTER) << 8) | low;
      if (target < HEADER_BYTES || target >= bound) return malformed("bad-name");
      end ??= next + 2;
      bound = target;
      next = target;
      continue;
    }
    if (length > LABEL_BYTES_MAX) return malformed("bad-name");
    if (length === 0) return parsed({ name: joinLabels(labels), end: end ?? next + 1 });
    bytes += 1 + length;
    if (bytes > NAME_BYTES_MAX || next + 1 + length > message.length) return malformed("bad-name");
    labels.push(message.subarray(next, next + 1 + length));
    next += 1 + length;
  }
}

/** A host name as people write it, with or without the dot at its end; `undefined` when it is none. */
export function toName(text: string): Name | undefined {
  const labels = text.replace(/\.$/, "").split(".");
  const isName = labels.every((label) => /^[\x21-\x7e]+$/.test(label) && label.length <= LABEL_BYTES_MAX);
  if (!isName) return undefined;
  const encoder = new TextEncoder();
  const name = joinLabels(
    labels.map((label) => concatBytes(Uint8Array.of(label.length), encoder.encode(label))),
  );
  return name.wire.length <= NAME_BYTES_MAX ? name : undefined;
}

/** @param labels each with its length octet */
function joinLabels(labels: readonly Uint8Array[]): Name {
  const wire = concatBytes(...labels, Uint8Array.of(0));
  let key = "";
  for (const byte of wire) key += String.fromCharCode(byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte);
  return { wire, key };
}
