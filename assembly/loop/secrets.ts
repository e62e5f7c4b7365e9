/** What a worker's record holds of keys and keystream, and how it goes. */
import { forget, LANES, wipe } from "../crypto";
import { Worker } from "../layout";

/** At the end of a loop: nothing of the AEAD is left, and nothing that was made in advance. */
export function wipeSecrets(worker: usize): void {
  wipe(worker + Worker.AEAD);
  if (LANES != 0) memory.fill(worker + Worker.KEYS_AHEAD, 0, Worker.AEAD - Worker.KEYS_AHEAD);
}

/** Before a worker waits, and every so many batches: a key that control forgets stays nowhere else (PF-83). */
export function forgetKeys(worker: usize): void {
  forget(worker + Worker.AEAD);
}
