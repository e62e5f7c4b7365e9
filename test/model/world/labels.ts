/** What all cases of a run together must have come upon, or they prove nothing (TS-18). */
import { TRANSITIONS } from "./run-case.ts";

/** Together they come upon all of it: `npm run test:world -- --cases 200 --cover`. */
export const EVERYDAY_SEEDS: readonly number[] = [22, 154, 31, 25, 4, 130, 86, 87, 62, 36, 8, 39, 165];

const OUTCOMES = [
  "icmp served",
  "icmp prohibited",
  "icmp unreachable",
  "icmp silence",
  "udp served",
  "udp prohibited",
  "udp unreachable",
  "udp silence",
  "echo",
  "error of a host, IPv4",
  "error of a host, IPv6",
  "proxies",
  "a name without proxies of the family",
  "a name without addresses of the family",
  "tcp served",
  "tcp lives",
  "tcp prohibited",
  "tcp unreachable",
  "passed all the same",
  "lost meanwhile",
  "a burst in order",
  "let in",
  "kept out",
  "lost events are made up for",
  "trace, hop 1",
  "trace, hop 2",
  "a forged packet is dropped",
  "stopped",
  "recovered",
  "came late",
  "lost while somebody moves",
  "arrived while somebody moves",
  "a name's own records",
  "own records that a site has not",
  "asked directly",
  "asked over HTTPS",
  "asked through the tunnel",
  "asked by udp",
  "asked by tcp",
  "asked by udp through the tunnel",
  "asked by tcp through the tunnel",
  "1 at once",
  "2 at once",
  "3 at once",
  "4 at once",
  "the name of a proxy address",
  "the name of no proxy address",
  "addresses among other questions",
  "no hints past the proxies",
  "a truncated answer",
] as const;

const LABELS: readonly string[] = [...OUTCOMES, ...TRANSITIONS.map(({ name }) => `step: ${name}`)];

export function missingLabels(labels: ReadonlySet<string>): readonly string[] {
  return LABELS.filter((label) => !labels.has(label));
}

/** Few seeds that together come upon all that any of them did: for the everyday tests. */
export function coverOf(
  outcomes: readonly { readonly seed: number; readonly labels: ReadonlySet<string> }[],
) {
  const left = new Set(outcomes.flatMap(({ labels }) => [...labels]));
  const chosen: number[] = [];
  while (left.size > 0) {
    const count = (labels: ReadonlySet<string>): number =>
      [...labels].filter((label) => left.has(label)).length;
    const best = outcomes.reduce((a, b) => (count(b.labels) > count(a.labels) ? b : a));
    chosen.push(best.seed);
    for (const label of best.labels) left.delete(label);
  }
  return chosen;
}
