/** How a program ends, whoever decides it: a signal, a failure, or what it serves being taken away. */
import { EXIT } from "./exit.ts";
import type { ProgramIo } from "./io.ts";

export interface Ending {
  /** Resolves to the exit code, or rejects with the failure. */
  wait(): Promise<number>;
  /** The clean end; the first of `stop` and `fail` counts. */
  stop(): void;
  fail(error: unknown): void;
  /** What SIGHUP and SIGUSR2 do from now on; before, they do nothing (PG-16). */
  listen(actions: { readonly reset: () => void; readonly snapshot: () => void }): void;
  close(): void;
}

export function createEnding(io: Pick<ProgramIo, "onSignal">): Ending {
  let resolve: (code: number) => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const ended = new Promise<number>((accept, refuse) => {
    resolve = accept;
    reject = refuse;
  });
  // It may be rejected before anybody waits, during the start; `wait` still sees it.
  ended.catch(() => {});
  let actions = { reset: () => {}, snapshot: () => {} };
  const unlisten = io.onSignal((signal) => {
    if (signal === "SIGHUP") actions.reset();
    else if (signal === "SIGUSR2") actions.snapshot();
    else resolve(EXIT.ok);
  });
  return {
    wait: () => ended,
    stop: () => resolve(EXIT.ok),
    fail: (error) => reject(error),
    listen(given) {
      actions = given;
    },
    close: unlisten,
  };
}
