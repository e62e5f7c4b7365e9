/**
 * A binary heap by the next deadline, so that ten thousand idle peers or allocations cost nothing until one
 * of them is due. Each entry knows its place, which makes changing it cheap.
 */
import type { Instant } from "./instant.ts";

/** @typeParam At by which clock: the monotonic one, unless it is said */
export interface QueueEntry<At extends number = Instant> {
  dueAt: At | undefined;
  /** Maintained by the queue; -1 while not in it. */
  place: number;
}

export interface DeadlineQueue<T extends QueueEntry<number>> {
  first(): T | undefined;
  /** Sets the deadline of `entry`; `undefined` takes it out. */
  set(entry: T, dueAt: T["dueAt"]): void;
}

export function createDeadlineQueue<T extends QueueEntry<number>>(): DeadlineQueue<T> {
  const heap: T[] = [];
  const due = (place: number): number => heap[place]?.dueAt ?? Number.POSITIVE_INFINITY;

  function put(entry: T, place: number): void {
    heap[place] = entry;
    entry.place = place;
  }

  function rise(entry: T): void {
    let place = entry.place;
    while (place > 0) {
      const parent = heap[(place - 1) >> 1];
      if (parent === undefined || (parent.dueAt ?? 0) <= due(place)) break;
      const parentPlace = parent.place;
      put(parent, place);
      put(entry, parentPlace);
      place = parentPlace;
    }
  }

  function sink(entry: T): void {
    for (;;) {
      const left = 2 * entry.place + 1;
      const lesser = due(left + 1) < due(left) ? left + 1 : left;
      const child = heap[lesser];
      if (child === undefined || due(lesser) >= (entry.dueAt ?? 0)) return;
      const place = entry.place;
      put(entry, lesser);
      put(child, place);
    }
  }

  function remove(entry: T): void {
    const last = heap.pop();
    if (last !== undefined && last !== entry) {
      put(last, entry.place);
      rise(last);
      sink(last);
    }
    entry.place = -1;
  }

  return {
    first: () => heap[0],
    set(entry, dueAt) {
      entry.dueAt = dueAt;
      if (dueAt === undefined) {
        if (entry.place >= 0) remove(entry);
        return;
      }
      if (entry.place < 0) put(entry, heap.length);
      rise(entry);
      sink(entry);
    },
  };
}
