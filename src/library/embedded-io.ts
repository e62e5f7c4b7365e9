/** What a program is given of the process, where it is a part of another one: no signals, no terminal. */
import { type Log, parsed } from "../base/index.ts";
import type { ProgramIo, ProgramSignal } from "../program/io.ts";

export interface EmbeddedIo {
  readonly io: ProgramIo;
  /** As a first SIGTERM does. */
  stop(): void;
}

/** @param print takes the lines that the program would write to stdout and stderr */
export function createEmbeddedIo(log: Log, print: (line: string) => void): EmbeddedIo {
  const listeners = new Set<(signal: ProgramSignal) => void>();
  return {
    stop() {
      for (const listener of [...listeners]) listener("SIGTERM");
    },
    io: {
      print,
      printError: print,
      env: process.env,
      token: undefined,
      log,
      logControl: {
        filter: () => "",
        setFilter: (filter) => parsed(filter),
        resetFilter: () => {},
        counters: () => ({ suppressed: 0, dropped: 0 }),
        reopen: () => {},
      },
      onSignal(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
  };
}
