/** Changing inputs (TS-40, TS-44): one to sixteen changes each, of bytes, numbers, blocks and words. */
import { concatBytes } from "../../../src/base/index.ts";
import type { Chance } from "../chance.ts";
import { bytesOf } from "../target.ts";

const INTERESTING = [
  0, 1, 2, 3, 4, 7, 8, 15, 16, 20, 31, 32, 63, 64, 100, 127, 128, 255, 256, 512, 1000,
] as const;
const WIDE = [
  1024, 4096, 0x4000, 0x7fff, 0x8000, 0xfffe, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000,
] as const;
const NUMBERS: readonly number[] = [...INTERESTING, ...WIDE, 0xffff_ffff];

export interface Mutator {
  /** @param others inputs from which a piece may be taken */
  mutate(input: Uint8Array, others: readonly Uint8Array[]): Uint8Array;
}

export interface MutatorOptions {
  readonly chance: Chance;
  readonly words: readonly (string | Uint8Array)[];
  readonly mend: ((input: Uint8Array) => Uint8Array) | undefined;
  readonly bytesMax: number;
}

export function createMutator({ chance, words, mend, bytesMax }: MutatorOptions): Mutator {
  const tokens = words.map((word) => (typeof word === "string" ? bytesOf(word) : word));
  return {
    mutate(input, others) {
      let bytes: Uint8Array = Uint8Array.from(input);
      for (let left = 1 + chance.below(chance.pick([1, 2, 4, 16])); left > 0; left--) {
        bytes = change(chance, bytes, others, tokens);
      }
      if (bytes.length > bytesMax) bytes = bytes.subarray(0, bytesMax);
      if (mend !== undefined && !chance.isOneIn(3)) bytes = mend(bytes);
      return bytes;
    },
  };
}

function change(
  chance: Chance,
  bytes: Uint8Array,
  others: readonly Uint8Array[],
  tokens: readonly Uint8Array[],
): Uint8Array {
  const at = chance.below(bytes.length + 1);
  const length = chance.below(Math.min(chance.pick([4, 16, 64, 256]), bytes.length - at) + 1);
  const insert = (piece: Uint8Array): Uint8Array =>
    concatBytes(bytes.subarray(0, at), piece, bytes.subarray(at));
  const overwrite = (piece: Uint8Array): Uint8Array => {
    bytes.set(piece.subarray(0, bytes.length - at), at);
    return bytes;
  };
  switch (chance.below(12)) {
    case 0:
      return overwrite(chance.bytes(1));
    case 1:
      return overwrite(numberOf(chance));
    case 2:
      return concatBytes(bytes.subarray(0, at), bytes.subarray(at + length));
    case 3:
      return insert(bytes.slice(at, at + length));
    case 4:
      return insert(chance.bytes(length));
    case 5:
      return moved(chance, bytes, at, length);
    case 6:
      return spliced(chance, bytes, others);
    case 7:
      return tokens.length === 0 ? bytes : insert(chance.pick(tokens));
    case 8:
      return tokens.length === 0 ? bytes : overwrite(chance.pick(tokens));
    case 9:
      return stepped(chance, bytes, at);
    default:
      if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << chance.below(8));
      return bytes;
  }
}

/** A number at which lengths and counters break, in one, two or four bytes, either end first. */
function numberOf(chance: Chance): Uint8Array {
  const value = chance.pick(NUMBERS);
  const bytes = chance.pick([1, 2, 2, 4]);
  const view = new DataView(new ArrayBuffer(4));
  const isLittle = chance.isOneIn(2);
  if (bytes === 1) view.setUint8(0, value & 0xff);
  else if (bytes === 2) view.setUint16(0, value & 0xffff, isLittle);
  else view.setUint32(0, value >>> 0, isLittle);
  return new Uint8Array(view.buffer, 0, bytes);
}

/** A block of the input, over another place of it. */
function moved(chance: Chance, bytes: Uint8Array, at: number, length: number): Uint8Array {
  const to = chance.below(bytes.length + 1);
  bytes.set(bytes.slice(at, at + length).subarray(0, bytes.length - to), to);
  return bytes;
}

/** The beginning of this input and the end of another. */
function spliced(chance: Chance, bytes: Uint8Array, others: readonly Uint8Array[]): Uint8Array {
  const other = others.length === 0 ? bytes : chance.pick(others);
  const cut = chance.below(bytes.length + 1);
  const from = chance.isOneIn(2) ? Math.min(cut, other.length) : chance.below(other.length + 1);
  return concatBytes(bytes.subarray(0, cut), other.subarray(from));
}

/** A 16-bit number a little larger or smaller: the other side of a boundary. */
function stepped(chance: Chance, bytes: Uint8Array, at: number): Uint8Array {
  if (at + 2 > bytes.length) return bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const isLittle = chance.isOneIn(2);
  view.setUint16(at, view.getUint16(at, isLittle) + chance.between(-8, 8), isLittle);
  return bytes;
}
