/** `--on-event CMD`: a command of the operator's for each event (PG-113). The program never waits for it. */
import { type ChildProcess, spawn } from "node:child_process";
import type { Log } from "../../base/index.ts";
import { helperEnvironment } from "../../host/index.ts";
import type { ControlEvent, EventBus } from "./events.ts";

/** Events that wait for the command; of more, the oldest are given up. */
const WAITING_MAX = 64;
const RUN_WITHIN_MS = 10_000;
/** At the end of the program: how long the last events may still be told. */
const LAST_WITHIN_MS = 1_000;

export interface OnEventOptions {
  readonly command: string;
  readonly events: Pick<EventBus, "listen">;
  /** Without secrets. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  readonly runWithinMs?: number;
}

export interface EventCommands {
  /** Lets what waits run for a moment, then ends it. */
  close(): Promise<void>;
}

interface Runner {
  readonly options: OnEventOptions;
  readonly waiting: ControlEvent[];
  running: ChildProcess | undefined;
  whenIdle: () => void;
}

export function runOnEvents(options: OnEventOptions): EventCommands {
  const runner: Runner = { options, waiting: [], running: undefined, whenIdle: () => {} };
  const end = options.events.listen((event) => {
    runner.waiting.push(event);
    if (runner.waiting.length > WAITING_MAX) {
      runner.waiting.shift();
      options.log.warn?.("the command for events is too slow: the oldest event is given up");
    }
    if (runner.running === undefined) runNext(runner);
  });
  return {
    async close() {
      end();
      if (runner.running === undefined) return;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, LAST_WITHIN_MS);
        runner.whenIdle = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      runner.waiting.length = 0;
      killGroup(runner.running);
    },
  };
}

function runNext(runner: Runner): void {
  const event = runner.waiting.shift();
  if (event === undefined) {
    runner.whenIdle();
    return;
  }
  const { log, runWithinMs = RUN_WITHIN_MS } = runner.options;
  const failed = (reason: string): void =>
    log.warn?.("the command for events failed", { event: event.event, reason });
  const child = startFor(runner.options, event);
  if (child instanceof Error) {
    failed(child.message);
    return runNext(runner);
  }
  runner.running = child;
  let isOver = false;
  const timer = setTimeout(() => killGroup(child), runWithinMs);
  const over = (failure: string | undefined): void => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    runner.running = undefined;
    if (failure !== undefined) failed(failure);
    runNext(runner);
  };
  child.once("error", (error) => over(error.message));
  child.once("exit", (status, signal) => over(status === 0 ? undefined : `exit ${status ?? signal}`));
  // A command that does not read its input is no failure.
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(`${JSON.stringify(event)}\n`);
}

/** Of some errors, ENOMEM for one, Node tells by throwing at once. */
function startFor({ command, env }: Runner["options"], event: ControlEvent): ChildProcess | Error {
  try {
    return spawn("/bin/sh", ["-c", command], {
      // A group of its own: what the shell started ends with it.
      detached: true,
      stdio: ["pipe", "ignore", "inherit"],
      env: { ...helperEnvironment(env), POSTERN_EVENT: event.event },
    });
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

function killGroup(child: ChildProcess | undefined): void {
  if (child?.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}
