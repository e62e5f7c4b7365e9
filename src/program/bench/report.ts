/** The table that a person reads (PG-201). */
import { formatTable } from "../ask/table.ts";
import {
  type Arm,
  type BenchResult,
  type Better,
  type Cell,
  figure,
  OTHERS_SHARE_MAX,
  othersNote,
  ratioOf,
  runsOf,
  type Spread,
  spreadOf,
  valuesOf,
} from "./result.ts";

export function formatReport(result: BenchResult): readonly string[] {
  const { machine, arms, topology } = result;
  return [
    `Postern ${result.version} on ${machine.runtime}; ${machine.processor}, ${machine.cores} processors, Linux ${machine.kernel}`,
    `${topology}; ${runsOf(result)}; ×: the median of the ratios of pairs`,
    ...arms.flatMap(({ title, note }) => (note === undefined ? [] : [`${title}: ${note}`])),
    "",
    ...tableOf(result),
    ...notesOf(result),
  ];
}

function tableOf({ arms, cells }: BenchResult): readonly string[] {
  const [first, ...others] = arms;
  const numbers = [...arms.map(({ title }) => title), ...others.map(({ title }) => `× ${title}`)];
  return formatTable(
    [{ title: "" }, { title: "unit" }, ...numbers.map((title) => ({ title, isNumber: true as const }))],
    cells.map((cell) => [
      cell.title,
      cell.unit,
      ...arms.map(({ name }) => textOf(spreadOf(valuesOf(cell, name))?.median)),
      ...others.map(({ name }) => textOf(first && ratioOf(cell, first.name, name)?.median)),
    ]),
  );
}

function textOf(value: number | undefined): string {
  return value === undefined ? "–" : figure(value);
}

function notesOf({ othersShare = 0, missing, cells }: BenchResult): readonly string[] {
  const notes = [...missing];
  if (othersShare > OTHERS_SHARE_MAX) notes.push(`${othersNote(othersShare)} Repeat it when they rest.`);
  if (cells.some(({ better }) => better === "lower"))
    notes.push("Of round trips, start and processor time less is better.");
  return notes.length === 0 ? [] : ["", ...notes];
}

const COMPARED = [
  { title: "" },
  { title: "unit" },
  { title: "before", isNumber: true },
  { title: "now", isNumber: true },
  { title: "ratio", isNumber: true },
  { title: "" },
] as const;

/** The least and the most of fewer runs than these say nothing. */
const RUNS_MIN = 3;

/**
 * Two results beside each other. A change counts as real only where the ranges of the ratios do not overlap (TS-60):
 * how busy or fast the machine was is in all arms of a pair. Where nothing else was measured, those of the values.
 */
export function formatComparison(before: BenchResult, now: BenchResult): readonly string[] {
  const rows = now.cells.flatMap((cell) => {
    const earlier = before.cells.find(({ name }) => name === cell.name);
    return earlier === undefined ? [] : comparisonOf(earlier, cell, now.arms);
  });
  if (rows.length === 0) return ["The two results have nothing in common that could be compared."];
  return [`Before: ${before.started}, Postern ${before.version}`, "", ...formatTable(COMPARED, rows)];
}

/** The first arm's values, and its ratios to the others. */
function comparisonOf(before: Cell, now: Cell, arms: readonly Arm[]): readonly (readonly string[])[] {
  const [first, ...others] = arms;
  if (first === undefined) return [];
  const valuesIn = (cell: Cell): readonly number[] => valuesOf(cell, first.name);
  const runs = Math.min(valuesIn(before).length, valuesIn(now).length);
  const of = (old: Spread | undefined, present: Spread | undefined, title: string, unit: string) => {
    if (old === undefined || present === undefined) return [];
    const figures = [old.median, present.median, present.median / old.median].map(figure);
    const verdict = runs < RUNS_MIN ? "too few runs to say" : verdictOf(old, present, now.better);
    return [[title, unit, ...figures, verdict]];
  };
  const ratios = others.flatMap(({ name, title }) => {
    const ratio = (cell: Cell): Spread | undefined => ratioOf(cell, first.name, name);
    return of(ratio(before), ratio(now), `${now.title}, ${first.title} against ${title}`, "×");
  });
  const own = of(
    spreadOf(valuesIn(before)),
    spreadOf(valuesIn(now)),
    `${now.title}, ${first.title}`,
    now.unit,
  );
  return ratios.length === 0 ? own : [...own.map((row) => [...row.slice(0, -1), ""]), ...ratios];
}

function verdictOf(before: Spread, now: Spread, better: Better): string {
  const isReal = now.min > before.max || now.max < before.min;
  if (!isReal) return "within the noise";
  return now.median > before.median === (better === "higher") ? "better" : "worse";
}
