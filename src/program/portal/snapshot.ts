/**
 * The whole state in one file, written beside the old one and renamed over it (PT-115).
 *
 *     {"version":2,"journal":7}       changes since are in journal-7.jsonl and later ones
 *     [{"kind":"device",…},…]         lists of changes, as in a journal
 *     {"records":100000}              so that a file cut short is noticed
 */
import { constants } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import * as v from "valibot";
import { malformed, type Parsed, parsed, parseJson } from "../../base/index.ts";
import {
  parseChanges,
  type StateBuilder,
  type StateChange,
  toChangesText,
} from "../../portal/server/index.ts";
import { syncFolder } from "./journal.ts";

const FORM_VERSION = 2;
/** Text is made and written in pieces of about this size; between two, the loop serves its peers. */
const PIECE_CHARS = 64 * 1024;

const header = v.object({ version: v.literal(FORM_VERSION), journal: v.pipe(v.number(), v.integer()) });
const footer = v.object({ records: v.number() });

/** Applies a snapshot; returns the number of the first journal that follows it. */
export function readSnapshot(text: string, builder: StateBuilder): Parsed<number> {
  const end = text.lastIndexOf("\n", text.length - 2);
  const firstEnd = text.indexOf("\n");
  const first = parseJson(text.slice(0, Math.max(0, firstEnd)));
  if (!first.ok || !v.is(header, first.value)) return malformed("line 1: not the header of a state");
  const last = parseJson(text.slice(end + 1));
  if (!text.endsWith("\n") || !last.ok || !v.is(footer, last.value)) return malformed("it is cut short");
  let records = 0;
  let number = 1;
  // Line by line: a list of all lines would double what a start of a large portal holds.
  for (let at = firstEnd + 1; at <= end; ) {
    const next = text.indexOf("\n", at);
    number++;
    const changes = parseChanges(text.slice(at, next));
    if (!changes.ok) return malformed(`line ${number}: ${changes.reason}`);
    records += changes.value.length;
    for (const change of changes.value) builder.apply(change);
    at = next + 1;
  }
  if (records !== last.value.records) return malformed("it is cut short");
  return parsed(first.value.journal);
}

export interface SnapshotOptions {
  readonly path: string;
  readonly journal: number;
  readonly records: Iterable<StateChange>;
  /** Asked between two pieces. */
  readonly isCancelled: () => boolean;
}

/** Resolves to its size, or to `undefined` when it was cancelled: then nothing has changed. */
export async function writeSnapshot(options: SnapshotOptions): Promise<number | undefined> {
  const { path, journal } = options;
  const aside = `${path}.new`;
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
  const file = await open(aside, flags, 0o600);
  let bytes: number | undefined;
  try {
    await file.writeFile(`${JSON.stringify({ version: FORM_VERSION, journal })}\n`);
    bytes = await writeRecords(file, options);
    await file.sync();
  } finally {
    await file.close();
    if (bytes === undefined) await rm(aside, { force: true });
  }
  if (bytes === undefined) return undefined;
  await rename(aside, path);
  await syncFolder(dirname(path));
  return bytes;
}

async function writeRecords(
  file: FileHandle,
  { records, isCancelled }: SnapshotOptions,
): Promise<number | undefined> {
  let count = 0;
  let bytes = 0;
  let text = "";
  for (const change of records) {
    text += toChangesText([change]);
    count++;
    if (text.length < PIECE_CHARS) continue;
    await file.writeFile(text);
    bytes += text.length;
    text = "";
    if (isCancelled()) return undefined;
  }
  text += `${JSON.stringify({ records: count })}\n`;
  await file.writeFile(text);
  return bytes + text.length;
}
