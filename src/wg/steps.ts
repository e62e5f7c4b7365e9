/**
 * Work on tens of thousands of peers in steps, between which others have their turn (WG-67).
 *
 * A generator yields after each bounded piece; who drives it decides what happens in between.
 */
export type Steps<T> = Generator<undefined, T>;

/** Pieces that take well below the 20 ms in which a handshake should be answered. */
export const LINES_PER_STEP = 1024;
export const PEERS_PER_STEP = 64;
/** Of an answer, which costs no key agreement. */
export const PEERS_PER_LOOK = 256;

/** All steps at once. */
export function finish<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}
