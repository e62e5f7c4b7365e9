/** Options of `postern relay` (PG-6, RL-64). */
import { HEALTH_ADDR, METRICS_ADDR, type OptionTable, OTLP_ENDPOINT, PEER } from "./options.ts";
import { parseApiUrl } from "./values.ts";

const PORT = { kind: "integer", value: "N", min: 1, max: 65_535 } as const;

export const RELAY = {
  "public-ip4": {
    kind: "text",
    value: "ADDR",
    aliases: ["PUBLIC_IP4_ADDR"],
    help: "IPv4 address at which clients and peers reach the relay",
  },
  "public-ip6": {
    kind: "text",
    value: "ADDR",
    aliases: ["PUBLIC_IP6_ADDR"],
    help: "IPv6 address at which clients and peers reach the relay",
  },
  "api-url": {
    kind: "text",
    short: "u",
    value: "URL",
    check: parseApiUrl,
    aliases: ["FIREZONE_API_URL"],
    help: "where the portal is: ws, wss, http or https",
  },
  "token-path": PEER["token-path"],
  "stand-alone": { kind: "flag", default: false, help: "serve without a portal" },
  "stamp-secret-path": {
    kind: "text",
    value: "PATH",
    help: "with --stand-alone: file with the secret from which passwords are made (default: a new one at each start)",
  },
  name: PEER.name,
  "turn-port": {
    ...PORT,
    default: 3478,
    aliases: ["LISTEN_PORT"],
    help: "UDP port for clients",
  },
  "lowest-port": {
    ...PORT,
    default: 49_152,
    aliases: ["LOWEST_PORT"],
    help: "first of the UDP ports for peers",
  },
  "highest-port": {
    ...PORT,
    default: 65_535,
    aliases: ["HIGHEST_PORT"],
    help: "last of them",
  },
  "bind-ip4": {
    kind: "text",
    value: "ADDR",
    aliases: ["BIND_IP4_ADDR"],
    help: "local IPv4 address of the sockets (default: all)",
  },
  "bind-ip6": {
    kind: "text",
    value: "ADDR",
    aliases: ["BIND_IP6_ADDR"],
    help: "local IPv6 address of the sockets (default: all)",
  },
  "tls-listen": {
    kind: "text",
    value: "ADDR:PORT",
    help: "also take clients by TLS, for networks without UDP, for example 0.0.0.0:443",
  },
  "tls-cert": { kind: "text", value: "FILE", help: "certificate chain (PEM); read again on SIGHUP" },
  "tls-key": { kind: "text", value: "FILE", help: "private key (PEM)" },
  "tls-name": {
    kind: "text",
    value: "NAME",
    help: "name for which clients check the certificate (default: its first)",
  },
  "tcp-listen": {
    kind: "text",
    value: "ADDR:PORT",
    help: "the same without TLS, on loopback, for tests",
  },
  "dev-insecure": { kind: "flag", default: false, help: "allow --tcp-listen on any address, for tests" },
  realm: { kind: "text", value: "TEXT", default: "firezone", help: "realm of the credentials" },
  "private-peers": {
    kind: "choice",
    choices: ["auto", "allow", "deny"],
    default: "auto",
    help: "whether data is relayed to private addresses; auto: unless a public address is globally routable",
  },
  "denied-peers": { kind: "list", value: "CIDR,…", help: "networks to which nothing is relayed" },
  "allow-loopback-peers": { kind: "flag", default: false, help: "relay to loopback addresses, for tests" },
  "max-allocations": {
    kind: "integer",
    value: "N",
    default: 10_000,
    min: 1,
    max: 65_536,
    help: "clients served at once",
  },
  "allocations-per-user": {
    kind: "integer",
    value: "N",
    default: 1,
    min: 0,
    max: 65_536,
    help: "allocations of one user, the newest win; 0: no limit",
  },
  drain: {
    kind: "duration",
    value: "DURATION",
    default: 10_000,
    help: "how long a stop waits for clients to move to another relay",
  },
  "max-partition-time": {
    ...PEER["max-partition-time"],
    help: "give up when the portal is unreachable for so long (default 24h)",
  },
  check: PEER.check,
  exit: PEER.exit,
  "ca-file": PEER["ca-file"],
  instance: {
    kind: "text",
    value: "NAME",
    default: "relay",
    help: "name of this instance",
  },
  "health-addr": HEALTH_ADDR,
  "metrics-addr": METRICS_ADDR,
  "otlp-endpoint": OTLP_ENDPOINT,
  seed: {
    kind: "integer",
    value: "N",
    min: 0,
    max: 4_294_967_295,
    aliases: ["RNG_SEED"],
    help: "repeatable ports and nonces, for tests",
  },
} as const satisfies OptionTable;
