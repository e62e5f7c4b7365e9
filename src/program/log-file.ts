/**
 * `--log-dir`: one file per run, written beside everything else (PG-100), and old files taken away
 * (PG-101). A disk that is slow or full costs lines, never the program's time.
 */
import {
  appendFileSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  unlinkSync,
} from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { basename, join } from "node:path";

/** Lines that wait to be written (PG §1, `LOG_BUFFER`). */
const LINES_MAX = 1024;
/** Of all files in the folder (`LOG_DIR_CAP`). */
const FOLDER_BYTES_MAX = 100 << 20;
const YOUNG_MS = 300_000;
const TIDY_EVERY_MS = 3_600_000;
const FILE_MODE = 0o640;

export interface LogFileOptions {
  readonly folder: string;
  readonly instance: string;
  readonly wallMs: () => number;
  /** A file that cannot be written, said once, and small troubles. */
  readonly onTrouble: (level: "warn" | "debug", event: string, reason: unknown) => void;
}

export interface LogFile {
  readonly path: string;
  write(line: string): void;
  /** The next line goes to a file of the same name that is opened anew. */
  reopen(): void;
  dropped(): number;
  /** Resolves when what was written so far is in the file. */
  drain(): Promise<void>;
  /** At the very end: what still waits goes out at once. */
  flushSync(): void;
}

interface WaitingLine {
  readonly line: string;
  /** Lines that were lost before it. */
  readonly missing: number;
}

interface LogFileState {
  readonly options: LogFileOptions;
  readonly path: string;
  readonly waiting: WaitingLine[];
  handle: FileHandle | undefined;
  writing: Promise<void> | undefined;
  dropped: number;
  /** Lost since the last line that was taken. */
  missing: number;
  hasFailed: boolean;
}

export function createLogFile(options: LogFileOptions): LogFile {
  const path = join(options.folder, `postern-${options.instance}.${stampOf(options.wallMs())}.log`);
  const state: LogFileState = {
    options,
    path,
    waiting: [],
    handle: undefined,
    writing: undefined,
    dropped: 0,
    missing: 0,
    hasFailed: false,
  };
  tidy(options, basename(path));
  setInterval(() => tidy(options, basename(path)), TIDY_EVERY_MS).unref();
  return {
    path,
    write: (line) => take(state, line),
    reopen() {
      void state.handle?.close().catch(() => undefined);
      state.handle = undefined;
    },
    dropped: () => state.dropped,
    async drain() {
      while (state.writing !== undefined) await state.writing;
    },
    flushSync() {
      if (state.waiting.length === 0 || state.hasFailed) return;
      try {
        appendFileSync(path, textOf(state.waiting.splice(0)), { mode: FILE_MODE });
      } catch {
        // The process is ending, with the code that it has: nobody could be told.
      }
    },
  };
}

/** `2026-01-27-10-00-00`, UTC like the lines. */
function stampOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 19).replaceAll(/[T:]/g, "-");
}

function take(state: LogFileState, line: string): void {
  if (state.waiting.length >= LINES_MAX) {
    state.dropped++;
    state.missing++;
    return;
  }
  state.waiting.push({ line, missing: state.missing });
  state.missing = 0;
  state.writing ??= writeAll(state).then(() => {
    state.writing = undefined;
  });
}

async function writeAll(state: LogFileState): Promise<void> {
  // What else is written in this turn goes out together.
  await Promise.resolve();
  while (state.waiting.length > 0) {
    const lines = state.waiting.splice(0);
    try {
      const handle = await handleOf(state);
      await handle.appendFile(textOf(lines));
      state.hasFailed = false;
    } catch (error) {
      state.dropped += lines.length;
      state.missing += lines.reduce((sum, { missing }) => sum + missing + 1, 0);
      state.handle = undefined;
      if (!state.hasFailed) state.options.onTrouble("warn", "cannot write the log file", error);
      state.hasFailed = true;
      return;
    }
  }
}

function textOf(lines: readonly WaitingLine[]): string {
  return lines
    .map(({ line, missing }) => `${missing > 0 ? `… ${missing} lines were not taken\n` : ""}${line}\n`)
    .join("");
}

/** The open file, or a new one where somebody has moved or deleted it (PG-100). */
async function handleOf(state: LogFileState): Promise<FileHandle> {
  const { handle, path, options } = state;
  if (handle !== undefined) {
    const [own, named] = await Promise.all([handle.stat(), stat(path).catch(() => undefined)]);
    if (named !== undefined && named.ino === own.ino && named.dev === own.dev) return handle;
    await handle.close();
  }
  mkdirSync(options.folder, { recursive: true, mode: 0o750 });
  state.handle = await open(path, "a", FILE_MODE);
  link(options.folder, basename(path));
  return state.handle;
}

/** `latest` names the file of the last run that wrote. */
function link(folder: string, name: string): void {
  const latest = join(folder, "latest");
  try {
    if (lstatSync(latest, { throwIfNoEntry: false })?.isSymbolicLink() === true) unlinkSync(latest);
    symlinkSync(name, latest);
  } catch {
    // A convenience; the file itself is what counts.
  }
}

/** Oldest first, until the folder is small enough; young files and the last one stay. */
function tidy({ folder, wallMs, onTrouble }: LogFileOptions, own: string): void {
  try {
    const files = readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith(".log"))
      .map(({ name }) => ({ name, ...sizeOf(join(folder, name)) }))
      .sort((a, b) => a.mtimeMs - b.mtimeMs);
    let bytes = files.reduce((sum, { size }) => sum + size, 0);
    for (const { name, size, mtimeMs } of files.slice(0, -1)) {
      if (bytes <= FOLDER_BYTES_MAX) return;
      if (name === own || wallMs() - mtimeMs < YOUNG_MS) continue;
      unlinkSync(join(folder, name));
      bytes -= size;
    }
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code !== "ENOENT") onTrouble("debug", "old log files stay", error);
  }
}

function sizeOf(path: string): { readonly size: number; readonly mtimeMs: number } {
  const { size, mtimeMs } = statSync(path);
  return { size, mtimeMs };
}
