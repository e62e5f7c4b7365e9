/**
 * A queue whose first element is taken in constant time. `shift` of an array moves all the others: beyond some
 * 16,000 elements V8 takes 0.1 ms for each, and a machine may have as many commands at once as there are peers.
 */
export interface Queue<T> {
  readonly length: number;
  push(...added: readonly T[]): void;
  /** The first, which stays. */
  first(): T | undefined;
  shift(): T | undefined;
  clear(): void;
}

/** Elements already taken are let go when there are so many, and as many as those that wait. */
const COMPACT_AT = 64;

export function createQueue<T>(): Queue<T> {
  let items: T[] = [];
  let taken = 0;
  return {
    get length() {
      return items.length - taken;
    },
    push(...added) {
      for (const item of added) items.push(item);
    },
    first: () => items[taken],
    shift() {
      const item = items[taken];
      if (taken < items.length) taken += 1;
      if (taken === items.length) {
        if (taken > 0) items = [];
        taken = 0;
      } else if (taken >= COMPACT_AT && 2 * taken >= items.length) {
        items = items.slice(taken);
        taken = 0;
      }
      return item;
    },
    clear() {
      items = [];
      taken = 0;
    },
  };
}
