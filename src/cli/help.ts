/** Usage on stdout, made from the tables (PG-1). */
import type { Command } from "./commands.ts";
import type { OptionSpec, OptionTable } from "./options.ts";
import { variableOf } from "./parse.ts";

const COLUMN = 30;
const WIDTH = 96;

/** `postern help`. */
export function formatOverview(commands: readonly Command[], version: string): string {
  const lines = commands.map(({ name, summary }) => row(`  ${name}`, summary, 14));
  return [
    `postern ${version}: access to private resources through WireGuard tunnels`,
    "",
    "Usage: postern COMMAND [OPTIONS]",
    "",
    "Commands:",
    ...lines,
    row("  help", "this, or `postern help COMMAND` with options and examples", 14),
    "",
    "  -h, --help      of a command, the same as `postern help COMMAND`",
    "  -V, --version   prints the version",
    "",
    "Try it: postern demo",
  ].join("\n");
}

/** `postern help COMMAND`. */
export function formatCommand({ name, summary, usage, options, examples }: Command): string {
  const now = describeOptions(options, (spec) => spec.isLater !== true);
  const later = describeOptions(options, (spec) => spec.isLater === true);
  return [
    `postern ${name}: ${summary}`,
    "",
    `Usage: postern ${[name, usage, "[OPTIONS]"].filter((part) => part !== "").join(" ")}`,
    "",
    "Options:",
    ...now,
    row("  -h, --help", "this"),
    ...(later.length === 0 ? [] : ["", "Accepted, without effect in this release:", ...later]),
    "",
    "Each option --some-name can be given as the variable POSTERN_SOME_NAME, unless (no variable).",
    "",
    "Examples:",
    ...examples.flatMap(([line, what]) => [`  ${line}`, `      ${what}`]),
  ].join("\n");
}

function describeOptions(table: OptionTable, isWanted: (spec: OptionSpec) => boolean): string[] {
  return Object.entries(table)
    .filter(([, spec]) => isWanted(spec))
    .map(([name, spec]) => {
      const short = spec.short === undefined ? "    " : `-${spec.short}, `;
      const value = spec.kind === "flag" ? "" : ` ${valueName(spec)}`;
      return row(`  ${short}--${name}${value}`, describe(name, spec));
    });
}

function valueName(spec: Exclude<OptionSpec, { kind: "flag" }>): string {
  return spec.kind === "choice" ? spec.choices.join("|") : spec.value;
}

function describe(name: string, spec: OptionSpec): string {
  const notes: string[] = [];
  if (spec.kind === "text" && spec.isRequired) notes.push("required");
  if (spec.kind === "list") notes.push("may be repeated");
  if (spec.kind === "duration" && spec.default !== undefined) notes.push(`default ${spec.default / 1000}s`);
  if (
    (spec.kind === "text" || spec.kind === "integer" || spec.kind === "choice") &&
    spec.default !== undefined
  ) {
    notes.push(`default ${spec.default}`);
  }
  if (spec.hasVariable === false) notes.push("no variable");
  const aliases = (spec.aliases ?? []).filter((alias) => alias !== variableOf(name));
  if (aliases.length > 0) notes.push(`also ${aliases.join(", ")}`);
  return notes.length === 0 ? spec.help : `${spec.help} (${notes.join("; ")})`;
}

/** Two columns; a long left side has a line of its own. */
function row(left: string, right: string, column = COLUMN): string {
  const lines = wrap(right, WIDTH - column);
  const indent = " ".repeat(column);
  if (left.length > column - 2) return [left, ...lines.map((line) => indent + line)].join("\n");
  return lines.map((line, i) => (i === 0 ? left.padEnd(column) : indent) + line).join("\n");
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
