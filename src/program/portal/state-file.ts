/**
 * What outlives the process, on disk or nowhere (PT-115).
 *
 *     state.jsonl       a snapshot: every record, once
 *     journal-7.jsonl   changes since, one list of them per line; the newest file is appended to
 *
 * A change costs one line. When the journals have grown to a part of the snapshot, the next one is begun
 * and a new snapshot is written beside the work. It may hold later values than those at its beginning:
 * changes are absolute, and the journal that was begun brings all of them to the same end.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { openKernel } from "../../../bindings/linux/index.ts";
import { type Log, malformed, type Parsed, PosternError, parsed } from "../../base/index.ts";
import { takeLock } from "../../host/index.ts";
import {
  createStateBuilder,
  EMPTY_STATE,
  parseChanges,
  parseDocument,
  type StateBuilder,
  type StateChange,
  type StoredState,
  toChangesText,
} from "../../portal/server/index.ts";
import { createJournal, type Journal, syncFolder } from "./journal.ts";
import { readSnapshot, writeSnapshot } from "./snapshot.ts";

export interface StateFile {
  readonly initial: StoredState;
  /**
   * Resolves when the changes are on disk; one call at a time.
   * @param records all records, for the case that a new snapshot is due
   */
  append(changes: readonly StateChange[], records: () => Iterable<StateChange>): Promise<void>;
  close(): Promise<void>;
}

/** `--dev` keeps everything in memory. */
export const MEMORY_ONLY: StateFile = {
  initial: EMPTY_STATE,
  append: () => Promise.resolve(),
  close: () => Promise.resolve(),
};

const SNAPSHOT = "state.jsonl";
/** The one document of earlier versions. */
const DOCUMENT = "state.json";
const JOURNAL = /^journal-(\d{1,15})\.jsonl$/;

/** Journals may grow to this, or to a quarter of the snapshot, which bounds the time of a start. */
const MIN_COMPACT_BYTES = 1024 * 1024;
const COMPACT_SHARE = 4;

/** What is on disk, and what it takes to go on from there. */
interface Recovered {
  readonly state: StoredState;
  readonly nextJournal: number;
  readonly snapshotBytes: number;
  readonly journalBytes: number;
}

/**
 * Opens the folder and keeps other processes out of it.
 *
 * @throws PosternError `in-use` if another portal has it; `file-unreadable` for a state that cannot be
 * read: starting fresh would give every device another address and key
 */
export function openStateFile(folder: string, log: Log): StateFile {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o750 });
  } catch (cause) {
    const what = `cannot make the folder ${folder}`;
    throw new PosternError("file-unreadable", what, "name another with --data", { cause });
  }
  const lock = takeLock(openKernel(), "portal", [folder], "stop it, or give this one another --data");
  let recovered: Recovered;
  try {
    recovered = recover(folder, log);
  } catch (error) {
    lock.release();
    throw error;
  }
  return createStateFile(folder, recovered, log, () => lock.release());
}

function createStateFile(folder: string, recovered: Recovered, log: Log, release: () => void): StateFile {
  let { nextJournal, snapshotBytes } = recovered;
  let journal: Journal | undefined;
  /** In journals that are closed and not in a snapshot yet. */
  let olderBytes = recovered.journalBytes;
  let compactAt = limitFor(snapshotBytes);
  let compaction: Promise<void> | undefined;
  let isClosing = false;

  async function beginJournal(): Promise<Journal> {
    const begun = await createJournal(join(folder, `journal-${nextJournal}.jsonl`));
    nextJournal++;
    await syncFolder(folder);
    olderBytes += journal?.bytes ?? 0;
    await journal?.close();
    journal = begun;
    return begun;
  }

  async function compact(first: number, records: Iterable<StateChange>): Promise<void> {
    const before = olderBytes;
    try {
      const path = join(folder, SNAPSHOT);
      const bytes = await writeSnapshot({ path, journal: first, records, isCancelled: () => isClosing });
      if (bytes === undefined) return;
      snapshotBytes = bytes;
      olderBytes -= before;
      compactAt = limitFor(bytes);
      await removeOlder(folder, first);
    } catch (error) {
      // Nothing is lost: the journals hold everything. It is tried again when they have doubled.
      compactAt *= 2;
      log.warn?.("cannot write a snapshot of the state; the journal goes on", { folder, error });
    }
  }

  return {
    initial: recovered.state,
    async append(changes, records) {
      const isDue = olderBytes + (journal?.bytes ?? 0) >= compactAt;
      if (isDue && compaction === undefined) {
        await beginJournal();
        compaction = compact(nextJournal - 1, records()).then(() => {
          compaction = undefined;
        });
      }
      const current = journal ?? (await beginJournal());
      await current.append(toChangesText(changes));
    },
    async close() {
      isClosing = true;
      await compaction;
      await journal?.close();
      release();
    },
  };
}

function limitFor(snapshotBytes: number): number {
  return Math.max(MIN_COMPACT_BYTES, snapshotBytes / COMPACT_SHARE);
}

async function removeOlder(folder: string, first: number): Promise<void> {
  for (const { path, number } of journalsOf(folder)) if (number < first) await rm(path, { force: true });
  await rm(join(folder, DOCUMENT), { force: true });
}

function journalsOf(folder: string): readonly { readonly path: string; readonly number: number }[] {
  return readdirSync(folder)
    .flatMap((name) => {
      const number = JOURNAL.exec(name)?.[1];
      return number === undefined ? [] : [{ path: join(folder, name), number: Number(number) }];
    })
    .toSorted((a, b) => a.number - b.number);
}

function recover(folder: string, log: Log): Recovered {
  const { builder, first, bytes } = readBase(folder);
  let nextJournal = first;
  let journalBytes = 0;
  for (const { path, number } of journalsOf(folder)) {
    if (number < first) {
      // A crash came between a new snapshot and the removal of what it holds.
      rmSync(path, { force: true });
      continue;
    }
    replay(path, builder, log);
    nextJournal = number + 1;
    journalBytes += statSync(path).size;
  }
  return { state: builder.state(), nextJournal, snapshotBytes: bytes, journalBytes };
}

/** The snapshot, or the document of an earlier version, or nothing. */
function readBase(folder: string): { builder: StateBuilder; first: number; bytes: number } {
  const snapshot = join(folder, SNAPSHOT);
  const document = join(folder, DOCUMENT);
  const builder = createStateBuilder();
  if (existsSync(snapshot)) {
    const text = readText(snapshot);
    return { builder, first: readOrFail(snapshot, readSnapshot(text, builder)), bytes: text.length };
  }
  if (!existsSync(document)) return { builder, first: 0, bytes: 0 };
  const state = readOrFail(document, parseDocument(readText(document)));
  return { builder: createStateBuilder(state), first: 0, bytes: 0 };
}

/** A crash leaves the last line unfinished; nobody was told that it is there. */
function replay(path: string, builder: StateBuilder, log: Log): void {
  const lines = readText(path).split("\n");
  const torn = lines.pop();
  if (torn !== "") log.warn?.("the last change before a crash was not complete; it is left out", { path });
  for (const [i, line] of lines.entries()) {
    const changes = parseChanges(line);
    for (const change of readOrFail(path, withLine(changes, i + 1))) builder.apply(change);
  }
}

function withLine<T>(result: Parsed<T>, line: number): Parsed<T> {
  return result.ok ? parsed(result.value) : malformed(`line ${line}: ${result.reason}`);
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw unreadable(path, "it cannot be opened", cause);
  }
}

function readOrFail<T>(path: string, result: Parsed<T>): T {
  if (result.ok) return result.value;
  throw unreadable(path, result.reason);
}

function unreadable(path: string, reason: string, cause?: unknown): PosternError {
  return new PosternError(
    "file-unreadable",
    `cannot read ${path}: ${reason}`,
    "mend it or bring back a copy; without it every device would become a new one",
    { cause },
  );
}
