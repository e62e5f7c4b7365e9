/** What a start did to the host, undone in reverse: after a failed start, and at every end (PG-9, D-22). */
import { type Log, PosternError } from "../../base/index.ts";

export interface UndoStack {
  /** Remembers how to take back what was just done. */
  add(what: string, undo: () => void | Promise<void>): void;
  /**
   * Takes everything back, last first. A step that fails does not keep the others from running.
   *
   * @throws PosternError `stop-slow` (exit 1) when all of it takes longer than a stop may (PG-15)
   */
  run(): Promise<void>;
}

interface UndoStep {
  readonly what: string;
  readonly undo: () => void | Promise<void>;
}

/** How long a program may take to leave nothing behind. */
export const STOP_WITHIN_MS = 5_000;

export function createUndoStack(log: Log, withinMs = STOP_WITHIN_MS): UndoStack {
  const steps: UndoStep[] = [];
  return {
    add(what, undo) {
      steps.push({ what, undo });
    },
    run: () => within(withinMs, runBackwards(steps, log)),
  };
}

async function runBackwards(steps: UndoStep[], log: Log): Promise<void> {
  for (let step = steps.pop(); step !== undefined; step = steps.pop()) {
    try {
      await step.undo();
    } catch (error) {
      log.warn?.("could not be undone", { what: step.what, reason: String(error) });
    }
  }
}

async function within(limitMs: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const error = new PosternError("stop-slow", `stopping took longer than ${limitMs / 1000} s`);
    timer = setTimeout(reject, limitMs, error);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
