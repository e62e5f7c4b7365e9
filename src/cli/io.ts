/** The real process as programs see it. */
import { fstatSync } from "node:fs";
import type { Secret } from "../base/index.ts";
import type { ProgramIo, ProgramSignal } from "../program/io.ts";
import { createLog, type ProgramLog } from "../program/log.ts";
import type { LogFilter } from "../program/log-filter.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2"] as const;
const SECOND_STOP = { SIGINT: 130, SIGTERM: 143 } as const;

export interface IoOptions {
  readonly filter: LogFilter;
  readonly logFormat: "human" | "json";
  readonly token: Secret<string> | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export function createIo({ filter, logFormat, token, env }: IoOptions): ProgramIo {
  return {
    print: (line) => writeTo(process.stdout, line),
    printError: (line) => writeTo(process.stderr, line),
    env,
    token,
    log: createProcessLog(filter, logFormat, env).log,
    onSignal: createSignals(),
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

/** PG-15, PG-16: signals reach the program that listens; the second stop ends the process at once. */
function createSignals(): ProgramIo["onSignal"] {
  const listeners = new Set<(signal: ProgramSignal) => void>();
  let stops = 0;
  let isInstalled = false;
  const handle = (signal: ProgramSignal): void => {
    if (signal === "SIGINT" || signal === "SIGTERM") {
      stops++;
      // A worker in `poll` may hold this up by its time-out of a second (PF-23), no longer.
      if (stops > 1 || listeners.size === 0) process.exit(SECOND_STOP[signal]);
    }
    for (const listener of [...listeners]) listener(signal);
  };
  return (listener) => {
    if (!isInstalled) for (const signal of SIGNALS) process.on(signal, handle);
    isInstalled = true;
    listeners.add(listener);
    return () => listeners.delete(listener);
  };
}
