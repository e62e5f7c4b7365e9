/** Datagrams of control that wait for room in the socket, in their order (PG-46). */
import type { Instant, Log } from "../../base/index.ts";

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
  const unsent: { readonly transmit: T; readonly since: Instant }[] = [];
  /** Moments in which the socket was busy, one after the other: a turn may try more than once. */
  let failures = 0;
  let failedAt: Instant | undefined;

  function dropOld(now: Instant): void {
    const fresh = unsent.findIndex(({ since }) => now - since <= UNSENT_MS_MAX);
    const old = fresh < 0 ? unsent.length : fresh;
    const lost = Math.max(old, unsent.length - UNSENT_MAX);
    unsent.splice(0, lost);
    if (lost > 0) onLost(lost);
  }

  return {
    add(now, transmit) {
      unsent.push({ transmit, since: now });
    },
    flush(now) {
      if (unsent.length === 0) return;
      for (let next = unsent[0]; next !== undefined; next = unsent[0]) {
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
