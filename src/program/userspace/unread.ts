/**
 * Octets that have come on a connection and that nobody has read (PG-125). Long pieces lie in blocks that are used
 * again where the reader brings memory of its own: fresh memory for each of them would make the runtime collect
 * garbage every few megabytes.
 */
import { Buffer } from "node:buffer";

/** Room for the payload of the longest frame. */
const BLOCK_BYTES = 0x10000;
/** Shorter pieces are copied as they are: a block for each would waste too much of it. */
const SHORT_BELOW_BYTES = 0x4000;
/** As many as a turn can bring. */
const SPARE_BLOCKS_MAX = 32;

/** Blocks that nobody uses, of all connections of the process. */
const spare: ArrayBuffer[] = [];

export interface Unread {
  isEmpty(): boolean;
  /** Copies `bytes`. */
  push(bytes: Uint8Array): void;
  /** The next piece, which is the caller's with all of its memory; empty if there is none. */
  shift(): Uint8Array<ArrayBuffer>;
  /** Copies as much as there is and `into` holds. @returns how much that is */
  copyTo(into: Uint8Array): number;
  clear(): void;
}

export function createUnread(): Unread {
  let pieces: Uint8Array<ArrayBuffer>[] = [];
  return {
    isEmpty: () => pieces.length === 0,
    push(bytes) {
      if (bytes.length > 0) pieces.push(pieceOf(bytes));
    },
    shift: () => pieces.shift() ?? new Uint8Array(0),
    copyTo(into) {
      let used = 0;
      for (let piece = pieces[0]; piece !== undefined && used < into.length; piece = pieces[0]) {
        const octets = Math.min(piece.length, into.length - used);
        into.set(octets === piece.length ? piece : piece.subarray(0, octets), used);
        used += octets;
        if (octets < piece.length) pieces[0] = piece.subarray(octets);
        else recycle(pieces.shift());
      }
      return used;
    },
    clear() {
      for (const piece of pieces) recycle(piece);
      pieces = [];
    },
  };
}

function pieceOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  if (bytes.length < SHORT_BELOW_BYTES || bytes.length > BLOCK_BYTES) return new Uint8Array(bytes);
  const block = spare.pop() ?? (Buffer.allocUnsafeSlow(BLOCK_BYTES).buffer as ArrayBuffer);
  const piece = new Uint8Array(block, 0, bytes.length);
  piece.set(bytes);
  return piece;
}

function recycle(piece: Uint8Array<ArrayBuffer> | undefined): void {
  if (piece?.buffer.byteLength === BLOCK_BYTES && spare.length < SPARE_BLOCKS_MAX) spare.push(piece.buffer);
}
