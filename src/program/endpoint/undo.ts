/** What a start did to the host, undone in reverse: after a failed start, and at every end (PG-9, D-22). */
import type { Log } from "../../base/index.ts";

export interface UndoStack {
  /** Remembers how to take back what was just done. */
  add(what: string, undo: () => void | Promise<void>): void;
  /** Takes everything back, last first. A step that fails does not keep the others from running. */
  run(): Promise<void>;
}

export function createUndoStack(log: Log): UndoStack {
  const steps: { readonly what: string; readonly undo: () => void | Promise<void> }[] = [];
  return {
    add(what, undo) {
      steps.push({ what, undo });
    },
    async run() {
      for (let step = steps.pop(); step !== undefined; step = steps.pop()) {
        try {
          await step.undo();
        } catch (error) {
          log.warn?.("could not be undone", { what: step.what, reason: String(error) });
        }
      }
    },
  };
}
