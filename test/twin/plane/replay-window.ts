/** The twin of `assembly/table/replay-window.ts` (WG-48): the set of all counters that were accepted. */

export interface ReplayWindow {
  /** Whether a message with that counter may be accepted: it is new and not too old. */
  isFresh(counter: bigint): boolean;
  /** Remembers the counter of an authentic message. */
  accept(counter: bigint): void;
  /** How many were accepted. */
  accepted(): number;
  /** The highest accepted counter, 0 before the first. */
  highest(): bigint;
}

export const REPLAY_WINDOW = 8128n;

export function createReplayWindow(): ReplayWindow {
  const seen = new Set<bigint>();
  let highest = 0n;
  return {
    isFresh: (counter) => !seen.has(counter) && (seen.size === 0 || highest - counter <= REPLAY_WINDOW),
    accept(counter) {
      seen.add(counter);
      if (counter > highest) highest = counter;
    },
    accepted: () => seen.size,
    highest: () => highest,
  };
}
