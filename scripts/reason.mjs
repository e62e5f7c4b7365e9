/**
 * Follows a drop reason: what it means, its rule, and where it is counted and tested.
 *
 *   npm run reason NAME      as it stands in a snapshot or log line; a part of it lists those that match
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { filesBelow, ROOT } from "./steps.mjs";

const TABLE = "bindings/memory/reasons.ts";
/** `"ip-version": packet("empty, or …", "TN-3 row 1"),`, also over several lines. */
const ENTRY = /^ {2}"?([\w-]+)"?: (packet|segment|path|ring|loop|relay)\(\s*"([^"]+)",\s*"([^"]+)",?\s*\)/gm;
const ROOMS = { src: [".ts"], bindings: [".ts"], assembly: [".ts"], test: [".ts", ".mjs"] };
const GENERATED = "assembly/layout.ts";
const EXCERPT_CHARACTERS = 100;

function readTable() {
  const text = readFileSync(join(ROOT, TABLE), "utf8");
  return [...text.matchAll(ENTRY)].map(([, name, room, meaning, rule]) => ({ name, room, meaning, rule }));
}

/** Lines with the name as control spells it, or as the plane does (`Drop.IP_VERSION`). */
function places(name) {
  const constant = name.replaceAll("-", "_").toUpperCase();
  const spelled = new RegExp(`["'\`]${name}["'\`]|\\b${name}: |\\bDrop\\.${constant}\\b`);
  return Object.entries(ROOMS)
    .flatMap(([room, suffixes]) => suffixes.flatMap((suffix) => filesBelow(room, suffix)))
    .filter((path) => path !== GENERATED && path !== TABLE)
    .flatMap((path) =>
      readFileSync(join(ROOT, path), "utf8")
        .split("\n")
        .flatMap((line, i) => (spelled.test(line) ? [`${path}:${i + 1}  ${line.trim()}`] : [])),
    );
}

function show({ name, room, meaning, rule }) {
  const found = places(name);
  const isTest = (place) => place.startsWith("test/") || place.includes("__tests__");
  const section = (title, lines) => [
    "",
    `${title}${lines.length === 0 ? ": none" : ""}`,
    ...lines.map((line) => `  ${line.slice(0, EXCERPT_CHARACTERS)}`),
  ];
  return [
    `${name}: ${meaning}`,
    `  rule ${rule}; counted in the plane's room ${room}`,
    ...section(
      "Code",
      found.filter((place) => !isTest(place)),
    ),
    ...section("Tests", found.filter(isTest)),
  ].join("\n");
}

/** A snapshot and metrics write `not-allowed` as `drop_not_allowed`. */
const canonical = (name) => name.replace(/^drop_/, "").replaceAll("_", "-");

function main([wanted]) {
  const table = readTable();
  const exact = table.find(({ name }) => wanted !== undefined && canonical(name) === canonical(wanted));
  if (exact !== undefined) {
    console.log(show(exact));
    return 0;
  }
  const near = table.filter(({ name }) => wanted === undefined || name.includes(wanted));
  if (wanted !== undefined)
    console.error(`no reason is called '${wanted}'${near.length > 0 ? "; near it:" : ""}`);
  for (const { name, meaning } of near) console.error(`  ${name.padEnd(22)} ${meaning}`);
  return wanted === undefined ? 0 : 2;
}

process.exitCode = main(process.argv.slice(2));
