/** The world around the gateway's name server: where it is asked, and whom it asks in turn (DN-84 to DN-87). */
import {
  equalValues,
  formatIp,
  type Instant,
  type IpAddress,
  type Log,
  PosternError,
} from "../../base/index.ts";
import {
  type DirectResult,
  type Do53Server,
  GATEWAY_DNS_PORT,
  type NameServer,
  type NameServerEvent,
} from "../../dns/index.ts";
import type { DirectPath } from "./direct-path.ts";
import { type ListenForNames, listenForNames, type NameListener } from "./name-listener.ts";
import type { Asked } from "./question-stream.ts";

export interface NameServiceOptions {
  /** Built with the callback for its results. */
  readonly openPath: (onResult: (token: number, result: DirectResult) => void) => DirectPath;
  /** Lets the name server have an input; its events come back by `handleEvent`. */
  readonly give: (use: (server: NameServer, now: Instant) => void) => void;
  /** The servers of the host, in the order of its file. */
  readonly readServers: () => readonly Do53Server[];
  /** What no retry mends. */
  readonly fail: (error: unknown) => void;
  readonly log: Log;
  /** Default: sockets of the host. */
  readonly listenAt?: ListenForNames;
  /** Tests have their own. */
  readonly port?: number;
}

export interface NameService {
  start(): void;
  /** The gateway's tunnel addresses; equal ones change nothing. */
  listen(addresses: readonly IpAddress[]): void;
  handleEvent(event: NameServerEvent): void;
  close(): void;
}

/** Of a host's servers, so many are asked and measured (DN-87). */
export const NAME_SERVERS_MAX = 10;

const READ_EVERY_MS = 5_000;
const ATTEMPTS = 3;
const AGAIN_MS = 100;
/** The device has no addresses of that family, or the host none at all. */
const NO_FAMILY: readonly string[] = ["EADDRNOTAVAIL", "EAFNOSUPPORT"];

interface ServiceState extends NameServiceOptions {
  readonly listenAt: ListenForNames;
  readonly askers: Map<number, Asked["reply"]>;
  nextAsker: number;
  addresses: readonly IpAddress[];
  listeners: readonly NameListener[];
  servers: readonly Do53Server[];
  poll: NodeJS.Timeout | undefined;
  isClosed: boolean;
}

export function createNameService(options: NameServiceOptions): NameService {
  const state: ServiceState = {
    listenAt: listenForNames,
    ...options,
    ...{ askers: new Map(), nextAsker: 1, addresses: [], listeners: [], servers: [] },
    ...{ poll: undefined, isClosed: false },
  };
  const path = options.openPath((token, result) =>
    options.give((server, now) => server.handleDirectResult(now, token, result)),
  );
  return {
    start() {
      look(state);
      state.poll = setInterval(() => look(state), READ_EVERY_MS).unref();
    },
    listen(addresses) {
      if (equalValues(addresses, state.addresses)) return;
      state.addresses = addresses;
      void listen(state, addresses).catch(state.fail);
    },
    handleEvent: (event) => handleEvent(state, path, event),
    close() {
      state.isClosed = true;
      clearInterval(state.poll);
      for (const listener of state.listeners) listener.close();
      path.close();
    },
  };
}

/** The file is read again: it changes with the network (DN-87). */
function look(state: ServiceState): void {
  const servers = state.readServers();
  if (equalValues(servers, state.servers)) return;
  state.servers = servers;
  state.give((server, now) => server.handleServers(now, servers));
}

function handleEvent(state: ServiceState, path: DirectPath, event: NameServerEvent): void {
  switch (event.kind) {
    case "direct-query":
      return path.send(event.query);
    case "direct-done":
      return path.done(event.token);
    case "answer":
    case "abort": {
      const reply = state.askers.get(event.asker);
      state.askers.delete(event.asker);
      reply?.(event.kind === "answer" ? event.bytes : undefined);
      return;
    }
    default:
      return event satisfies never;
  }
}

async function listen(state: ServiceState, addresses: readonly IpAddress[]): Promise<void> {
  for (const listener of state.listeners) listener.close();
  state.listeners = [];
  const opened: NameListener[] = [];
  const refusals: unknown[] = [];
  for (const address of addresses) {
    const listener = await tryToListen(state, address).catch((error: unknown) => void refusals.push(error));
    if (listener !== undefined) opened.push(listener);
  }
  if (state.isClosed || state.addresses !== addresses) {
    for (const listener of opened) listener.close();
    return;
  }
  state.listeners = opened;
  const fatal = refusals.find((error) => !NO_FAMILY.includes(codeOf(error)));
  const cause = fatal ?? (opened.length === 0 ? refusals[0] : undefined);
  if (cause !== undefined) throw cannotListen(addresses, state.port, cause);
  if (opened.length > 0) state.log.info?.("name server for clients", { addresses: addresses.map(formatIp) });
}

/** An address of IPv6 may be tentative for a moment. */
async function tryToListen(state: ServiceState, address: IpAddress): Promise<NameListener | undefined> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await state.listenAt(address, (asked) => ask(state, asked), state.port);
    } catch (error) {
      if (attempt >= ATTEMPTS || state.isClosed) throw error;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}

function ask(state: ServiceState, { transport, client, bytes, reply }: Asked): void {
  const asker = state.nextAsker++;
  state.askers.set(asker, reply);
  state.give((server, now) => server.handleQuestion(now, { asker, transport, client, bytes }));
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

function cannotListen(
  addresses: readonly IpAddress[],
  port: number | undefined,
  cause: unknown,
): PosternError {
  const where = addresses.map(formatIp).join(" and ");
  return new PosternError(
    "host",
    `cannot listen for clients' questions about names at ${where}, port ${port ?? GATEWAY_DNS_PORT}: ${String(cause)}`,
    "find out by `ss -lnp` which program has the port on all addresses, and let it listen elsewhere",
    { cause },
  );
}
