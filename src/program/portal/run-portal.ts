/**
 * `postern portal`: serves, checks a file, or makes a token (PT-110, PT-111).
 */
import { formatSocketAddress, type Log, toHex } from "../../base/index.ts";
import { stateFolder } from "../../host/index.ts";
import type { DevDefaults } from "../../portal/config/index.ts";
import { createToken, hashToken, parseToken, type TokenKind } from "../../portal/derive.ts";
import { EXIT } from "../exit.ts";
import type { ProgramIo } from "../io.ts";
import type { PortalOptions } from "../options.ts";
import { systemRandom } from "../system-random.ts";
import { type ConfigSource, type FileWatch, loadModel, watchFiles } from "./config-source.ts";
import { check, explain } from "./explain.ts";
import { openPortalLoop, type PortalLoop } from "./portal-loop.ts";
import { limitsOf, listenAddress, tlsPaths, trustedProxies, usage } from "./portal-options.ts";
import { openPortalWatch, type PortalWatch } from "./portal-watch.ts";
import { MEMORY_ONLY, openStateFile } from "./state-file.ts";

/** `--drain`; a portal for trying out has nobody to spare. */
const DRAIN_MS = 10_000;

/** Runs until it is told to stop; resolves to the exit code (PG-14). */
export async function runPortal(options: PortalOptions, io: ProgramIo): Promise<number> {
  const [word, ...rest] = options.words;
  switch (word) {
    case undefined:
      return await serve(options, io);
    case "check":
      return check({ words: rest, dev: devOf(options) }, io);
    case "access":
      return explain({ words: rest, dev: devOf(options) }, io, Date.now());
    case "token":
      return printToken(options, rest, io);
    default:
      throw usage(
        `unknown word '${word}' after portal`,
        "it may be check FILE, access FILE CLIENT RESOURCE or token new --kind KIND",
      );
  }
}

/** Tokens of one `--dev` run: new at each start, kept across reloads. */
interface DevTokens {
  readonly gateway: string;
  readonly relay: string;
  readonly client: string;
}

async function serve(options: PortalOptions, io: ProgramIo): Promise<number> {
  const startedAt = performance.now();
  const address = listenAddress(options);
  const tokens = options.dev ? newDevTokens() : undefined;
  const source: ConfigSource = {
    path: options.config,
    dev: tokens === undefined ? undefined : { tokens: hashesOf(tokens) },
    env: io.env,
  };
  const loaded = loadModel(source);
  if (!loaded.ok) {
    for (const line of loaded.lines) io.printError(`postern: ${line}`);
    return EXIT.usage;
  }
  const log = io.log.scope("portal");
  for (const warning of loaded.warnings) log.warn?.(warning);
  const state = options.dev
    ? MEMORY_ONLY
    : openStateFile(options.data ?? `${stateFolder(io.env)}/portal`, log);
  try {
    const loop = await openPortalLoop({
      address,
      tls: tlsPaths(options, address),
      trustedProxies: trustedProxies(options),
      model: loaded.model,
      state,
      random: systemRandom,
      limits: limitsOf(options),
      log,
    });
    const stop = createStop();
    const watch = await openPortalWatch({ options, io, log, loop, startedAt, stop: stop.begin }).catch(
      async (error: unknown) => {
        await loop.close();
        throw error;
      },
    );
    watch.ready();
    announce(loop, options, tokens, io);
    await untilStopped(loop, source, io, { log, watch, stop, loadedFiles: loaded.files });
    watch.stopping();
    const drainMs = options.drain ?? (options.dev ? 0 : DRAIN_MS);
    const { clients, gateways, relays } = loop.status();
    log.info?.("stopping", { peers: clients.length + gateways.length + relays, drainMs });
    await loop.drain(drainMs);
    await loop.close();
    await watch.close();
    log.info?.("stopped");
    return EXIT.ok;
  } finally {
    await state.close();
  }
}

/** The lines that scripts read; `ready` is the last (PT-111). */
function announce(
  loop: PortalLoop,
  options: PortalOptions,
  tokens: DevTokens | undefined,
  io: ProgramIo,
): void {
  const { address } = loop.listener;
  io.log.scope("portal").info?.("listening", { address: formatSocketAddress(address) });
  if (tokens !== undefined) {
    const scheme = options.tlsCert === undefined ? "ws" : "wss";
    io.print(`POSTERN_API_URL=${scheme}://${formatSocketAddress(address)}`);
    io.print(`GATEWAY_TOKEN=${tokens.gateway}`);
    io.print(`RELAY_TOKEN=${tokens.relay}`);
    io.print(`CLIENT_TOKEN=${tokens.client}`);
  }
  io.print("ready");
}

/** The wish to end, from wherever it comes; the first counts. */
interface Stop {
  begin(): void;
  readonly begun: Promise<void>;
}

function createStop(): Stop {
  let begin = (): void => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  return { begin: () => begin(), begun };
}

interface Watching {
  readonly log: Log;
  readonly watch: PortalWatch;
  readonly stop: Stop;
  /** What the model was read from (PT-114). */
  readonly loadedFiles: readonly string[];
}

async function untilStopped(
  loop: PortalLoop,
  source: ConfigSource,
  io: ProgramIo,
  { log, watch, stop, loadedFiles }: Watching,
): Promise<void> {
  const reload = (): void => reloadConfig(loop, source, files, log);
  const files = watchFiles(reload, log);
  files.follow(loadedFiles);
  const forget = io.onSignal((signal) => {
    switch (signal) {
      case "SIGINT":
      case "SIGTERM":
        return stop.begin();
      case "SIGHUP":
        io.logControl.reopen();
        reload();
        reloadTls(loop, log);
        return;
      case "SIGUSR2":
        return watch.log();
      default:
        signal satisfies never;
    }
  });
  await stop.begun;
  forget();
  files.close();
}

/** A certificate that was renewed serves new connections; one that cannot be used changes nothing. */
function reloadTls(loop: PortalLoop, log: Log): void {
  try {
    if (loop.listener.reloadTls()) log.info?.("certificate read again");
  } catch (error) {
    log.error?.("certificate not changed", { error });
  }
}

/** A file that cannot be used changes nothing (PT-114). */
function reloadConfig(loop: PortalLoop, source: ConfigSource, files: FileWatch, log: Log): void {
  try {
    const loaded = loadModel(source);
    files.follow(loaded.files);
    if (loaded.ok) {
      loop.reload(loaded.model);
      for (const warning of loaded.warnings) log.warn?.(warning);
      log.info?.("configuration reloaded");
      return;
    }
    loop.server.counters.configErrors++;
    for (const line of loaded.lines) log.error?.("configuration not changed", { line });
  } catch (error) {
    // The file may be gone for the moment that an editor needs to replace it.
    loop.server.counters.configErrors++;
    log.error?.("configuration not changed", { error });
  }
}

/** The token is printed once and stored nowhere; the second line goes into the file. */
function printToken({ kind }: PortalOptions, words: readonly string[], io: ProgramIo): number {
  if (words.length !== 1 || words[0] !== "new") throw usage("it is: portal token new --kind KIND");
  if (kind === undefined) throw usage("portal token new needs --kind client|gateway|relay|api");
  const token = createToken(kind, systemRandom);
  io.print(token);
  io.print(`hash: "sha256:${hashOf(token)}"`);
  return EXIT.ok;
}

/** For a look at a file: the tokens of such a portal are none that anybody has. */
function devOf({ dev }: PortalOptions): DevDefaults | undefined {
  return dev ? { tokens: hashesOf(newDevTokens()) } : undefined;
}

function newDevTokens(): DevTokens {
  const make = (kind: TokenKind): string => createToken(kind, systemRandom);
  return { gateway: make("gateway"), relay: make("relay"), client: make("client") };
}

function hashesOf(tokens: DevTokens): DevDefaults["tokens"] {
  return { gateway: hashOf(tokens.gateway), relay: hashOf(tokens.relay), client: hashOf(tokens.client) };
}

function hashOf(text: string): string {
  const token = parseToken(text);
  if (token === undefined) throw new Error("a new token is readable");
  return toHex(hashToken(token));
}
