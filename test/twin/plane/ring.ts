/** The twin of `assembly/ring.ts`: what a ring holds and when it is full (D-10, PG-51), sharing nothing. */

export interface Ring<T> {
  /** Whether an entry with that many bytes fits. */
  fits(bytes: number): boolean;
  /** Puts an entry that fits. */
  put(item: T, bytes: number): void;
  /** Takes up to `limit`, oldest first. */
  drain(limit: number): readonly T[];
  /** How many entries were put, and how many taken, so far. */
  ends(): { readonly put: number; readonly taken: number };
}

/** `entries` entries and `areaBytes` bytes; every entry's bytes lie in one piece, aligned to 8. */
export function createRing<T>(entries: number, areaBytes: number): Ring<T> {
  let held: { readonly item: T; readonly end: number }[] = [];
  let head = 0;
  let tail = 0;
  let put = 0;

  /** Where the bytes of the next entry would end, counted since the beginning. */
  function endOf(bytes: number): number {
    const length = Math.ceil(bytes / 8) * 8;
    const rest = areaBytes - (head % areaBytes);
    return (length > rest ? head + rest : head) + length;
  }

  return {
    fits: (bytes) => held.length < entries && endOf(bytes) - tail <= areaBytes,
    put(item, bytes) {
      head = endOf(bytes);
      held.push({ item, end: head });
      put++;
    },
    drain(limit) {
      const taken = held.slice(0, limit);
      held = held.slice(limit);
      tail = taken.at(-1)?.end ?? tail;
      return taken.map(({ item }) => item);
    },
    ends: () => ({ put, taken: put - held.length }),
  };
}
