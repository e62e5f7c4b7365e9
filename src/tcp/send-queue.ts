/**
 * What the application has given and the peer has not acknowledged, in the pieces in which it was given: nothing is
 * copied before a frame is written. Positions are offsets in the stream.
 */

interface Piece {
  readonly start: number;
  readonly bytes: Uint8Array;
}

export interface SendQueue {
  /** Offset behind the last octet. */
  end: number;
  /** Offset of the first octet that is still kept. */
  start: number;
  pieces: Piece[];
  /** Index of the first piece that is still needed; those before it are forgotten from time to time. */
  head: number;
}

/** Pieces done with before the list is cut: shifting it for each of them would cost its length every time. */
const SPENT_PIECES_MAX = 64;
/**
 * Small writes behind others are joined in pieces of this size: a stream of single octets would else cost a list entry
 * each. One that nothing waits before, such as a request, is a piece as it is.
 */
const JOIN_BELOW_BYTES = 1_024;
const JOINED_BYTES = 2_048;

export function createSendQueue(): SendQueue {
  return { end: 0, start: 0, pieces: [], head: 0 };
}

/** Appends `bytes`, borrowed until they are released. */
export function append(queue: SendQueue, bytes: Uint8Array): void {
  if (bytes.length === 0) return;
  const isJoined = bytes.length < JOIN_BELOW_BYTES && queue.pieces.length > queue.head;
  const piece = isJoined ? joined(queue, bytes) : { start: queue.end, bytes };
  if (piece !== undefined) queue.pieces.push(piece);
  queue.end += bytes.length;
}

/** Room behind the last piece takes the octets, or a new piece with such room is returned. */
function joined(queue: SendQueue, bytes: Uint8Array): Piece | undefined {
  const last = queue.pieces.at(-1);
  if (last !== undefined) {
    const used = queue.end - last.start;
    // Only pieces of our own are longer than what they hold.
    if (used + bytes.length <= last.bytes.length) {
      last.bytes.set(bytes, used);
      return undefined;
    }
  }
  const own = new Uint8Array(JOINED_BYTES);
  own.set(bytes);
  return { start: queue.end, bytes: own };
}

/** Forgets what lies before `offset`. */
export function release(queue: SendQueue, offset: number): void {
  queue.start = Math.max(queue.start, Math.min(offset, queue.end));
  while (queue.head < queue.pieces.length && endOf(queue, queue.head) <= queue.start) {
    queue.head++;
  }
  if (queue.head === queue.pieces.length || queue.head > SPENT_PIECES_MAX) {
    queue.pieces.splice(0, queue.head);
    queue.head = 0;
  }
}

function endOf({ pieces, end }: SendQueue, index: number): number {
  return pieces[index + 1]?.start ?? end;
}

/** Writes `length` octets from `offset` on to `into` at `at`; all of them are in the queue. */
export function copyTo(queue: SendQueue, offset: number, length: number, into: Uint8Array, at: number): void {
  const last = offset + length;
  for (let i = indexAt(queue, offset); i < queue.pieces.length; i++) {
    const piece = queue.pieces[i];
    if (piece === undefined || piece.start >= last) return;
    const from = Math.max(offset, piece.start);
    const to = Math.min(last, endOf(queue, i));
    into.set(piece.bytes.subarray(from - piece.start, to - piece.start), at + (from - offset));
  }
}

/** The piece in which `offset` lies. */
function indexAt({ pieces, head }: SendQueue, offset: number): number {
  let [low, high] = [head, pieces.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((pieces[middle]?.start ?? 0) <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}
