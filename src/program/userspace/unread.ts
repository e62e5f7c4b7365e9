/**
 * Octets that have come on a connection and that nobody has read (PG-125). They lie in blocks, one behind the other:
 * a block that goes to a reader is full, or a copy goes instead, so that what the runtime has to collect is as much
 * as was read. Blocks are used again where the reader brings memory of its own.
 */
import { Buffer } from "node:buffer";

/** Room for the payload of the longest frame. */
const BLOCK_BYTES = 0x10000;
/** A shorter piece that nothing waits before is copied as it is: a block for each would waste too much of it. */
const SHORT_BELOW_BYTES = 0x4000;
/** As many as a turn can bring. */
const SPARE_BLOCKS_MAX = 32;

/** Blocks that nobody uses, of all connections of the process. */
const spare: ArrayBuffer[] = [];

type Piece = Uint8Array<ArrayBuffer>;

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
  let pieces: Piece[] = [];
  return {
    isEmpty: () => pieces.length === 0,
    push(bytes) {
      const filled = fillLast(pieces, bytes);
      if (filled === bytes.length) return;
      const rest = filled === 0 ? bytes : bytes.subarray(filled);
      // Where one waits already, more will come: short ones lie together, too.
      const isAlone = pieces.length === 0 && rest.length < SHORT_BELOW_BYTES;
      pieces.push(isAlone || rest.length > BLOCK_BYTES ? new Uint8Array(rest) : inBlock(rest));
    },
    shift() {
      const piece = pieces.shift();
      return piece === undefined ? new Uint8Array(0) : ownOf(piece);
    },
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

/** Into the room that the last block has left. @returns how much of it */
function fillLast(pieces: Piece[], bytes: Uint8Array): number {
  const last = pieces.at(-1);
  if (last === undefined || !isBlock(last)) return 0;
  const end = last.byteOffset + last.length;
  const octets = Math.min(BLOCK_BYTES - end, bytes.length);
  if (octets === 0) return 0;
  new Uint8Array(last.buffer, end, octets).set(octets === bytes.length ? bytes : bytes.subarray(0, octets));
  pieces[pieces.length - 1] = new Uint8Array(last.buffer, last.byteOffset, last.length + octets);
  return octets;
}

function inBlock(bytes: Uint8Array): Piece {
  const block = spare.pop() ?? (Buffer.allocUnsafeSlow(BLOCK_BYTES).buffer as ArrayBuffer);
  const piece = new Uint8Array(block, 0, bytes.length);
  piece.set(bytes);
  return piece;
}

/** A block that is not filled stays here. */
function ownOf(piece: Piece): Piece {
  if (!isBlock(piece) || piece.length > BLOCK_BYTES / 2) return piece;
  const copy = Buffer.allocUnsafeSlow(piece.length) as Piece;
  copy.set(piece);
  recycle(piece);
  return copy;
}

function isBlock({ buffer }: Piece): boolean {
  return buffer.byteLength === BLOCK_BYTES;
}

function recycle(piece: Piece | undefined): void {
  if (piece !== undefined && isBlock(piece) && spare.length < SPARE_BLOCKS_MAX) spare.push(piece.buffer);
}
