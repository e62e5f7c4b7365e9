/** Options of `postern bench` (PG-200 to PG-204). */
import type { OptionTable } from "./options.ts";

export const BENCH = {
  mtu: {
    kind: "integer",
    value: "BYTES",
    default: 1420,
    min: 1280,
    max: 9000,
    hasVariable: false,
    help: "of packets inside the tunnels",
  },
  pairs: {
    kind: "integer",
    value: "N",
    default: 5,
    min: 1,
    max: 50,
    hasVariable: false,
    help: "how often each is measured, in turns",
  },
  seconds: {
    kind: "integer",
    value: "N",
    default: 4,
    min: 1,
    max: 60,
    hasVariable: false,
    help: "length of each throughput measurement",
  },
  streams: {
    kind: "text",
    value: "LIST",
    default: "1,4,16",
    hasVariable: false,
    help: "numbers of TCP streams",
  },
  quick: {
    kind: "flag",
    default: false,
    hasVariable: false,
    help: "one run of a second each, one stream: a look, not a measurement",
  },
  seed: {
    kind: "integer",
    value: "N",
    min: 0,
    max: 4_294_967_295,
    hasVariable: false,
    help: "for the order in which runs take turns (default: drawn)",
  },
  json: {
    kind: "flag",
    default: false,
    hasVariable: false,
    help: "the result as one JSON object on the last line of stdout",
  },
  output: {
    kind: "text",
    value: "FILE",
    hasVariable: false,
    help: "write the result as JSON, for --compare",
  },
  compare: { kind: "text", value: "FILE", hasVariable: false, help: "compare with a result of --output" },
  plot: { kind: "text", value: "FILE", hasVariable: false, help: "write a picture of the result, as SVG" },
  listen: {
    kind: "text",
    value: "ADDR:PORT",
    default: "127.0.0.1:5202",
    hasVariable: false,
    help: "of `bench serve`: an address of loopback or of a tunnel",
  },
} as const satisfies OptionTable;
