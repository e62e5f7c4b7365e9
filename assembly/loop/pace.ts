/**
 * Whether work comes so fast that there is more as soon as whoever sends it has run (PF-74, PF-79). Then a worker
 * does not sleep at once but makes way: what it finds behind that goes in one call, and nobody has to wake it. A
 * packet now and then is not held up so: where others wait for the processor, they would go first.
 */
import { Counter, Worker } from "../layout";

const PERIOD_MS: u64 = 8;
/** TCP at 1 Gbit/s brings as many super-frames one way, and acknowledgments the other. */
const READS_PER_MS: u64 = 2;

/** Judges the pace anew when a period is over. */
export function isBusy(worker: usize): bool {
  const now = load<u64>(worker, Worker.NOW);
  const passed = now - load<u64>(worker, Worker.PACE_SINCE);
  if (passed >= PERIOD_MS) {
    const reads = load<u64>(worker, Counter.READS);
    const isFast = reads - load<u64>(worker, Worker.PACE_READS) >= passed * READS_PER_MS;
    store<u32>(worker, isFast ? 1 : 0, Worker.IS_BUSY);
    store<u64>(worker, now, Worker.PACE_SINCE);
    store<u64>(worker, reads, Worker.PACE_READS);
  }
  return load<u32>(worker, Worker.IS_BUSY) != 0;
}
