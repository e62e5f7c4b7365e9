/** Text for people, within the width of a terminal (PG-111). Pure. */

export const WIDTH = 80;
const GAP = "  ";

export interface Column {
  readonly title: string;
  /** Numbers stand at the right of their column. */
  readonly isNumber?: true;
  /** It may be cut, down to this many characters, when a line would be too long. */
  readonly least?: number;
}

/** Columns as wide as they need, of which some are cut so that no line is longer than `WIDTH`. */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const cells = [columns.map(({ title }) => title), ...rows.map((row) => row.map(printable))];
  const widths = shrink(
    columns,
    columns.map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0))),
  );
  return cells.map((row) =>
    columns
      .map(({ isNumber }, i) => {
        const width = widths[i] ?? 0;
        const text = cut(row[i] ?? "", width);
        return isNumber ? text.padStart(width) : text.padEnd(width);
      })
      .join(GAP)
      .trimEnd(),
  );
}

/** What may be cut gives way in the order of the columns. */
function shrink(columns: readonly Column[], wanted: readonly number[]): readonly number[] {
  let excess = wanted.reduce((a, b) => a + b, 0) + GAP.length * (wanted.length - 1) - WIDTH;
  return wanted.map((width, i) => {
    const least = columns[i]?.least ?? width;
    const less = Math.max(0, Math.min(excess, width - least));
    excess -= less;
    return width - less;
  });
}

/** Names come from others: a control character must not reach the terminal. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, " ");
}

export function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}

/** `1.2 MB`, factor 1000 (PG-115). */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  const text = unit === 0 || value >= 99.95 ? String(Math.round(value)) : value.toFixed(1);
  return `${text} ${units[unit]}`;
}

/** `12s`, `3m12s`, `5h02m`, `3d04h`. */
export function formatSeconds(seconds: number): string {
  const [s, m, h, d] = [
    seconds % 60,
    Math.floor(seconds / 60) % 60,
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 86_400),
  ];
  const two = (value: number): string => String(value).padStart(2, "0");
  if (d > 0) return `${d}d${two(h)}h`;
  if (h > 0) return `${h}h${two(m)}m`;
  return m > 0 ? `${m}m${two(s)}s` : `${s}s`;
}

/** Lines of words, none longer than `WIDTH`; the first begins with `lead`, the others with `indent`. */
export function wrap(text: string, indent = "", lead = ""): readonly string[] {
  const [first = "", ...others] = text.split(" ");
  const lines: string[] = [];
  let line = `${lead}${first}`;
  for (const word of others) {
    if (line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = `${indent}${word}`;
    } else line = `${line} ${word}`;
  }
  return [...lines, line];
}
