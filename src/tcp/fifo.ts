/** First in, first out, at the same cost however long it is. */
export interface Fifo<T> {
  push(item: T): void;
  shift(): T | undefined;
  size(): number;
}

const SPENT_MAX = 256;

export function createFifo<T>(): Fifo<T> {
  let items: (T | undefined)[] = [];
  let head = 0;
  return {
    push: (item) => {
      items.push(item);
    },
    shift() {
      const item = items[head];
      if (head === items.length) return undefined;
      items[head++] = undefined;
      if (head === items.length || head > SPENT_MAX) {
        items = items.slice(head);
        head = 0;
      }
      return item;
    },
    size: () => items.length - head,
  };
}
