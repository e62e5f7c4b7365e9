/**
 * The anti-replay window of RFC 6479 as WG-48 has it, in the readable form: the twin of the plane's.
 */
const WORDS = 128;
const WORD_BITS = 64n;
const WINDOW = 8128n;

export interface ReplayWindow {
  /** Whether a packet with that counter may be accepted. */
  isNew(counter: bigint): boolean;
  /** Marks an accepted counter; only after `isNew` and a valid tag. */
  mark(counter: bigint): void;
  /** The highest accepted counter, 0 before the first. */
  last(): bigint;
}

export function createReplayWindow(): ReplayWindow {
  const words = new BigUint64Array(WORDS);
  let last = 0n;

  const wordOf = (counter: bigint): number => Number((counter / WORD_BITS) % BigInt(WORDS));
  const bitOf = (counter: bigint): bigint => 1n << (counter % WORD_BITS);

  return {
    isNew(counter) {
      if (counter > last) return true;
      if (last - counter > WINDOW) return false;
      return ((words[wordOf(counter)] ?? 0n) & bitOf(counter)) === 0n;
    },
    mark(counter) {
      if (counter > last) {
        const fresh = counter / WORD_BITS - last / WORD_BITS;
        for (let i = 1n; i <= fresh && i <= BigInt(WORDS); i++) words[wordOf(last + i * WORD_BITS)] = 0n;
        last = counter;
      }
      const word = wordOf(counter);
      words[word] = (words[word] ?? 0n) | bitOf(counter);
    },
    last: () => last,
  };
}
