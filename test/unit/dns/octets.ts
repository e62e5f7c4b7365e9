/** Messages as annotated hexadecimal text. */
import { fromHex } from "../../../src/base/index.ts";
import { type Name, toName } from "../../../src/dns/index.ts";

export function octets(text: string): Uint8Array<ArrayBuffer> {
  const bytes = fromHex(text);
  if (bytes === undefined) throw new Error(`${text} is hexadecimal`);
  return bytes;
}

export function nameOf(text: string): Name {
  const name = toName(text);
  if (name === undefined) throw new Error(`${text} is a name`);
  return name;
}

/** `example.com` as it stands in a message. */
export const EXAMPLE = "07 6578616d706c65 03 636f6d 00";

/** A message: four counts, then what follows the header. */
export function message(counts: string, rest: string, flags = "8180", id = "1a2b"): Uint8Array<ArrayBuffer> {
  return octets(`${id} ${flags} ${counts} ${rest}`);
}

export function record(owner: string, type: string, data: string, ttl = "00000001"): string {
  const length = octets(data).length.toString(16).padStart(4, "0");
  return `${owner} ${type} 0001 ${ttl} ${length} ${data}`;
}

/** An OPT record; its owner, size and flags may be wrong on purpose. */
export function opt({ owner = "00", size = "04d0", flags = "00000000", options = "" } = {}): string {
  const length = (options.replace(/\s/g, "").length / 2).toString(16).padStart(4, "0");
  return `${owner} 0029 ${size} ${flags} ${length} ${options}`;
}
