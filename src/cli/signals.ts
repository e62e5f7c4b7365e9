/**
 * How a program is brought to its end: by signals (PG-15, PG-16), and by a defect, after which what it
 * set on the host is undone before the process ends (PG-18).
 */
import type { ProgramSignal } from "../program/io.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2"] as const;
const SECOND_STOP = { SIGINT: 130, SIGTERM: 143 } as const;

export interface Signals {
  readonly onSignal: (listener: (signal: ProgramSignal) => void) => () => void;
  /**
   * Lets the running program stop cleanly and ends the process with `code` after `withinMs` at the
   * latest. Without a program that listens it ends at once.
   */
  stop(code: number): void;
}

export interface SignalOptions {
  /** The longest clean stop (PG-15). */
  readonly withinMs: number;
  /** Called when a stop took longer. */
  readonly onLate: () => void;
  /** `process` in production. */
  readonly process: Pick<NodeJS.Process, "on" | "exit">;
}

export function createSignals({ withinMs, onLate, process }: SignalOptions): Signals {
  const listeners = new Set<(signal: ProgramSignal) => void>();
  let isInstalled = false;
  let isStopping = false;

  const begin = (lateCode: number): void => {
    isStopping = true;
    const timer = setTimeout(() => {
      onLate();
      process.exit(lateCode);
    }, withinMs);
    timer.unref();
  };
  const tell = (signal: ProgramSignal): void => {
    for (const listener of [...listeners]) listener(signal);
  };
  const handle = (signal: ProgramSignal): void => {
    if (signal === "SIGINT" || signal === "SIGTERM") {
      // A worker in `poll` may hold this up by its time-out of a second (PF-23), no longer.
      if (isStopping || listeners.size === 0) process.exit(SECOND_STOP[signal]);
      begin(1);
    }
    tell(signal);
  };
  return {
    onSignal(listener) {
      if (!isInstalled) for (const signal of SIGNALS) process.on(signal, handle);
      isInstalled = true;
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    stop(code) {
      if (listeners.size === 0) process.exit(code);
      if (isStopping) return;
      begin(code);
      tell("SIGTERM");
    },
  };
}
