/** Corpora in the tree (TS-43): a tar of inputs, named by their hash, that is the same bytes whoever packs it. */
import { createHash } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";

const BLOCK = 512;
/** Of an entry's header (POSIX ustar): where fields lie that are read again. */
const [NAME_BYTES, SIZE_AT, SIZE_BYTES, SUM_AT, SUM_BYTES] = [100, 124, 12, 148, 8];

export function nameOf(input: Uint8Array): string {
  return createHash("sha256").update(input).digest("hex").slice(0, 16);
}

export function packCorpus(inputs: readonly Uint8Array[]): Uint8Array {
  const named = new Map(inputs.map((input) => [nameOf(input), input]));
  const blocks: Uint8Array[] = [];
  for (const name of [...named.keys()].sort()) {
    const input = named.get(name) ?? new Uint8Array();
    const padded = new Uint8Array(Math.ceil(input.length / BLOCK) * BLOCK);
    padded.set(input);
    blocks.push(headerOf(name, input.length), padded);
  }
  const tar = Buffer.concat([...blocks, new Uint8Array(2 * BLOCK)]);
  const packed = gzipSync(tar, { level: 9 });
  // Byte 9 names the system that packed it.
  packed[9] = 0xff;
  return packed;
}

export function unpackCorpus(packed: Uint8Array): readonly Uint8Array[] {
  const tar = new Uint8Array(gunzipSync(packed));
  const inputs: Uint8Array[] = [];
  for (let at = 0; at + BLOCK <= tar.length && tar[at] !== 0; ) {
    const octal = new TextDecoder().decode(tar.subarray(at + SIZE_AT, at + SIZE_AT + SIZE_BYTES));
    const length = Number.parseInt(octal, 8);
    inputs.push(tar.slice(at + BLOCK, at + BLOCK + length));
    at += BLOCK + Math.ceil(length / BLOCK) * BLOCK;
  }
  return inputs;
}

function headerOf(name: string, length: number): Uint8Array {
  const header = new Uint8Array(BLOCK);
  const write = (at: number, text: string): void => header.set(new TextEncoder().encode(text), at);
  write(0, name);
  // Mode, owner, group; size; time.
  write(NAME_BYTES, "0000644\x000000\x000000\0");
  write(SIZE_AT, `${length.toString(8).padStart(SIZE_BYTES - 1, "0")}\0`);
  write(SIZE_AT + SIZE_BYTES, "00000000000\0");
  write(SUM_AT, " ".repeat(SUM_BYTES));
  write(SUM_AT + SUM_BYTES, "0");
  write(257, "ustar\x0000");
  const sum = header.reduce((total, byte) => total + byte, 0);
  write(SUM_AT, `${sum.toString(8).padStart(6, "0")}\0 `);
  return header;
}
