/** The real process as programs see it. */
import { fstatSync } from "node:fs";
import { type Parsed, parsed, type Secret } from "../base/index.ts";
import type { LogControl, ProgramIo } from "../program/io.ts";
import { createLog, type ProgramLog } from "../program/log.ts";
import { createLogFile, type LogFile, type LogFileOptions } from "../program/log-file.ts";
import { type LogFilter, parseLogFilter } from "../program/log-filter.ts";
import { usage } from "./parse.ts";

export interface IoOptions {
  /** PG-91. @throws PosternError `usage` where it cannot be read */
  readonly filter: string;
  /** What every filter has besides. */
  readonly logsAlso?: string | undefined;
  readonly logFormat: "human" | "json";
  /** Where files go, and whose they are (PG-100). */
  readonly logFile?: { readonly folder: string; readonly instance: string } | undefined;
  readonly token: Secret<string> | undefined;
  readonly supervisor: ProgramIo["supervisor"];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly onSignal: ProgramIo["onSignal"];
}

export interface ProcessIo extends ProgramIo {
  /** Resolves when the log file has every line. */
  readonly drainLog: () => Promise<void>;
}

export function createIo(options: IoOptions): ProcessIo {
  const { filter, logsAlso, logFormat, logFile, token, supervisor, env, onSignal } = options;
  const parse = (text: string) => parseLogFilter(logsAlso === undefined ? text : `${text},${logsAlso}`);
  let ready: ProgramLog | undefined;
  const file =
    logFile && openLogFile(logFile, (level, event, reason) => ready?.log[level]?.(event, { reason }));
  const programLog = createProcessLog(parse(filter), logFormat, env, file);
  ready = programLog;
  return {
    print: (line) => writeTo(process.stdout, line),
    printError: (line) => writeTo(process.stderr, line),
    env,
    token,
    supervisor,
    log: programLog.log,
    logControl: controlOf(programLog, { parse, atStart: filter }, file),
    onSignal,
    drainLog: async () => await file?.drain(),
  };
}

/** A reader that has gone away (`postern … | head`) is no failure of ours. */
function writeTo(stream: NodeJS.WriteStream, line: string): void {
  if (stream.listenerCount("error") === 0) stream.on("error", () => undefined);
  stream.write(`${line}\n`);
}

function openLogFile(
  { folder, instance }: NonNullable<IoOptions["logFile"]>,
  onTrouble: LogFileOptions["onTrouble"],
): LogFile {
  const file = createLogFile({ folder, instance, wallMs: () => Date.now(), onTrouble });
  process.on("exit", file.flushSync);
  return file;
}

function controlOf(
  { setFilter, suppressed }: ProgramLog,
  { parse, atStart }: { readonly parse: (text: string) => Parsed<LogFilter>; readonly atStart: string },
  file: LogFile | undefined,
): LogControl {
  let current = atStart;
  function set(text: string): Parsed<string> {
    const filter = parse(text);
    if (!filter.ok) return filter;
    setFilter(filter.value);
    current = text;
    return parsed(text);
  }
  return {
    filter: () => current,
    setFilter: set,
    resetFilter: () => set(atStart),
    counters: () => ({ suppressed: suppressed(), dropped: file?.dropped() ?? 0 }),
    reopen: () => file?.reopen(),
  };
}

function createProcessLog(
  filter: Parsed<LogFilter>,
  format: "human" | "json",
  env: IoOptions["env"],
  file: LogFile | undefined,
): ProgramLog {
  const isJournal = format === "human" && isJournalStream(env["JOURNAL_STREAM"]);
  if (!filter.ok) throw usage(filter.reason);
  return createLog({
    filter: filter.value,
    format: isJournal ? "journal" : format,
    hasColours: process.stderr.isTTY === true && (env["NO_COLOR"] ?? "") === "",
    write: (line) => writeTo(process.stderr, line),
    writeToFile: file?.write,
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
