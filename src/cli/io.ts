/** The real process as programs see it. */
import { fstatSync } from "node:fs";
import type { Secret } from "../base/index.ts";
import type { ProgramIo } from "../program/io.ts";
import { createLog, type ProgramLog } from "../program/log.ts";
import type { LogFilter } from "../program/log-filter.ts";

export interface IoOptions {
  readonly filter: LogFilter;
  readonly logFormat: "human" | "json";
  readonly token: Secret<string> | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly onSignal: ProgramIo["onSignal"];
}

export function createIo({ filter, logFormat, token, env, onSignal }: IoOptions): ProgramIo {
  return {
    print: (line) => writeTo(process.stdout, line),
    printError: (line) => writeTo(process.stderr, line),
    env,
    token,
    log: createProcessLog(filter, logFormat, env).log,
    onSignal,
  };
}

/** A reader that has gone away (`postern … | head`) is no failure of ours. */
function writeTo(stream: NodeJS.WriteStream, line: string): void {
  if (stream.listenerCount("error") === 0) stream.on("error", () => undefined);
  stream.write(`${line}\n`);
}

function createProcessLog(filter: LogFilter, format: "human" | "json", env: IoOptions["env"]): ProgramLog {
  const isJournal = format === "human" && isJournalStream(env["JOURNAL_STREAM"]);
  return createLog({
    filter,
    format: isJournal ? "journal" : format,
    hasColours: process.stderr.isTTY === true && (env["NO_COLOR"] ?? "") === "",
    write: (line) => writeTo(process.stderr, line),
    wallMs: () => Date.now(),
    monotonicMs: () => performance.now(),
  });
}

/** Whether stderr is what journald reads: `JOURNAL_STREAM` is its device and inode (PG-89). */
function isJournalStream(value: string | undefined): boolean {
  if (value === undefined) return false;
  try {
    const { dev, ino } = fstatSync(2);
    return value === `${dev}:${ino}`;
  } catch {
    // A closed stderr is no journal.
    return false;
  }
}
