/** A queue that takes its first element out in constant time: the end of an allocation fills it at once. */
export interface Fifo<T> {
  push(item: T): void;
  shift(): T | undefined;
}

/** Elements already taken are let go when there are so many. */
const COMPACT_AT = 1024;

export function createFifo<T>(): Fifo<T> {
  let items: T[] = [];
  let first = 0;
  return {
    push(item) {
      items.push(item);
    },
    shift() {
      const item = items[first];
      if (first < items.length) first += 1;
      if (first === items.length || first >= COMPACT_AT) {
        items = items.slice(first);
        first = 0;
      }
      return item;
    },
  };
}
