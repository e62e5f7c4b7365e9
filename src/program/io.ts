/**
 * What a program (`wg`, `client`, `gateway`, `portal`, `demo`) is given of the process it runs in.
 * `src/cli/command-line.ts` makes the real one; tests make their own.
 */

import type { Log, Parsed, Secret } from "../base/index.ts";
import type { AskToken } from "./token-renewal.ts";

/** Signals that mean something to a program (PG-15, PG-16). SIGPIPE is ignored for all. */
export type ProgramSignal = "SIGINT" | "SIGTERM" | "SIGHUP" | "SIGUSR2";

/** The log, beside the lines that are written to it. */
export interface LogControl {
  /** What is logged, as text (PG-92). */
  filter(): string;
  /** A filter that cannot be read changes nothing. */
  setFilter(filter: string): Parsed<string>;
  /** Back to that of the start. */
  resetFilter(): void;
  /** Lines that were held back as repetitions, and those that a file did not take (PG-100, PG-106). */
  counters(): { readonly suppressed: number; readonly dropped: number };
  /** Opens the log file anew, if there is one (PG-16). */
  reopen(): void;
}

/** The service manager that started the process, as the environment had it (PG-81). */
export interface SupervisorAddress {
  /** A path, or `@` and an abstract name. */
  readonly socket: string;
  /** Within which it wants signs of life; absent: it wants none. */
  readonly watchdogMs: number | undefined;
}

export interface ProgramIo {
  /** Writes a line to stdout: command output only, never logs (PG-89). */
  readonly print: (line: string) => void;
  /** Writes a line to stderr for the person at the terminal, outside the log. */
  readonly printError: (line: string) => void;
  /** The environment without tokens: those are in `token` and nowhere else (PG-9). */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The value of `POSTERN_TOKEN` or its alias, taken out of the environment (PG-9, PG-19). */
  readonly token: Secret<string> | undefined;
  /** Gives another token when the portal refuses that, where the program is part of another one (PG-120). */
  readonly askToken?: AskToken | undefined;
  /** Absent: nobody supervises the process. */
  readonly supervisor?: SupervisorAddress | undefined;
  /** Set up from `--log`, `--log-format` and the terminal (PG-89 to PG-94). */
  readonly log: Log;
  readonly logControl: LogControl;
  /**
   * Calls `listener` for each SIGINT, SIGTERM, SIGHUP and SIGUSR2 until the returned function is
   * called. While nobody listens, SIGINT and SIGTERM end the process. The second stop signal ends
   * it at once with 130 or 143 whatever the program does (PG-15).
   */
  readonly onSignal: (listener: (signal: ProgramSignal) => void) => () => void;
}

/**
 * A program: runs until it is stopped and resolves to its exit code (PG-14). Failures that a person
 * can mend are thrown as `PosternError`, whose `code` decides the exit code (`exit.ts`).
 */
export type Program<Options> = (options: Options, io: ProgramIo) => Promise<number>;
