/** What all cases of a run together must have come upon, or they prove nothing (TS-18). */
import { TRANSITIONS } from "./run-case.ts";

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
] as const;

const LABELS: readonly string[] = [...OUTCOMES, ...TRANSITIONS.map(({ name }) => `step: ${name}`)];

export function missingLabels(labels: ReadonlySet<string>): readonly string[] {
  return LABELS.filter((label) => !labels.has(label));
}
