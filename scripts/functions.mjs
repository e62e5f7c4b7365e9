/**
 * Functions longer than 70 lines (style: a function fits on a screen). Generated files are left out,
 * and the callbacks of `describe`, which are the chapters of a test file.
 *
 *   node scripts/functions.mjs
 *
 * Biome parses and names the places; its own count leaves out blank lines and comments, ours is what
 * an editor shows from `function` to the closing brace.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { inReadableCopy } from "./assembly-style.mjs";
import { BIN, ROOT, run } from "./steps.mjs";

const LINES_MAX = 70;
const FOLDERS = ["src", "bindings", "test", "bench", "scripts"];

/** What Biome is asked for: the place of every function of more than one line. */
const CONFIGURATION = {
  root: true,
  linter: {
    rules: {
      preset: "none",
      complexity: { noExcessiveLinesPerFunction: { level: "error", options: { maxLines: 1 } } },
    },
  },
};

/** Functions with more than `LINES_MAX` lines below `folders`: `{ path, line, name, lines }`. */
async function longFunctions(root, folders) {
  const configuration = mkdtempSync(join(tmpdir(), "postern-biome-"));
  try {
    writeFileSync(join(configuration, "biome.json"), JSON.stringify(CONFIGURATION));
    const report = join(configuration, "report.json");
    const options = [`--config-path=${configuration}`, "--reporter=json", `--reporter-file=${report}`];
    const paths = folders.map((folder) => join(root, folder));
    const { output } = await run(join(BIN, "biome"), [
      "lint",
      ...options,
      "--max-diagnostics=none",
      ...paths,
    ]);
    return longOnes(root, readReport(report, output));
  } finally {
    rmSync(configuration, { recursive: true, force: true });
  }
}

/** A file that could not be read would be a file without functions. */
function readReport(path, output) {
  const { diagnostics } = JSON.parse(readFileSync(path, "utf8"));
  const unread = diagnostics.find(({ category }) => category === "parse");
  if (unread !== undefined) throw new Error(`${unread.location.path}: ${unread.message}`);
  const found = diagnostics.filter(({ category }) => category?.endsWith("/noExcessiveLinesPerFunction"));
  if (found.length === 0) throw new Error(`Biome found no function at all: ${output}`);
  return found.map(({ location }) => location);
}

function longOnes(root, locations) {
  const found = [];
  for (const { path, start, end } of locations) {
    const lines = end.line - start.line + 1;
    if (lines <= LINES_MAX) continue;
    const text = readFileSync(join(root, path.replace(`${root}/`, "")), "utf8").split("\n");
    const before = `${text.slice(0, start.line - 1).join("\n")}\n${text[start.line - 1].slice(0, start.column - 1)}`;
    if (isDescribe(before)) continue;
    const name = nameOf(before, text[start.line - 1].slice(start.column - 1));
    found.push({ path: path.replace(`${root}/`, ""), line: start.line, name, lines });
  }
  return found;
}

/** Whether the text before a function ends within the arguments of `describe`, `describe.each(…)`, `describeWith`. */
function isDescribe(before) {
  return /\bdescribe(With)?\b[^;{}]*$/.test(before);
}

/** As a reader would call it; a function without a name by what it is given to. */
function nameOf(before, from) {
  const own = /^(?:async\s+)?function\s*\*?\s*(\w+)/.exec(from) ?? /^(?:async\s+)?(\w+)\s*\(/.exec(from);
  const given = /(\w+)\s*(?::[^=;]*)?[=:]\s*$/.exec(before) ?? /(\w+)\([^;{}]*$/.exec(before);
  return own?.[1] ?? given?.[1] ?? "a function without a name";
}

/**
 * Looks at every folder with code.
 * @returns `{ status, output }`
 */
export async function checkFunctions() {
  const long = [
    ...(await longFunctions(ROOT, FOLDERS)),
    ...(await inReadableCopy((folder) => longFunctions(folder, ["assembly"]))),
  ];
  const faults = long.map(
    ({ path, line, name, lines }) => `${path}:${line}: ${name} has ${lines} lines; ${LINES_MAX} are allowed`,
  );
  return { status: faults.length === 0 ? 0 : 1, output: faults.join("\n") };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { status, output } = await checkFunctions();
  if (status !== 0) console.error(output);
  process.exitCode = status;
}
