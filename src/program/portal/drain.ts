/**
 * Letting peers go one by one, so that thousands do not come back at once (PT-190): to another portal behind
 * the same name, or to this one when it is up again.
 */
import { type Random, randomBelow } from "../../base/index.ts";

/** What is drained: it may go by itself, too. */
export interface Drained {
  close(): void;
}

export interface Drain {
  /** One of them has gone. `isLast`: nobody is left to wait for. */
  left(isLast: boolean): void;
  /** Resolves when all have gone, or the time is over. */
  readonly over: Promise<void>;
}

/** Closes each at a random instant within `withinMs`. */
export function drain(peers: readonly Drained[], withinMs: number, random: Random): Drain {
  let finish = (): void => {};
  const timers: NodeJS.Timeout[] = [];
  const over = new Promise<void>((resolve) => {
    finish = () => {
      for (const timer of timers) clearTimeout(timer);
      resolve();
    };
  });
  if (peers.length === 0 || withinMs <= 0) finish();
  else {
    for (const peer of peers) {
      timers.push(setTimeout(() => peer.close(), randomBelow(random, Math.ceil(withinMs))));
    }
    timers.push(setTimeout(finish, withinMs));
  }
  return {
    left(isLast) {
      if (isLast) finish();
    },
    over,
  };
}
