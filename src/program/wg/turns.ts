/** Long work in turns of the runtime: what arrives meanwhile is handled in between (PG-52). */
import type { Steps } from "../../wg/index.ts";

export type NextTurn = () => Promise<void>;

/** Behind everything that waits now: timers, sockets, wakes of the plane. */
export const nextTurn: NextTurn = () => new Promise((resolve) => setImmediate(resolve));

export async function inTurns<T>(steps: Steps<T>, next: NextTurn): Promise<T> {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    await next();
  }
}
