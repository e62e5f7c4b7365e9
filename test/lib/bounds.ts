/**
 * Loops in which a test drives machines end, or say why not (TS-82): vitest cannot stop a loop that never lets go of
 * the thread.
 */
import type { Instant } from "../../src/base/index.ts";

/** More than any loop needs that ends at all. */
const TURNS_MAX = 100_000;

/** One more turn of a loop. @returns how many there were @throws when there were too many */
export function nextTurn(turns: number, what: string, most = TURNS_MAX): number {
  if (turns >= most) throw new Error(`${what}: no end after ${most} turns`);
  return turns + 1;
}

/** A time, or a length of time. @throws where time would stand still or never end */
export function finite(ms: number, what: string): number {
  if (!Number.isFinite(ms)) throw new Error(`${what}: no time: ${ms}`);
  return ms;
}

/** A machine's next deadline, unless it is after `until`. @throws where it is at infinity, or none of both is a time */
export function dueUntil(
  machine: { pollTimeout(): Instant | undefined },
  until: number,
): Instant | undefined {
  finite(until, "the end of a wait");
  const due = machine.pollTimeout();
  if (due !== undefined) finite(due, "a machine's deadline");
  return due !== undefined && due <= until ? due : undefined;
}
