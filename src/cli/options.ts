/**
 * Every option, once (PG-6): parsing, variables, help and documents are made from this table.
 *
 * The variable of `--some-name` is `POSTERN_SOME_NAME`, unless `hasVariable` is false.
 */
import { parseApiUrl, parseCollectorUrl, parseDeviceName, parseInstance } from "./values.ts";

interface OptionBase {
  readonly short?: string;
  readonly help: string;
  /** Further variables that mean the same (PG-3). */
  readonly aliases?: readonly string[];
  /** Aliases whose truth is the option's falsehood. */
  readonly negatedAliases?: readonly string[];
  /** What the option was called before: still taken in this release, with a warning (PG-3). */
  readonly former?: string;
  readonly hasVariable?: false;
  /** Variables that others would obey and we cannot, each with the reason: set, they end the start. */
  readonly refusedVariables?: Readonly<Record<string, string>>;
  /** Accepted, and without effect in this release. */
  readonly isLater?: true;
}

export type OptionSpec = OptionBase &
  (
    | {
        readonly kind: "flag";
        readonly default?: boolean;
        /** With it nothing is required. */
        readonly waives?: true;
      }
    | {
        readonly kind: "text";
        readonly value: string;
        readonly default?: string;
        readonly isRequired?: true;
        readonly check?: (text: string) => { ok: true; value: string } | { ok: false; reason: string };
      }
    | { readonly kind: "list"; readonly value: string }
    | {
        readonly kind: "integer";
        readonly value: string;
        readonly default?: number;
        readonly min: number;
        readonly max: number;
      }
    | { readonly kind: "duration"; readonly value: string; readonly default?: number }
    | { readonly kind: "choice"; readonly choices: readonly string[]; readonly default?: string }
  );

export type OptionTable = Readonly<Record<string, OptionSpec>>;

/** What every command that runs for long has. `main` uses it; programs do not see it. */
export const LOGGING = {
  log: {
    kind: "text",
    value: "FILTER",
    default: "info",
    aliases: ["RUST_LOG"],
    help: "what is logged: [TARGET=]LEVEL,… with levels off, error, warn, info, debug, trace",
  },
  "log-format": {
    kind: "choice",
    choices: ["human", "json"],
    default: "human",
    aliases: ["FIREZONE_LOG_FORMAT", "LOG_FORMAT"],
    help: "form of the lines on stderr",
  },
  "log-dir": {
    kind: "text",
    short: "l",
    value: "DIR",
    aliases: ["LOG_DIR"],
    help: "also log into files there: one per start; old ones go beyond 100 MiB",
  },
  "env-file": {
    kind: "list",
    value: "PATH",
    hasVariable: false,
    help: "read variables from KEY=VALUE lines; the real environment wins",
  },
} as const satisfies OptionTable;

export const HEALTH_ADDR = {
  kind: "text",
  value: "ADDR:PORT",
  aliases: ["HEALTH_CHECK_ADDR"],
  help: "serve /healthz and /readyz",
} as const satisfies OptionSpec;

export const METRICS_ADDR = {
  kind: "text",
  value: "ADDR:PORT",
  help: "serve Prometheus metrics at /metrics; a port alone means loopback",
} as const satisfies OptionSpec;

export const OTLP_ENDPOINT = {
  kind: "text",
  value: "URL",
  check: parseCollectorUrl,
  refusedVariables: { OTLP_GRPC_ENDPOINT: "gRPC is not spoken; use --otlp-endpoint with OTLP over HTTP" },
  help: "push metrics every minute by OTLP over HTTP, to URL/v1/metrics",
} as const satisfies OptionSpec;

/** Client and gateway. */
export const PEER = {
  "api-url": {
    kind: "text",
    short: "u",
    value: "URL",
    isRequired: true,
    check: parseApiUrl,
    aliases: ["FIREZONE_API_URL"],
    help: "where the portal is: ws, wss, http or https",
  },
  "token-path": {
    kind: "text",
    value: "PATH",
    aliases: ["FIREZONE_TOKEN_PATH"],
    help: "file with the token (default /etc/postern/<role>-token); POSTERN_TOKEN goes first",
  },
  id: {
    kind: "text",
    short: "i",
    value: "ID",
    aliases: ["FIREZONE_ID"],
    help: "identifier of this device (default: kept in /var/lib/postern)",
  },
  name: {
    kind: "text",
    short: "n",
    value: "NAME",
    aliases: ["FIREZONE_NAME"],
    help: "name shown in the portal (default: the host's)",
  },
  "max-partition-time": {
    kind: "duration",
    short: "m",
    value: "DURATION",
    aliases: ["FIREZONE_MAX_PARTITION_TIME", "MAX_PARTITION_TIME"],
    help: "give up when the portal is unreachable for so long (client: never, gateway: 24h)",
  },
  check: { kind: "flag", default: false, help: "examine options, privileges and token, then exit" },
  exit: { kind: "flag", default: false, help: "start fully, then undo everything and exit" },
  "no-check": { kind: "flag", default: false, help: "skip the privilege check" },
  "ca-file": { kind: "text", value: "PATH", help: "certificates to trust besides the system's" },
  "listen-port": {
    kind: "integer",
    value: "N",
    default: 52_625,
    min: 0,
    max: 65_535,
    help: "UDP port; 0 means a random one",
  },
  "tun-name": {
    kind: "text",
    value: "NAME",
    default: "tun-postern",
    check: parseDeviceName,
    help: "name of the network interface",
  },
  mode: {
    kind: "choice",
    choices: ["tun", "userspace"],
    default: "tun",
    help: "how packets reach this host: by a TUN device, or, without root, through this process alone",
  },
  sockets: {
    kind: "choice",
    choices: ["auto", "fast", "plain"],
    default: "auto",
    help: "with --mode userspace: own sockets and threads, those of the runtime, or the fast ones if they open",
  },
  instance: {
    kind: "text",
    value: "NAME",
    check: parseInstance,
    help: "name of this instance (default: the role)",
  },
  "on-event": {
    kind: "text",
    value: "CMD",
    help: "run a shell command for each event: its name in POSTERN_EVENT, JSON on standard input",
  },
  "egress-interface": {
    kind: "text",
    value: "NAME",
    check: parseDeviceName,
    help: "let everything outside the tunnel leave and come by this interface",
  },
  "flow-records": {
    kind: "integer",
    value: "N",
    min: 1024,
    max: 524_288,
    help: "most flow records at a time (client 16384, gateway 131072)",
  },
  "metrics-per-peer": { kind: "flag", default: false, help: "metrics with a label per peer" },
} as const satisfies OptionTable;

export const DNS_CONTROL = {
  kind: "choice",
  choices: ["auto", "systemd-resolved", "etc-resolv-conf", "disabled"],
  aliases: ["FIREZONE_DNS_CONTROL"],
  help: "how the system's DNS is pointed at the tunnel",
} as const satisfies OptionSpec;

export const CLIENT_ONLY = {
  "dns-control": { ...DNS_CONTROL, default: "auto" },
  "revert-dns": { kind: "flag", default: false, waives: true, help: "undo DNS control and exit" },
  "internet-resource": {
    kind: "flag",
    default: false,
    aliases: ["FIREZONE_ACTIVATE_INTERNET_RESOURCE"],
    help: "use the internet resource, if one is granted: whatever no other resource has goes through it",
  },
  socks: {
    kind: "text",
    value: "ADDR:PORT",
    help: "with --mode userspace: a SOCKS 5 proxy into the tunnel, for example 127.0.0.1:1080",
  },
  "http-proxy": {
    kind: "text",
    value: "ADDR:PORT",
    help: "with --mode userspace: an HTTP proxy (CONNECT) into the tunnel, for example 127.0.0.1:8118",
  },
  "proxy-password-path": {
    kind: "text",
    value: "PATH",
    help: "file with the password of user `postern` for both proxies; without, they listen on loopback only",
  },
} as const satisfies OptionTable;

export const GATEWAY_ONLY = {
  masquerade: {
    kind: "choice",
    choices: ["auto", "off"],
    default: "auto",
    help: "set up forwarding and masquerading, so that resources need no route back",
  },
  "host-access": {
    kind: "choice",
    choices: ["dns", "all"],
    default: "dns",
    help: "what of the gateway's own tunnel addresses clients reach",
  },
  "allow-link-local": { kind: "flag", default: false, help: "names may lead to link-local addresses" },
  "flow-logs": {
    kind: "flag",
    default: false,
    aliases: ["FIREZONE_FLOW_LOGS"],
    help: "log a line per finished flow: who reached what, when, and how much (adds flow_logs=trace to --log)",
  },
  "health-addr": HEALTH_ADDR,
} as const satisfies OptionTable;

export const WG_ONLY = {
  bare: {
    kind: "flag",
    default: false,
    hasVariable: false,
    help: "the device and its socket for `wg` only: no file, no address, no route",
  },
  detach: {
    kind: "flag",
    default: false,
    hasVariable: false,
    help: "return when it is ready, and go on by itself",
  },
  "allow-hooks": {
    kind: "flag",
    default: false,
    help: "run PreUp, PostUp, PreDown and PostDown of the file",
  },
  "dns-control": { ...DNS_CONTROL, default: "disabled", isLater: true },
} as const satisfies OptionTable;

export const PORTAL_ONLY = {
  config: { kind: "text", value: "FILE", help: "account, sites, resources and policies (YAML)" },
  dev: {
    kind: "flag",
    default: false,
    help: "in memory, on 127.0.0.1:8080, with tokens printed at the start",
  },
  "dev-insecure": { kind: "flag", default: false, help: "let --dev listen on other addresses than loopback" },
  listen: { kind: "text", value: "ADDR:PORT", help: "where to listen" },
  "tls-cert": { kind: "text", value: "FILE", help: "certificate chain (PEM)" },
  "tls-key": { kind: "text", value: "FILE", help: "private key (PEM)" },
  kind: {
    kind: "choice",
    choices: ["client", "gateway", "relay", "api"],
    hasVariable: false,
    help: "of the token that `token new` makes",
  },
  data: { kind: "text", value: "DIR", help: "where state is kept" },
  instance: {
    kind: "text",
    value: "NAME",
    default: "portal",
    check: parseInstance,
    help: "name of this instance",
  },
  "trusted-proxy": {
    kind: "list",
    value: "CIDR",
    help: "a proxy that ends TLS; the peer's address is taken from its X-Forwarded-For",
  },
  "user-devices": {
    kind: "integer",
    value: "N",
    min: 0,
    max: 1_000_000,
    help: "devices that one token of a person may register (default 10; --dev and 0: no limit)",
  },
  "service-devices": {
    kind: "integer",
    value: "N",
    min: 0,
    max: 1_000_000,
    help: "devices per token of a service account (default 1000; --dev and 0: no limit)",
  },
  gateways: {
    kind: "integer",
    value: "N",
    min: 0,
    max: 1_000_000,
    help: "gateways per token (default 1000; --dev and 0: no limit)",
  },
  drain: {
    kind: "duration",
    value: "DURATION",
    help: "within which a stop sends peers away, one by one (default 10s; --dev: at once)",
  },
  "health-addr": HEALTH_ADDR,
  "metrics-addr": METRICS_ADDR,
  "otlp-endpoint": OTLP_ENDPOINT,
  "status-token": {
    kind: "text",
    value: "FILE",
    help: "serve /status.json to those who show the token in this file (Authorization: Bearer …)",
  },
} as const satisfies OptionTable;

/** Commands that speak with a running program. */
export const ASKING = {
  instance: {
    kind: "text",
    value: "NAME",
    check: parseInstance,
    help: "which running program, by its instance (default: the one that runs here)",
  },
} as const satisfies OptionTable;

export const SHOWING = {
  json: { kind: "flag", default: false, hasVariable: false, help: "one JSON value instead of text" },
} as const satisfies OptionTable;

export const STATUS_ONLY = {
  watch: { kind: "flag", default: false, hasVariable: false, help: "again every second" },
} as const satisfies OptionTable;

export const FLOWS_ONLY = {
  limit: {
    kind: "integer",
    value: "N",
    default: 100,
    min: 1,
    max: 1000,
    hasVariable: false,
    help: "at most so many flows",
  },
} as const satisfies OptionTable;

export const SERVICE_ONLY = {
  "dry-run": {
    kind: "flag",
    default: false,
    hasVariable: false,
    help: "say what would be done, and do nothing",
  },
  "dns-control": {
    kind: "choice",
    choices: ["auto", "etc-resolv-conf"],
    default: "auto",
    hasVariable: false,
    help: "of the client: a unit that may write /etc/resolv.conf, as root",
  },
  root: { kind: "text", value: "DIR", hasVariable: false, help: "write files below DIR, for images" },
} as const satisfies OptionTable;

export const TOKEN_ONLY = {
  replace: { kind: "flag", default: false, hasVariable: false, help: "replace a token that is there" },
  "token-path": {
    ...PEER["token-path"],
    help: "where to store it (default /etc/postern/<role>-token)",
  },
} as const satisfies OptionTable;

export const ID_ONLY = { id: PEER.id, instance: PEER.instance } as const satisfies OptionTable;

export const DOCTOR_ONLY = {
  "api-url": {
    kind: "text",
    short: "u",
    value: "URL",
    check: parseApiUrl,
    aliases: ["FIREZONE_API_URL"],
    help: "try the way to this portal (default: that of the client or gateway that runs here)",
  },
  "ca-file": PEER["ca-file"],
  "token-path": {
    ...PEER["token-path"],
    help: "the file to look at (default: /etc/postern/<role>-token)",
  },
  relay: {
    kind: "list",
    value: "ADDR:PORT",
    hasVariable: false,
    help: "try the way to this relay; two of them tell what kind of NAT there is",
  },
} as const satisfies OptionTable;

export const LOOKUP_ONLY = {
  type: {
    kind: "text",
    value: "TYPE",
    hasVariable: false,
    help: "records of this type, such as TXT, SRV or TYPE65 (default: addresses of both families)",
  },
} as const satisfies OptionTable;

export const RESET_ONLY = {
  reason: { kind: "text", value: "TEXT", hasVariable: false, help: "for the log" },
} as const satisfies OptionTable;
