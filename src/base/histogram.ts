/** Observations in buckets of fixed bounds. */

/** What a histogram holds: observations up to each bound, and all of them. */
export interface HistogramValue {
  /** Upper bounds, rising; without that of infinity. */
  readonly bounds: readonly number[];
  /** Observations at or below each bound that are above the one before it; the last: above all. */
  readonly counts: readonly number[];
  readonly sum: number;
}

export interface Histogram {
  observe(value: number): void;
  read(): HistogramValue;
}

/** @param bounds upper bounds, rising */
export function createHistogram(bounds: readonly number[]): Histogram {
  const counts = new Array<number>(bounds.length + 1).fill(0);
  let sum = 0;
  return {
    observe(value) {
      const at = bounds.findIndex((bound) => value <= bound);
      const place = at < 0 ? bounds.length : at;
      counts[place] = (counts[place] ?? 0) + 1;
      sum += value;
    },
    read: () => ({ bounds, counts: [...counts], sum }),
  };
}
