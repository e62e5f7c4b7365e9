/** What a step is (TN-95, TN-98): a kind, and numbers that choose among what is possible when it is taken. */
import type { Case } from "./case.ts";
import type { Draw } from "./draw.ts";

export interface Transition {
  readonly name: string;
  /** Among those that are possible. */
  readonly weight: number;
  /** What it may be about at present; none: it is not possible. */
  readonly candidates: (c: Case) => readonly string[];
  /** Does it to the reference and to the system, and waits for what must follow. */
  readonly run: (c: Case, about: string, draw: Draw) => void;
}

export interface Step {
  readonly kind: string;
  readonly numbers: readonly number[];
}

/** For messages of the portal and what they cause to settle. */
export function settle(c: Case, ms = 500): void {
  const { clients, sites, portalDelayMs } = c.setup;
  const latencies = [...clients, ...sites.flatMap(({ gateways }) => gateways)].map(
    ({ latencyMs }) => latencyMs,
  );
  c.play.world.run(ms + 4 * portalDelayMs + 2 * Math.max(...latencies));
}
