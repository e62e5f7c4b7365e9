/**
 * Time as machines see it: whole milliseconds of a monotonic clock that also counts suspend
 * (CLOCK_BOOTTIME in production, virtual in tests). It enters only through `now` arguments.
 */
export type Instant = number & { readonly __instant: never };

/** Milliseconds since 1970-01-01 UTC. Only expiry dates and time stamps on the wire use it. */
export type UnixMs = number & { readonly __unixMs: never };

export function instant(ms: number): Instant {
  return ms as Instant;
}

export function unixMs(ms: number): UnixMs {
  return ms as UnixMs;
}

/**
 * A whole millisecond, never before the duration is over: a deadline between two would be due to a clock that is
 * read more finely, and not yet to the machine, which would be woken in vain until the next (D-14).
 */
export function after(start: Instant, durationMs: number): Instant {
  return Math.ceil(start + durationMs) as Instant;
}

/** The earliest of the given deadlines; `undefined` entries do not count. */
export function earliest(...deadlines: readonly (Instant | undefined)[]): Instant | undefined {
  let first: Instant | undefined;
  for (const deadline of deadlines) {
    if (deadline !== undefined && (first === undefined || deadline < first)) first = deadline;
  }
  return first;
}
