/** Medians and ratios of alternating runs (TS-50). */

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return undefined;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The value below which the given share of the values lies. */
export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

export function summary(values) {
  if (values.length === 0) return undefined;
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** The mean of ratios, by their logarithms, and its standard error as a share; fewer than two have none. */
export function meanOfRatios(ratios) {
  if (ratios.length < 2) return undefined;
  const logs = ratios.map(Math.log);
  const mean = logs.reduce((a, b) => a + b) / logs.length;
  const squares = logs.reduce((sum, log) => sum + (log - mean) ** 2, 0);
  return { mean: Math.exp(mean), error: Math.sqrt(squares / (logs.length - 1) / logs.length) };
}

/** (max − min) / median: a baseline above 15 % makes a run invalid. */
export function spread(values) {
  const { median: middle, min, max } = summary(values);
  return (max - min) / middle;
}

/** Repeatable order of the arms within pairs (TS-50). */
export function createDraw(seed) {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

export function shuffled(values, draw) {
  const left = [...values];
  const order = [];
  while (left.length > 0) order.push(...left.splice(Math.floor(draw() * left.length), 1));
  return order;
}
