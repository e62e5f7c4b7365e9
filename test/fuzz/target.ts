/** What is fuzzed (TS-42): one file each in `targets/`. */

export interface FuzzTarget {
  /** Inputs that are right: everything else grows from them. */
  readonly seeds: readonly Uint8Array[];
  /** What the format knows: its types, magic numbers and words (TS-44). */
  readonly words?: readonly (string | Uint8Array)[];
  /** Makes lengths and checksums right again, as an attacker would. */
  readonly mend?: (input: Uint8Array) => Uint8Array;
  readonly bytesMax: number;
  /** Milliseconds of processor time that no input takes; default: 100 (TS-38). */
  readonly slowMs?: number;
  /** Inputs in the corpus, those that reach most; default: as many as it takes to reach everything. */
  readonly keptMax?: number;
  /** Whatever it throws is a finding, and so is taking long (TS-38). */
  run(input: Uint8Array): void;
}

export type CreateTarget = () => FuzzTarget;

/** Text of an input, any bytes. */
export function textOf(input: Uint8Array): string {
  return new TextDecoder().decode(input);
}

export function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

export interface Piece {
  /** What is done with it: any byte. */
  readonly kind: number;
  readonly bytes: Uint8Array;
}

/** An input as a sequence: `[kind u8][length u16 little-endian][bytes]`, the last as long as there are bytes. */
export function piecesOf(input: Uint8Array, most = 64): readonly Piece[] {
  const pieces: Piece[] = [];
  for (let at = 0; at + 3 <= input.length && pieces.length < most; ) {
    const length = (input[at + 1] ?? 0) | ((input[at + 2] ?? 0) << 8);
    const end = Math.min(input.length, at + 3 + length);
    pieces.push({ kind: input[at] ?? 0, bytes: input.subarray(at + 3, end) });
    at = end;
  }
  return pieces;
}

/** The input that `piecesOf` cuts into these. */
export function joinPieces(...pieces: readonly Piece[]): Uint8Array<ArrayBuffer> {
  const total = pieces.reduce((sum, { bytes }) => sum + 3 + bytes.length, 0);
  const input = new Uint8Array(total);
  let at = 0;
  for (const { kind, bytes } of pieces) {
    input.set([kind, bytes.length & 0xff, bytes.length >> 8], at);
    input.set(bytes, at + 3);
    at += 3 + bytes.length;
  }
  return input;
}

/** A target's own claim. */
export function claim(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`does not hold: ${what}`);
}
