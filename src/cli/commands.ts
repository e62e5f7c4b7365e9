/**
 * Every command, once (PG-1): dispatch, help and documents are made from this table. Programs are
 * loaded when their command runs, so that `--version` and `help` load none of them.
 */
import type { Program } from "../program/io.ts";
import type {
  BenchOptions,
  ClientOptions,
  DemoOptions,
  DoctorOptions,
  GatewayOptions,
  PortalOptions,
  RelayOptions,
  WgOptions,
} from "../program/options.ts";
import { ADMINISTERING_COMMANDS } from "./administering.ts";
import { ASKING_COMMANDS } from "./asking.ts";
import { BENCH } from "./bench-options.ts";
import { formatCompletion, SHELLS } from "./completion.ts";
import { type Command, define } from "./define.ts";
import { DEMO_ONLY } from "./demo-options.ts";
import { formatMan } from "./man.ts";
import {
  CLIENT_ONLY,
  DOCTOR_ONLY,
  GATEWAY_ONLY,
  LOGGING,
  PEER,
  PORTAL_ONLY,
  SHOWING,
  WG_ONLY,
} from "./options.ts";
import { PLANE } from "./plane-options.ts";
import { RELAY } from "./relay-options.ts";

/** Forwarding without a gateway, for who starts one with fewer privileges (PG-68). */
const FORWARDING_ONLY = ["setup", "teardown"] as const;

/** `standalone` is the reference's word for the same. */
const RUN = { min: 0, max: 1, oneOf: ["run", "standalone"] } as const;

const client = define({
  name: "client",
  summary: "reach resources through gateways, as a headless client in the foreground",
  usage: "[run] --api-url URL",
  words: RUN,
  options: { ...PEER, ...CLIENT_ONLY, ...PLANE, ...LOGGING },
  examples: [
    [
      "POSTERN_TOKEN=… postern client --api-url wss://portal.example.com",
      "connect with the token of the portal",
    ],
    [
      "postern client -u ws://192.0.2.10:8080 --id laptop --dns-control disabled",
      "a fixed identifier, no DNS control",
    ],
    ["postern status", "what a running client does; kill -USR2 PID logs it, with every counter"],
  ],
  run: async (values, _words, io) => {
    const { runClient } = await import("../program/client/index.ts");
    return await (runClient satisfies Program<ClientOptions>)(values, io);
  },
});

const gateway = define({
  name: "gateway",
  summary: "give clients access to what this host can reach",
  usage: "[run] --api-url URL | setup | teardown",
  words: { min: 0, max: 1, oneOf: [...RUN.oneOf, ...FORWARDING_ONLY] },
  waives: FORWARDING_ONLY,
  options: { ...PEER, ...GATEWAY_ONLY, ...PLANE, ...LOGGING },
  logsAlso: ({ flowLogs }) => (flowLogs === true ? "flow_logs=trace" : undefined),
  examples: [
    [
      "POSTERN_TOKEN=… postern gateway --api-url wss://portal.example.com",
      "join the site that the token names",
    ],
    [
      "postern gateway -u ws://192.0.2.10:8080 --id gw --masquerade off",
      "forwarding is set up by somebody else",
    ],
    ["sudo postern gateway setup", "forwarding and masquerading alone; teardown removes the rules"],
    ["kill -USR2 PID", "log a snapshot: connections, resources, every counter"],
  ],
  run: async (values, [word], io) => {
    const { runGateway } = await import("../program/gateway/index.ts");
    return await (runGateway satisfies Program<GatewayOptions>)({ ...values, word }, io);
  },
});

const portal = define({
  name: "portal",
  summary: "the server that knows who may reach what and introduces clients to gateways",
  usage:
    "--dev | --config FILE | check FILE | access FILE CLIENT RESOURCE[:PORT][/PROTOCOL] | token new --kind KIND",
  words: { min: 0, max: 4 },
  options: { ...PORTAL_ONLY, ...LOGGING },
  stopWithinMs: ({ drain = PORTAL_DRAIN_MS }) => Number(drain) + STOP_MARGIN_MS,
  examples: [
    ["postern portal --dev", "try it: prints the URL and a token for each role"],
    [
      "postern portal --config portal.yaml --listen 0.0.0.0:8443 --tls-cert c.pem --tls-key k.pem",
      "from a file",
    ],
    ["postern portal check portal.yaml", "examine a file; with --dev one of portal --dev"],
    ["postern portal access portal.yaml alice Git:443/tcp", "may she, and by which policy?"],
    ["curl http://127.0.0.1:8080/readyz", "whether it serves; /healthz: whether it lives"],
  ],
  run: async (values, words, io) => {
    const { runPortal } = await import("../program/portal/index.ts");
    return await (runPortal satisfies Program<PortalOptions>)({ ...values, words }, io);
  },
});

const relay = define({
  name: "relay",
  summary: "relay datagrams between clients and gateways that cannot reach each other directly (TURN)",
  usage: "--public-ip4 ADDR --api-url URL | --public-ip4 ADDR --stand-alone",
  words: RUN,
  options: { ...RELAY, ...LOGGING },
  // Clients need the time of the drain to move.
  stopWithinMs: ({ drain }) => Number(drain) + STOP_MARGIN_MS,
  examples: [
    [
      "POSTERN_TOKEN=… postern relay --public-ip4 198.51.100.7 --api-url wss://portal.example.com",
      "serve the clients and gateways of a portal",
    ],
    [
      "postern relay --public-ip4 198.51.100.7 --public-ip6 2001:db8::7 --stand-alone --stamp-secret-path ./secret",
      "without a portal, with a secret of your own",
    ],
    ["postern status", "allocations, channels, what went through; kill -USR2 PID logs every counter"],
  ],
  run: async (values, _words, io) => {
    const { runRelay } = await import("../program/relay/index.ts");
    return await (runRelay satisfies Program<RelayOptions>)(values, io);
  },
});

/** What the portal takes when nothing else is said (PT-190). */
const PORTAL_DRAIN_MS = 10_000;
/** What a relay or portal takes to close besides its drain. */
const STOP_MARGIN_MS = 10_000;

const wg = define({
  name: "wg",
  summary: "a plain WireGuard interface from a wg-quick file, in the foreground",
  usage: "NAME|CONFIG",
  words: { min: 1, max: 1 },
  options: { ...WG_ONLY, ...PLANE, ...LOGGING },
  examples: [
    ["postern wg ./wg0.conf", "the interface wg0; prints `ready` when it is up"],
    ["postern wg wg0", "the same from /etc/wireguard/wg0.conf"],
    ["kill -USR2 PID", "prints all counters as one line of JSON"],
    [
      "WG_QUICK_USERSPACE_IMPLEMENTATION=postern-wg wg-quick up wg0",
      "postern wg --bare --detach, by wg-quick",
    ],
  ],
  run: async (values, [config = ""], io) => {
    const { runWg } = await import("../program/wg/index.ts");
    return await (runWg satisfies Program<WgOptions>)({ ...values, config }, io);
  },
});

const demo = define({
  name: "demo",
  summary: "portal, gateway, client and a web server in network namespaces, measured and removed again",
  usage: "",
  words: { min: 0, max: 0 },
  isAnnounced: false,
  options: { ...DEMO_ONLY, ...LOGGING },
  // It stops its programs one after the other, and each may take its time.
  stopWithinMs: () => 30_000,
  examples: [
    ["postern demo", "as root, or as a user who may make user namespaces"],
    ["postern demo --json | tail -n 1", "the results for programs"],
    ["postern demo --relayed --script roam,kill-relay,start-relay", "a network that changes, without keys"],
  ],
  run: async (values, _words, io) => {
    const { runDemo } = await import("../program/demo/index.ts");
    return await (runDemo satisfies Program<DemoOptions>)(values, io);
  },
});

const bench = define({
  name: "bench",
  summary: "measure Postern beside other tunnels on this host, or the way to a remote end",
  usage: "[HOST | serve]",
  words: { min: 0, max: 1 },
  isAnnounced: false,
  options: { ...BENCH, ...LOGGING },
  // It stops all tunnels one after the other.
  stopWithinMs: () => 30_000,
  examples: [
    ["postern bench --quick", "a first look, in a minute"],
    [
      "postern bench --output today.json --plot today.svg",
      "beside wireguard-go and OpenVPN, where they are installed",
    ],
    ["postern bench --compare today.json", "against an earlier result"],
    ["postern bench serve --listen 10.7.0.2:5202", "the far end of one run; prints a secret"],
    ["POSTERN_BENCH_SECRET=… postern bench 10.7.0.2", "the way to it, through whatever tunnel leads there"],
  ],
  run: async (values, [word], io) => {
    const { runBench } = await import("../program/bench/index.ts");
    return await (runBench satisfies Program<BenchOptions>)({ ...values, word }, io);
  },
});

const doctor = define({
  name: "doctor",
  summary: "examine this host and the way to portal and relays; changes nothing",
  usage: "[ROLE]",
  words: { min: 0, max: 1, oneOf: ["client", "gateway", "relay", "portal", "wg"] },
  isAnnounced: false,
  options: { ...DOCTOR_ONLY, ...SHOWING },
  examples: [
    ["sudo postern doctor gateway -u wss://portal.example.com", "what a gateway needs, and its portal"],
    ["postern doctor --relay 198.51.100.7:3478 --relay 203.0.113.9:3478", "UDP, and what NAT there is"],
    ["postern doctor --json", "for programs; exit 1 if something is wrong"],
  ],
  run: async (values, [role], io) => {
    const { runDoctor } = await import("../program/doctor/index.ts");
    return await runDoctor({ ...values, role } satisfies DoctorOptions, io);
  },
});

const completion = define({
  name: "completion",
  summary: "print a script that completes commands and options in a shell",
  usage: "bash|zsh|fish",
  words: { min: 1, max: 1, oneOf: SHELLS },
  isAnnounced: false,
  options: {},
  examples: [
    ["postern completion bash | sudo tee /etc/bash_completion.d/postern", "for everybody on this host"],
    ["postern completion fish > ~/.config/fish/completions/postern.fish", "for yourself"],
  ],
  run: async (_values, [word], io) => {
    const shell = SHELLS.find((one) => one === word) ?? "bash";
    io.print(formatCompletion(shell, COMMANDS).trimEnd());
    return 0;
  },
});

const man = define({
  name: "man",
  summary: "print the man page",
  usage: "",
  words: { min: 0, max: 0 },
  isAnnounced: false,
  options: {},
  examples: [
    ["postern man | man -l -", "read it"],
    [
      "postern man | sudo tee /usr/local/share/man/man1/postern.1 > /dev/null",
      "so that `man postern` finds it",
    ],
  ],
  run: async (_values, _words, io) => {
    io.print(formatMan(COMMANDS).trimEnd());
    return 0;
  },
});

export type { Command, Values } from "./define.ts";

export const COMMANDS: readonly Command[] = [
  client,
  gateway,
  portal,
  relay,
  wg,
  demo,
  bench,
  doctor,
  ...ADMINISTERING_COMMANDS,
  completion,
  man,
  ...ASKING_COMMANDS,
];
