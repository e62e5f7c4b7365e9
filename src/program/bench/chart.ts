/** The result as a picture: one SVG that needs nothing else, light or dark as the reader's screen is (PG-202). */
import {
  type Arm,
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

const WIDTH = 960;
const MARGIN = 32;
const COLUMNS = 2;
const GAP = 40;
const PANEL_WIDTH = (WIDTH - 2 * MARGIN - GAP) / COLUMNS;
const BAR = 22;
const BAR_GAP = 8;
const TITLE = 34;
const PANEL_GAP = 30;
const HEADER = 104;
const FOOTER = 56;
const LINE = 20;
/** Of the names of arms before the bars: what a letter takes in wide fonts, and the space behind. */
const LETTER = 9;
const LABEL_GAP = 10;
/** Room for the figure behind the longest bar. */
const FIGURE = 128;

const STYLE = `
  text { font: 14px system-ui, "Segoe UI", Roboto, sans-serif; fill: #24292f }
  .ground { fill: #ffffff } .title { font-size: 24px; font-weight: 650 } .panel { font-weight: 600; font-size: 15px }
  .quiet { fill: #57606a; font-size: 13px } .number { font-variant-numeric: tabular-nums }
  .first { fill: #0b7a75 } .other { fill: #9fb3c8 } .ceiling { fill: #d8dee4 } .range { stroke: #24292f; stroke-width: 1.5; opacity: .55 }
  .win { fill: #0b7a75; font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .ground { fill: #0d1117 } .quiet { fill: #9aa4af } .first { fill: #2fb5ad } .win { fill: #2fb5ad }
    .other { fill: #53677b } .ceiling { fill: #30363d } .range { stroke: #e6edf3 }
  }`;

export function drawChart(result: BenchResult): string {
  const { cells, arms } = result;
  const height = BAR * arms.length + BAR_GAP * (arms.length - 1) + TITLE + PANEL_GAP;
  const rows = Math.ceil(cells.length / COLUMNS);
  const notes = notesOf(result);
  const total = HEADER + rows * height + FOOTER + LINE * (notes.length - 1);
  const panels = cells.map((cell, i) => {
    const x = MARGIN + (i % COLUMNS) * (PANEL_WIDTH + GAP);
    const y = HEADER + Math.floor(i / COLUMNS) * height;
    return `<g transform="translate(${x} ${y})">${drawPanel(cell, arms)}</g>`;
  });
  const { machine, version } = result;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${total}" width="${WIDTH}" height="${total}" role="img">`,
    `<title>Postern ${escapeXml(version)} beside others</title><style>${STYLE}</style>`,
    `<rect class="ground" width="${WIDTH}" height="${total}" rx="12"/>`,
    text(MARGIN, 46, `Postern ${version}`, "title"),
    text(
      MARGIN,
      72,
      `${machine.processor}, ${machine.cores} processors, Linux ${machine.kernel}, ${machine.runtime}`,
      "quiet",
    ),
    ...panels,
    ...notes.map((note, i) => text(MARGIN, total - 26 - LINE * (notes.length - 1 - i), note, "quiet")),
    "</svg>",
    "",
  ].join("\n");
}

/** What a picture must say by itself: it is shown without the table. */
function notesOf(result: BenchResult): readonly string[] {
  const { started, topology, arms, othersShare = 0 } = result;
  const [first] = arms;
  const ratios = arms.length > 1 ? `; ×: ${first?.title} against it, the median of the pairs` : "";
  return [
    `${started.slice(0, 10)}; ${topology}`,
    `${runsOf(result)}; lines: least and most${ratios}`,
    ...arms.flatMap(({ title, note }) => (note === undefined ? [] : [`${title}: ${note}`])),
    ...(othersShare > OTHERS_SHARE_MAX ? [othersNote(othersShare)] : []),
  ];
}

function drawPanel(cell: Cell, all: readonly Arm[]): string {
  const arms = all.filter(({ name }) => valuesOf(cell, name).length > 0);
  const most = Math.max(0, ...cell.samples.map(({ value }) => value));
  const less = cell.better === "lower" ? ", less is better" : "";
  return [
    text(0, 14, cell.title, "panel"),
    text(PANEL_WIDTH, 14, cell.unit + less, "quiet", "end"),
    ...arms.map((arm, i) =>
      drawArm({ cell, arm, most, first: all[0], label: labelOf(all), y: TITLE + i * (BAR + BAR_GAP) }),
    ),
  ].join("");
}

function labelOf(arms: readonly Arm[]): number {
  return LABEL_GAP + LETTER * Math.max(...arms.map(({ title }) => title.length));
}

interface Row {
  readonly cell: Cell;
  readonly arm: Arm;
  /** What the longest bar stands for. */
  readonly most: number;
  readonly first: Arm | undefined;
  /** Width of the names before the bars. */
  readonly label: number;
  readonly y: number;
}

function drawArm({ cell, arm, most, first, label, y }: Row): string {
  const spread = spreadOf(valuesOf(cell, arm.name));
  if (spread === undefined) return "";
  const scale = (value: number): number =>
    label + (most === 0 ? 0 : (value / most) * (PANEL_WIDTH - label - FIGURE));
  const [low, middle, high] = [scale(spread.min), scale(spread.median), scale(spread.max)];
  const line = y + BAR / 2;
  const width = px(Math.max(middle - label, 1));
  const isFirst = arm === first;
  const ratio = isFirst || first === undefined ? undefined : ratioOf(cell, first.name, arm.name)?.median;
  const isWon = ratio !== undefined && ratio > 1 === (cell.better === "higher");
  return [
    text(label - LABEL_GAP, line + 5, arm.title, "", "end"),
    `<rect class="${kindOf(arm, isFirst)}" x="${label}" y="${y}" width="${width}" height="${BAR}" rx="3"/>`,
    `<path class="range" d="M${px(low)} ${line}H${px(high)}"/>`,
    text(px(high + 8), line + 5, figure(spread.median), "number"),
    ratio === undefined
      ? ""
      : text(PANEL_WIDTH, line + 5, `${figure(ratio)} ×`, isWon ? "win" : "quiet", "end"),
  ].join("");
}

function kindOf({ name }: Arm, isFirst: boolean): string {
  if (isFirst) return "first";
  return name === "cable" ? "ceiling" : "other";
}

function px(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function text(x: number | string, y: number, words: string, kind: string, anchor = "start"): string {
  return `<text x="${x}" y="${y}" class="${kind}" text-anchor="${anchor}">${escapeXml(words)}</text>`;
}

function escapeXml(words: string): string {
  return words.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}
