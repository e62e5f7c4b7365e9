/** Options of the programs that run the packet plane (PG-6). */
import { METRICS_ADDR, type OptionTable, OTLP_ENDPOINT } from "./options.ts";

const BYTES_MAX = 2 ** 31 - 1;

export const PLANE = {
  cipher: {
    kind: "text",
    value: "NAME",
    former: "kernel",
    help: "force a variant of the encryption code instead of choosing the fastest that passes its test",
  },
  "inc-buf": {
    kind: "flag",
    aliases: ["FIREZONE_INC_BUF"],
    negatedAliases: ["FIREZONE_NO_INC_BUF"],
    help: "raise the kernel's limits for socket buffers where needed",
  },
  "udp-send-buffer": {
    kind: "integer",
    value: "BYTES",
    min: 4096,
    max: BYTES_MAX,
    aliases: ["FIREZONE_UDP_SEND_BUFFER_SIZE"],
    help: "size of the UDP send buffer (default 16 MiB)",
  },
  "udp-recv-buffer": {
    kind: "integer",
    value: "BYTES",
    min: 4096,
    max: BYTES_MAX,
    aliases: ["FIREZONE_UDP_RECV_BUFFER_SIZE"],
    help: "size of the UDP receive buffer (default 128 MiB)",
  },
  threads: {
    kind: "integer",
    value: "N",
    default: 1,
    min: 1,
    max: 16,
    help: "pairs of threads that carry packets, each with a queue of the device and sockets of its own",
  },
  "validate-checksums": {
    kind: "flag",
    default: false,
    aliases: ["FIREZONE_VALIDATE_CHECKSUMS"],
    help: "count and report packets out of the tunnel whose IPv4, UDP or TCP checksum is wrong",
  },
  "metrics-addr": METRICS_ADDR,
  "otlp-endpoint": OTLP_ENDPOINT,
} as const satisfies OptionTable;
