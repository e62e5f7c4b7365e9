/** A signal for a process that we started. */
import type { ChildProcess } from "node:child_process";

/**
 * Not by `child.kill`: of a process that it has sent a signal to Deno says that this signal ended it, also where the
 * process caught it and chose its status (D-28). Does nothing where it has ended.
 */
export function sendSignal(child: ChildProcess, signal: NodeJS.Signals): void {
  const { pid, exitCode, signalCode } = child;
  if (pid === undefined || exitCode !== null || signalCode !== null) return;
  try {
    process.kill(pid, signal);
  } catch {
    // It ended just now; its exit is still to be told.
  }
}
