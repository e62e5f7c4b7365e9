/** `startRelay`: a relay in this process, for a portal or by itself (PG-120, RL-40). */
import { PosternError } from "../base/index.ts";
import type { RelayServerStatus } from "../program/control/index.ts";
import type { RelayOptions as ProgramOptions } from "../program/options.ts";
import { type RelayFacts, runRelay } from "../program/relay/index.ts";
import { createEmbeddedIo } from "./embedded-io.ts";
import { toLibraryError, usage } from "./error.ts";
import type { CloseReason } from "./instance.ts";
import { createRecordLog } from "./log.ts";
import { type LogRecord, readToken, type Token } from "./options.ts";

export type RelayStatus = RelayServerStatus;

/** As the options of `postern relay`. One of the public addresses is needed. */
export interface RelayOptions {
  /** `wss://portal.example`; absent: the relay stands alone, and `stampSecretPath` says whom it serves. */
  readonly apiUrl?: string | URL;
  /** Of the relay, from the portal; a function is asked again when the portal refuses what it gave. */
  readonly token?: Token;
  readonly name?: string;
  /** What clients and peers see. */
  readonly publicIp4?: string;
  readonly publicIp6?: string;
  /** Where it listens, if not at all addresses of this machine. */
  readonly bindIp4?: string;
  readonly bindIp6?: string;
  /** UDP port for clients; default 3478. */
  readonly port?: number;
  /** Ports for peers; default 49152 to 65535. */
  readonly ports?: { readonly lowest: number; readonly highest: number };
  /** A file with the secret that credentials are made of (RL-11); default: drawn at the start. */
  readonly stampSecretPath?: string;
  /** Of the credentials; default `firezone`. */
  readonly realm?: string;
  /** Whether peers may have private addresses; default `auto`. */
  readonly privatePeers?: "auto" | "allow" | "deny";
  /** Networks that are no peers. */
  readonly deniedPeers?: readonly string[];
  readonly allowLoopbackPeers?: boolean;
  /** Allocations at once; default 10,000. */
  readonly maxAllocations?: number;
  /** 0: no limit. Default 1. */
  readonly allocationsPerUser?: number;
  /** Clients by TLS: `ADDR:PORT`, files with certificate and key, and the name that clients ask for. */
  readonly tls?: {
    readonly listen: string;
    readonly cert: string;
    readonly key: string;
    readonly name?: string;
  };
  /** Milliseconds that allocations have at the end; default 0. */
  readonly drainMs?: number;
  /** How long to try to come back to a portal that is lost; default: for ever. */
  readonly maxPartitionMs?: number;
  /** A file with further trusted roots for the portal, as PEM. */
  readonly caFile?: string;
  readonly log?: (record: LogRecord) => void;
  readonly logFilter?: string;
  /** Ends the start, and later the relay. */
  readonly signal?: AbortSignal;
}

export interface Relay extends AsyncDisposable {
  /** What the portal calls it. */
  readonly id: string;
  status(): RelayStatus;
  /** Never rejects. */
  readonly closed: Promise<CloseReason>;
  /** Resolves after the drain. */
  close(): Promise<void>;
}

/**
 * Resolves when the portal has joined it, or at once where there is none. It makes threads and system calls: it
 * needs FFI (PG-134), no privilege. Capabilities, kernel parameters and the control socket are the program's affair.
 *
 * @throws PosternError `auth`, `host`
 */
export async function startRelay(options: RelayOptions): Promise<Relay> {
  const { signal, apiUrl, token } = options;
  signal?.throwIfAborted();
  if ((apiUrl === undefined) !== (token === undefined))
    throw usage("apiUrl and token come together", "or neither, for a relay that stands alone");
  const log = createRecordLog(options.log, options.logFilter);
  const said: string[] = [];
  const { io, stop } = createEmbeddedIo(log, (line) => said.push(line));
  const access = token === undefined ? { token } : await readToken(token, signal);
  let isReady = (_: RelayFacts): void => {};
  const ready = new Promise<RelayFacts>((resolve) => {
    isReady = resolve;
  });
  const run = runRelay(programOptions(options), { ...io, ...access }, { onReady: isReady });
  const closed = run.then(
    (code): CloseReason => {
      if (code === 0) return { kind: "closed" };
      const message = said.join("\n") || `the relay ended with ${code}`;
      return { kind: "failed", error: toLibraryError(new PosternError("relay-failed", message)) };
    },
    (error: unknown): CloseReason => ({ kind: "failed", error: toLibraryError(error) }),
  );
  signal?.addEventListener("abort", stop, { once: true });
  void closed.then(() => signal?.removeEventListener("abort", stop));
  const first = await Promise.race([ready, closed]);
  if ("kind" in first) throw first.kind === "failed" ? first.error : signal?.reason;
  const close = async (): Promise<void> => {
    stop();
    await closed;
  };
  return { ...first, closed, close, [Symbol.asyncDispose]: close };
}

const LOWEST_PORT = 49_152;
const HIGHEST_PORT = 65_535;
const MAX_ALLOCATIONS = 10_000;
const ALLOCATIONS_PER_USER = 1;
const TURN_PORT = 3478;

function programOptions({
  tls,
  ports,
  drainMs = 0,
  maxPartitionMs,
  port,
  ...rest
}: RelayOptions): ProgramOptions {
  const { apiUrl, name, publicIp4, publicIp6, bindIp4, bindIp6, stampSecretPath, caFile } = rest;
  return {
    ...{
      apiUrl: apiUrl === undefined ? undefined : String(apiUrl),
      name,
      publicIp4,
      publicIp6,
      bindIp4,
      bindIp6,
    },
    ...{ stampSecretPath, caFile, standAlone: apiUrl === undefined, drain: drainMs },
    maxPartitionTime: maxPartitionMs,
    turnPort: port ?? TURN_PORT,
    lowestPort: ports?.lowest ?? LOWEST_PORT,
    highestPort: ports?.highest ?? HIGHEST_PORT,
    ...{ tlsListen: tls?.listen, tlsCert: tls?.cert, tlsKey: tls?.key, tlsName: tls?.name },
    realm: rest.realm ?? "firezone",
    privatePeers: rest.privatePeers ?? "auto",
    deniedPeers: rest.deniedPeers ?? [],
    allowLoopbackPeers: rest.allowLoopbackPeers ?? false,
    maxAllocations: rest.maxAllocations ?? MAX_ALLOCATIONS,
    allocationsPerUser: rest.allocationsPerUser ?? ALLOCATIONS_PER_USER,
    ...{ check: false, exit: false, devInsecure: false },
    ...{ tokenPath: undefined, instance: undefined, tcpListen: undefined, seed: undefined },
    ...{ healthAddr: undefined, metricsAddr: undefined, otlpEndpoint: undefined },
  };
}
