/** Sleeping on the word that workers raise when a ring gets its first entry (D-13, PF-24a). */
import type { SharedMemory } from "../memory/index.ts";

/**
 * Calls `wake` whenever the word at `address` has changed since the last call; returns how to end that.
 * The pending wait does not keep the process alive.
 *
 * A word that was raised again while `wake` ran wakes behind the runtime's other work (PG-52). By a promise that has
 * been kept already it would wake before that: as long as workers bring more, no socket would be read, and no timer
 * would ring.
 */
export function listenForWakes(shared: SharedMemory, address: number, wake: () => void): () => void {
  let isOn = true;
  // A word that was raised before we listen wakes us as well.
  let seen = 0;

  function listen(): void {
    if (!isOn) return;
    const words = new Int32Array(shared.memory.buffer);
    const result = Atomics.waitAsync(words, address >> 2, seen);
    if (result.async) void result.value.then(() => woken(words));
    else setImmediate(() => woken(words));
  }

  function woken(words: Int32Array): void {
    if (!isOn) return;
    seen = Atomics.load(words, address >> 2);
    wake();
    listen();
  }

  listen();
  return () => {
    isOn = false;
  };
}
