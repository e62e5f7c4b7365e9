/**
 * Every command, once (PG-1): dispatch, help and documents are made from this table. Programs are
 * loaded when their command runs, so that `--version` and `help` load none of them.
 */
import type { Program, ProgramIo } from "../program/io.ts";
import type {
  ClientOptions,
  DemoOptions,
  GatewayOptions,
  PortalOptions,
  WgOptions,
} from "../program/options.ts";
import {
  CLIENT_ONLY,
  DEMO_ONLY,
  GATEWAY_ONLY,
  LOGGING,
  type OptionSpec,
  type OptionTable,
  PEER,
  PLANE,
  PORTAL_ONLY,
  WG_ONLY,
} from "./options.ts";

type Camel<S extends string> = S extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<Camel<Tail>>}`
  : S;

type Given<S extends OptionSpec> = S extends { kind: "flag" }
  ? boolean
  : S extends { kind: "list" }
    ? readonly string[]
    : S extends { kind: "integer" | "duration" }
      ? number
      : S extends { kind: "choice"; choices: readonly (infer C)[] }
        ? C
        : string;

/** What the parser yields for an option: `undefined` is possible only without a default. */
type ValueOf<S extends OptionSpec> = S extends { default: unknown } | { isRequired: true } | { kind: "list" }
  ? Given<S>
  : Given<S> | undefined;

export type Values<T extends OptionTable> = { readonly [K in keyof T & string as Camel<K>]: ValueOf<T[K]> };

export interface Command {
  readonly name: string;
  readonly summary: string;
  /** What follows the name besides options. */
  readonly usage: string;
  readonly words: {
    readonly min: number;
    readonly max: number;
    /** What the words may be; absent: anything. */
    readonly oneOf?: readonly string[];
  };
  readonly options: OptionTable;
  /** The longest clean stop; 5 s if absent (PG-15). */
  readonly stopWithinMs?: number;
  /** It says itself what runs here (PG-139). */
  readonly isAnnounced?: false;
  /** Command lines with what they do. */
  readonly examples: readonly (readonly [line: string, what: string])[];
  /** `values` are those of `options`, as the parser made them. */
  readonly run: (
    values: Readonly<Record<string, unknown>>,
    words: readonly string[],
    io: ProgramIo,
  ) => Promise<number>;
}

/** `standalone` is the reference's word for the same. */
const RUN = { min: 0, max: 1, oneOf: ["run", "standalone"] } as const;

interface Definition<T extends OptionTable> extends Omit<Command, "run" | "options"> {
  readonly options: T;
  readonly run: (values: Values<T>, words: readonly string[], io: ProgramIo) => Promise<number>;
}

/** Ties a command's `run` to the types of its options. */
function define<T extends OptionTable>(definition: Definition<T>): Command {
  return {
    ...definition,
    // The parser builds `values` from this very table.
    run: (values, words, io) => definition.run(values as Values<T>, words, io),
  };
}

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
    ["kill -USR2 PID", "log a snapshot: connections, resources, every counter"],
  ],
  run: async (values, _words, io) => {
    const { runClient } = await import("../program/client/index.ts");
    return await (runClient satisfies Program<ClientOptions>)(values, io);
  },
});

const gateway = define({
  name: "gateway",
  summary: "give clients access to what this host can reach",
  usage: "[run] --api-url URL",
  words: RUN,
  options: { ...PEER, ...GATEWAY_ONLY, ...PLANE, ...LOGGING },
  examples: [
    [
      "POSTERN_TOKEN=… postern gateway --api-url wss://portal.example.com",
      "join the site that the token names",
    ],
    [
      "postern gateway -u ws://192.0.2.10:8080 --id gw --masquerade off",
      "forwarding is set up by somebody else",
    ],
    ["kill -USR2 PID", "log a snapshot: connections, resources, every counter"],
  ],
  run: async (values, _words, io) => {
    const { runGateway } = await import("../program/gateway/index.ts");
    return await (runGateway satisfies Program<GatewayOptions>)(values, io);
  },
});

const portal = define({
  name: "portal",
  summary: "the server that knows who may reach what and introduces clients to gateways",
  usage: "--dev | --config FILE | check FILE | token new --kind KIND",
  words: { min: 0, max: 2 },
  options: { ...PORTAL_ONLY, ...LOGGING },
  examples: [
    ["postern portal --dev", "try it: prints the URL and a token for each role"],
    [
      "postern portal --config portal.yaml --listen 0.0.0.0:8443 --tls-cert c.pem --tls-key k.pem",
      "from a file",
    ],
    ["postern portal check portal.yaml", "examine a file"],
    ["curl http://127.0.0.1:8080/readyz", "whether it serves; /healthz: whether it lives"],
  ],
  run: async (values, words, io) => {
    const { runPortal } = await import("../program/portal/index.ts");
    return await (runPortal satisfies Program<PortalOptions>)({ ...values, words }, io);
  },
});

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
  stopWithinMs: 30_000,
  examples: [
    ["postern demo", "as root, or as a user who may make user namespaces"],
    ["postern demo --json | tail -n 1", "the results for programs"],
  ],
  run: async (values, _words, io) => {
    const { runDemo } = await import("../program/demo/index.ts");
    return await (runDemo satisfies Program<DemoOptions>)(values, io);
  },
});

export const COMMANDS: readonly Command[] = [client, gateway, portal, wg, demo];
