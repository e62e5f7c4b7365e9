/**
 * Control's view of the plane's memory, and the room in it that control gives out.
 *
 * After the memory has grown `memory.buffer` is a new, longer object on the same bytes (PF-13), so views
 * are taken from here each time and never kept.
 */
import { assert, PosternError } from "../../src/base/index.ts";
import { PAGE_BYTES, type ScratchArea } from "../sys/index.ts";
import { CONSTANTS } from "./layout.ts";
import { roundUp } from "./layout-record.ts";

/** What asconfig.json says of every variant; a memory outside these limits does not link. */
const INITIAL_PAGES = 256;
/** Room for 16 pairs of workers (PG-176) beside 65,536 peers of `postern wg`, or half a million flow records. */
const MAXIMUM_PAGES = 8192;
/** A cache line: no two pieces share one. */
const PIECE_BYTES = 64;

export interface SharedMemory {
  readonly memory: WebAssembly.Memory;
  readonly bytes: Uint8Array;
  /** `words[offset >> 2]` */
  readonly words: Uint32Array;
  /** `longs[offset >> 3]` */
  readonly longs: BigUint64Array;
  /** Zeroed room of at least `bytes`, on a cache line of its own. */
  allocate(bytes: number): number;
  /** Gives back what `allocate` returned, as soon as no worker can see it any more. */
  free(offset: number): void;
}

export interface PlaneMemory {
  readonly memory: WebAssembly.Memory;
  /** Control's own corner, for `openKernel`. */
  readonly scratch: ScratchArea;
}

export function createPlaneMemory(): PlaneMemory {
  return {
    memory: new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum: MAXIMUM_PAGES, shared: true }),
    scratch: { offset: CONSTANTS.SCRATCH_ADDRESS, bytes: CONSTANTS.SCRATCH_BYTES },
  };
}

export function createSharedMemory(memory: WebAssembly.Memory): SharedMemory {
  let views = viewsOf(memory);
  let end: number = CONSTANTS.HEAP_ADDRESS;
  /** Free pieces by length: policies and paths come and go in few sizes. */
  const freeByBytes = new Map<number, number[]>();
  const bytesOf = new Map<number, number>();

  function grow(needed: number): void {
    const missing = Math.ceil((needed - views.bytes.length) / PAGE_BYTES);
    if (missing <= 0) return;
    try {
      memory.grow(Math.max(missing, Math.min(64, MAXIMUM_PAGES - views.bytes.length / PAGE_BYTES)));
    } catch (cause) {
      throw new PosternError(
        "plane-memory",
        `the packet plane needs more than its ${MAXIMUM_PAGES * PAGE_BYTES} bytes of memory`,
        "configure fewer peers",
        { cause },
      );
    }
    views = viewsOf(memory);
  }

  return {
    memory,
    get bytes() {
      return views.bytes;
    },
    get words() {
      return views.words;
    },
    get longs() {
      return views.longs;
    },
    allocate(bytes) {
      const length = sizeClass(bytes);
      const reused = freeByBytes.get(length)?.pop();
      const offset = reused ?? end;
      if (reused === undefined) {
        grow(end + length);
        end += length;
      } else {
        views.bytes.fill(0, offset, offset + length);
      }
      bytesOf.set(offset, length);
      return offset;
    },
    free(offset) {
      const length = bytesOf.get(offset);
      assert(length !== undefined, "only what was given out comes back");
      bytesOf.delete(offset);
      const pieces = freeByBytes.get(length);
      if (pieces === undefined) freeByBytes.set(length, [offset]);
      else pieces.push(offset);
    },
  };
}

function viewsOf({ buffer }: WebAssembly.Memory) {
  return {
    bytes: new Uint8Array(buffer),
    words: new Uint32Array(buffer),
    longs: new BigUint64Array(buffer),
  };
}

/** Small pieces by cache lines, large ones in steps of a quarter: a table that grows reuses older room. */
function sizeClass(bytes: number): number {
  const least = roundUp(Math.max(bytes, 1), PIECE_BYTES);
  if (least <= 4096) return least;
  return roundUp(least, 2 ** (Math.floor(Math.log2(least)) - 2));
}
