/** Options of `postern demo` (PG-86). */
import type { OptionTable } from "./options.ts";

export const DEMO_ONLY = {
  json: {
    kind: "flag",
    default: false,
    hasVariable: false,
    help: "one JSON object as the last line of stdout",
  },
  seconds: {
    kind: "integer",
    value: "N",
    default: 3,
    min: 1,
    max: 60,
    hasVariable: false,
    help: "length of each throughput measurement",
  },
  relayed: {
    kind: "flag",
    default: false,
    hasVariable: false,
    help: "let no UDP pass between client and gateway, so that data goes through the relay",
  },
  tls: {
    kind: "flag",
    default: false,
    hasVariable: false,
    help: "let no UDP out of the client's network, so that data goes through the relay by TLS",
  },
  script: {
    kind: "text",
    value: "STEPS",
    hasVariable: false,
    help: "what happens then while traffic runs: roam, kill-relay, start-relay, with commas, or a file of them",
  },
} as const satisfies OptionTable;
