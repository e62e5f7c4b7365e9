/**
 * Shows rules of the specification: the text, where it is implemented, which tests prove it.
 *
 *   npm run rule ID [ID …]
 *   node scripts/rule.mjs --check [--root DIR]
 *
 * --check names citations of rules that do not exist, numbers that two rules have, comments that are nothing but rule ids (a reader
 * without the specification at hand learns nothing from them), and rules that nobody cites: neither code
 * nor test nor docs/todo, which lists what is not served yet.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { parseArgs } from "node:util";
import { ROOT } from "./steps.mjs";

/** WireGuard, ICE and connections, relay, tunnel, DNS, portal, programs, testing, plane facts; design, goals. */
const PREFIXES = "WG|SN|RL|TN|DN|PT-G|PT|PG|TS|PF|D|G";
const ID = new RegExp(String.raw`\b(${PREFIXES})-(\d+[a-z]?)(?![\w-])`, "g");
/** `SN-98 to SN-101`, `TN-85–89`: those between are cited too. */
const RANGE = new RegExp(String.raw`\b(${PREFIXES})-(\d+)(?: to |–)(?:\1-)?(\d+)\b`, "g");
/** A rule begins with its id at the start of a line, of a list item, or of a table's row. */
const DEFINITION = new RegExp(
  String.raw`^(?:- |\| )?(?:\*\*)?((?:${PREFIXES})-\d+[a-z]?)(?:\*\*|\.| \||(?= [^|]*\*\*))`,
);

/** Rules about what the product does; the others are about tests, measurements and decisions. */
const SERVED = /^(WG|SN|RL|TN|DN|PT|PG)-/;

const RULE_FILES = ["docs/design.md", "docs/spec"];
const CODE_ROOMS = ["src", "bindings", "assembly", "scripts", "bench", "postern"];
const TEST_ROOMS = ["test", "assembly"];
const DOCUMENTS = ["docs", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "SECURITY.md"];
const TEXT_SUFFIXES = new Set([".ts", ".mjs", ".js", ".sh", ".md", ".json", ""]);
const EXCERPT_CHARACTERS = 100;

/** Text files below the paths, in order, as `{ path, lines }`. */
function textsBelow(root, paths) {
  const found = [];
  const visit = (path, isNamed) => {
    if (isNamed || TEXT_SUFFIXES.has(extname(path))) {
      found.push({ path, lines: readFileSync(join(root, path), "utf8").split("\n") });
    }
  };
  const enter = (folder) => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) enter(path);
      else visit(path, false);
    }
  };
  for (const path of paths) {
    if (!existsSync(join(root, path))) continue;
    if (path === "postern" || path.endsWith(".md")) visit(path, true);
    else enter(path);
  }
  return found;
}

/**
 * The rules by id: `{ path, line, text }`.
 *
 * A rule ends where the next one, a heading, or a row of the same table begins.
 */
function readRules(root) {
  const rules = new Map();
  for (const { path, lines } of textsBelow(root, RULE_FILES)) {
    let open;
    for (const [i, line] of lines.entries()) {
      const id = DEFINITION.exec(line)?.[1];
      if (id !== undefined && !rules.has(id)) {
        open = { path, line: i + 1, text: [] };
        rules.set(id, open);
      } else if (id !== undefined || line.startsWith("#")) {
        open = undefined;
      }
      open?.text.push(line);
      if (line.startsWith("| ") && id !== undefined) open = undefined;
    }
  }
  return rules;
}

/** Ids cited in a line, ranges spelled out. */
function citedIn(line) {
  const ids = new Set([...line.matchAll(ID)].map(([, prefix, number]) => `${prefix}-${number}`));
  for (const [, prefix, from, to] of line.matchAll(RANGE)) {
    for (let n = Number(from); n <= Number(to); n++) ids.add(`${prefix}-${n}`);
  }
  return ids;
}

function citations(root, paths, id) {
  return textsBelow(root, paths).flatMap(({ path, lines }) =>
    lines.flatMap((line, i) => (citedIn(line).has(id) ? [{ path, line: i + 1, text: line.trim() }] : [])),
  );
}

const isTest = ({ path }) => path.startsWith("test/") || path.includes("/__tests__/");

function show(root, rules, id) {
  const rule = rules.get(id);
  const out = [`${id}  ${rule.path}:${rule.line}`, "", ...trimmed(rule.text)];
  const section = (title, found) => {
    out.push("", `${title}${found.length === 0 ? ": nothing cites it" : ""}`);
    for (const { path, line, text } of found)
      out.push(`  ${path}:${line}  ${text.slice(0, EXCERPT_CHARACTERS)}`);
  };
  section(
    "Code",
    citations(root, CODE_ROOMS, id).filter((found) => !isTest(found)),
  );
  section("Tests", citations(root, TEST_ROOMS, id).filter(isTest));
  const elsewhere = citations(root, DOCUMENTS, id).filter(
    ({ path, line }) => path !== rule.path || line < rule.line || line >= rule.line + rule.text.length,
  );
  if (elsewhere.length > 0) section("Documents", elsewhere);
  if (elsewhere.some(({ path }) => path.startsWith("docs/todo/")))
    out.push("", "docs/todo says what of it is missing.");
  return out.join("\n");
}

function trimmed(lines) {
  const last = lines.findLastIndex((line) => line.trim() !== "");
  return lines.slice(0, last + 1);
}

/** Citations of what does not exist, and comments that cite without a word, as `path:line: …`. */
function faults(root, rules) {
  const found = [];
  for (const { path, lines } of textsBelow(root, [...CODE_ROOMS, "test", ...DOCUMENTS])) {
    // Recorded results and vectors are what others wrote.
    if (path.startsWith("bench/results/") || path.startsWith("test/vectors/")) continue;
    for (const [i, line] of lines.entries()) {
      for (const [, prefix, number] of line.matchAll(ID)) {
        const id = `${prefix}-${number}`;
        if (!rules.has(id)) found.push(`${path}:${i + 1}: no rule ${id}`);
      }
      if (!path.endsWith(".md") && isBare(line))
        found.push(`${path}:${i + 1}: nothing but a rule's id: ${line.trim()}`);
    }
  }
  return found;
}

/** Numbers given to two rules. Tables repeat the ids of rules that stand elsewhere: they are not looked at. */
function twins(root) {
  const first = new Map();
  const found = [];
  for (const { path, lines } of textsBelow(root, RULE_FILES)) {
    for (const [i, line] of lines.entries()) {
      const id = line.startsWith("|") ? undefined : DEFINITION.exec(line)?.[1];
      if (id === undefined) continue;
      const place = `${path}:${i + 1}`;
      if (first.has(id)) found.push(`${place}: ${id} is also the rule at ${first.get(id)}`);
      else first.set(id, place);
    }
  }
  return found;
}

/** Rules of a room that nothing serves and no list of open ones names. */
function orphans(root, rules) {
  const cited = new Set();
  for (const { path, lines } of textsBelow(root, [...CODE_ROOMS, "test", "docs/todo"])) {
    if (!path.startsWith("bench/results/"))
      for (const line of lines) for (const id of citedIn(line)) cited.add(id);
  }
  return [...rules]
    .filter(([id]) => SERVED.test(id) && !cited.has(id))
    .map(
      ([id, { path, line }]) => `${path}:${line}: nobody cites ${id}: neither code nor test nor docs/todo`,
    );
}

/** Whether a line's comment is a whole comment of ids alone. Lines of a longer comment belong to its sentences. */
function isBare(line) {
  const comment = /(?:^|[\s;,{}()])(?:\/\/|\/\*\*?)(?!\/)\s*(.*?)\s*(?:\*\/)?$/.exec(line)?.[1];
  if (comment === undefined) return false;
  const ids = comment.match(ID);
  return (
    ids !== null &&
    comment
      .replace(ID, "")
      .replace(/\b(and|to|see|of|RFC \d+)\b|§[\d.]+/gi, "")
      .search(/\w/) < 0
  );
}

function main() {
  const { values, positionals } = parseArgs({
    options: { check: { type: "boolean" }, root: { type: "string", default: ROOT } },
    allowPositionals: true,
  });
  const rules = readRules(values.root);
  if (values.check) {
    const found = [...faults(values.root, rules), ...twins(values.root), ...orphans(values.root, rules)];
    for (const fault of found) console.log(fault);
    return found.length === 0 ? 0 : 1;
  }
  const ids = positionals.map((id) =>
    id.toUpperCase().replace(/(\d)([A-Z])$/, (_, n, c) => n + c.toLowerCase()),
  );
  const unknown = ids.filter((id) => !rules.has(id));
  if (ids.length === 0 || unknown.length > 0) {
    for (const id of unknown) console.error(`no rule ${id} in docs/spec or docs/design.md`);
    console.error("usage: npm run rule ID [ID …]");
    return 2;
  }
  console.log(ids.map((id) => show(values.root, rules, id)).join("\n\n"));
  return 0;
}

process.exitCode = main();
