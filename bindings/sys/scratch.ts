/**
 * Control's own corner of the shared memory, where the arguments of its system calls are laid out.
 *
 * It is a stack: what a call takes inside `frame` is free again when the frame ends. So nothing has to
 * be given back one by one, and nothing leaks when a call throws. Only the control thread uses it.
 */
import { assert } from "../../src/base/index.ts";

/** Where the corner lies. */
export interface ScratchArea {
  readonly offset: number;
  readonly bytes: number;
}

export interface Scratch {
  /** Runs `use` with room that is given back when it returns or throws. Frames nest. */
  frame<T>(use: (room: ScratchRoom) => T): T;
}

/** One frame's room. Offsets count from the start of the shared memory, as `SysCalls` wants them. */
export interface ScratchRoom {
  /** Takes zeroed bytes, aligned to 8; returns their offset. */
  take(bytes: number): number;
  /** Takes room for a copy of `bytes`; returns its offset. */
  put(bytes: Uint8Array): number;
  /** The bytes at an offset: borrowed, valid until the frame ends. */
  bytes(offset: number, length: number): Uint8Array;
  /** The whole memory, little-endian by the caller's arguments. */
  readonly view: DataView;
}

/** WebAssembly's memories grow by pages of this size. */
export const PAGE_BYTES = 0x10000;

const ALIGNMENT_BYTES = 8;

export function createScratch(memory: WebAssembly.Memory, area: ScratchArea): Scratch {
  assert(area.offset % ALIGNMENT_BYTES === 0, "scratch is aligned");
  let next = area.offset;
  const end = area.offset + area.bytes;

  function take(bytes: number): number {
    const at = next;
    next += Math.ceil(bytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
    assert(next <= end, `scratch of ${area.bytes} bytes holds ${bytes} more`);
    new Uint8Array(memory.buffer, at, bytes).fill(0);
    return at;
  }

  return {
    frame(use) {
      const mark = next;
      // After the memory grew its buffer is a new object (PF-13): views are made per frame.
      const view = new DataView(memory.buffer);
      const whole = new Uint8Array(memory.buffer);
      try {
        return use({
          view,
          take,
          put(bytes) {
            const at = take(bytes.length);
            whole.set(bytes, at);
            return at;
          },
          bytes: (offset, length) => whole.subarray(offset, offset + length),
        });
      } finally {
        next = mark;
      }
    },
  };
}
