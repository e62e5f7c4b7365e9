/** The table that a person reads (PG-201). */
import { formatTable } from "../ask/table.ts";
import {
  type BenchResult,
  type Cell,
  figure,
  OTHERS_SHARE_MAX,
  othersNote,
  ratioOf,
  runsOf,
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

/**
 * Two results beside each other. A change counts as real only where the ranges do not overlap (TS-60).
 */
export function formatComparison(before: BenchResult, now: BenchResult): readonly string[] {
  const rows: (readonly string[])[] = [];
  for (const cell of now.cells) {
    const earlier = before.cells.find(({ name }) => name === cell.name);
    for (const { name, title } of now.arms) {
      const row = earlier && comparisonOf(earlier, cell, name);
      if (row !== undefined) rows.push([`${cell.title}, ${title}`, cell.unit, ...row]);
    }
  }
  if (rows.length === 0) return ["The two results have nothing in common that could be compared."];
  return [`Before: ${before.started}, Postern ${before.version}`, "", ...formatTable(COMPARED, rows)];
}

function comparisonOf(before: Cell, now: Cell, arm: string): readonly string[] | undefined {
  const [old, present] = [spreadOf(valuesOf(before, arm)), spreadOf(valuesOf(now, arm))];
  if (old === undefined || present === undefined) return undefined;
  const isReal = present.min > old.max || present.max < old.min;
  const isBetter = present.median > old.median === (now.better === "higher");
  const verdict = isReal ? (isBetter ? "better" : "worse") : "within the noise";
  return [figure(old.median), figure(present.median), figure(present.median / old.median), verdict];
}
