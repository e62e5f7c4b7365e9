/** What a benchmark has measured, as plain data: printed, drawn, written as JSON, compared (PG-200 to PG-203). */

/** Whether more or less of it is good. */
export type Better = "higher" | "lower";

export interface Sample {
  readonly arm: string;
  /** Runs of one pair lie beside each other in time; only they are compared. */
  readonly pair: number;
  readonly value: number;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface Cell {
  readonly name: string;
  readonly title: string;
  readonly unit: string;
  readonly better: Better;
  readonly samples: readonly Sample[];
}

export interface Arm {
  readonly name: string;
  readonly title: string;
  /** What a reader has to know of it, such as missing offloads. */
  readonly note?: string;
}

export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly kernel: string;
  readonly runtime: string;
}

export interface BenchResult {
  readonly v: 1;
  readonly version: string;
  /** ISO 8601, UTC. */
  readonly started: string;
  readonly machine: Machine;
  /** What lies between the two ends. */
  readonly topology: string;
  readonly pairs: number;
  readonly seconds: number;
  /** The first is Postern, where there is more than one. */
  readonly arms: readonly Arm[];
  readonly cells: readonly Cell[];
  /** What could not be measured, and what to do for it. */
  readonly missing: readonly string[];
  /** What other programs used of the processors meanwhile, as a share of one; absent: not known. */
  readonly othersShare?: number;
}

/** Above it figures say little (TS-50). */
export const OTHERS_SHARE_MAX = 0.05;

export function othersNote(share: number): string {
  return `Other programs used ${Math.round(share * 100)} % of a processor meanwhile: ratios say more than figures.`;
}

export function spreadOf(values: readonly number[]): Spread | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  const [min, max] = [sorted[0], sorted.at(-1)];
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  if (min === undefined || max === undefined || low === undefined || high === undefined) return undefined;
  return { median: (low + high) / 2, min, max };
}

export function valuesOf(cell: Cell, arm: string): readonly number[] {
  return cell.samples.filter((sample) => sample.arm === arm).map(({ value }) => value);
}

/** How the first arm stands to another, pair by pair: 2 is twice the value. */
export function ratioOf(cell: Cell, first: string, other: string): Spread | undefined {
  const ratios: number[] = [];
  for (const { arm, pair, value } of cell.samples) {
    if (arm !== first) continue;
    const against = cell.samples.find((sample) => sample.arm === other && sample.pair === pair);
    if (against !== undefined && against.value > 0) ratios.push(value / against.value);
  }
  return spreadOf(ratios);
}

export function runsOf({ pairs, seconds }: BenchResult): string {
  return pairs === 1 ? `one run of ${seconds} s` : `medians of ${pairs} alternating runs of ${seconds} s`;
}

/** Three significant figures: more are noise. */
export function figure(value: number): string {
  if (value === 0) return "0";
  if (Math.abs(value) >= 1000) return String(Math.round(value));
  return String(Number(value.toPrecision(3)));
}
