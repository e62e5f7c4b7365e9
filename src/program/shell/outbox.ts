/** Datagrams of control that wait for room in the socket, in their order (PG-46). */
import { createQueue, type Instant, type Log } from "../../base/index.ts";

/** Beyond it the oldest is lost, as on any path. */
const UNSENT_MAX = 256;
/** What waits longer is lost, too: who sent it has asked again by then. */
const UNSENT_MS_MAX = 1_000;
const RETRY_MS_FIRST = 1;
const RETRY_MS_MAX = 64;

export interface Outbox<T> {
  add(now: Instant, transmit: T): void;
  /** Sends until the socket is busy. */
  flush(now: Instant): void;
  /** How soon to try again: 1, 2, 4 … 64 ms; `undefined`: nothing waits. */
  retryInMs(): number | undefined;
}

/** @param onLost how many were lost for want of room */
export function createOutbox<T>(
  send: (transmit: T) => "done" | "busy",
  onLost: (count: number) => void = () => {},
): Outbox<T> {
  const unsent = createQueue<{ readonly transmit: T; readonly since: Instant }>();
  /** Moments in which the socket was busy, one after the other: a turn may try more than once. */
  let failures = 0;
  let failedAt: Instant | undefined;

  function dropOld(now: Instant): void {
    const before = unsent.length;
    for (let first = unsent.first(); first !== undefined; first = unsent.first()) {
      if (unsent.length <= UNSENT_MAX && now - first.since <= UNSENT_MS_MAX) break;
      unsent.shift();
    }
    const lost = before - unsent.length;
    if (lost > 0) onLost(lost);
  }

  return {
    add(now, transmit) {
      unsent.push({ transmit, since: now });
    },
    flush(now) {
      if (unsent.length === 0) return;
      for (let next = unsent.first(); next !== undefined; next = unsent.first()) {
        if (send(next.transmit) === "busy") {
          if (now !== failedAt) failures++;
          failedAt = now;
          return dropOld(now);
        }
        unsent.shift();
      }
      failures = 0;
      failedAt = undefined;
    },
    retryInMs: () =>
      unsent.length === 0
        ? undefined
        : Math.min(RETRY_MS_MAX, RETRY_MS_FIRST * 2 ** Math.max(0, failures - 1)),
  };
}

/** For `createOutbox`: not one line for each. */
export function tellLost(log: Log): (count: number) => void {
  return (count) => log.warn?.("the transport socket has no room for what control sends", { lost: count });
}
