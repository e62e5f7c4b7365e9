/** The highest rate of UDP at which nothing is lost, as far as anybody notices (PG-200). */

export const UDP_BYTES = 1200;
/** A rate counts as free of loss up to here: less than one datagram in a thousand. */
const LOSS_MAX = 0.001;
/** A seventy-fifth of the first rate is the last step. */
const STEPS = 6;

export interface Attempt {
  /** What arrived, in Mbit/s. */
  readonly mbps: number;
  /** As a share of what was sent. */
  readonly loss: number;
}

/**
 * Halves the gap between a rate that loses and one that does not.
 *
 * @param attempt offers a rate in Mbit/s for a short time
 * @param most the first attempt; 0: as much as the sender can
 * @returns Mbit/s
 */
export async function findLossFreeRate(
  attempt: (mbps: number) => Promise<Attempt>,
  most: number,
): Promise<number> {
  const first = await attempt(most);
  if (first.loss <= LOSS_MAX) return first.mbps;
  let [free, losing] = [0, most === 0 ? first.mbps : most];
  for (let step = 0; step < STEPS; step++) {
    const next = (free + losing) / 2;
    const { mbps, loss } = await attempt(next);
    if (loss <= LOSS_MAX) free = mbps;
    else losing = next;
  }
  return free;
}
