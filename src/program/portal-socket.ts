/**
 * The shell of the portal connection: carries out what the machine of `src/portal/protocol` wants, with
 * `ws` over connections that bypass the tunnel (D-19, PT-17, PT-18).
 */

import { WebSocket } from "ws";
import type { Instant, IpAddress, Log, Random, Secret, UnixMs } from "../base/index.ts";
import {
  type Channel,
  type ConnectFailure,
  type ConnectParams,
  createPortalConnection,
  MAX_SOCKET_BUFFER_BYTES,
  type PortalConnection,
  type PortalEvent,
  type PortalStateKind,
  type PortalTransmit,
  type PortalUrl,
} from "../portal/protocol/index.ts";
import { MAX_SLEEP_MS } from "./longest-sleep.ts";
import {
  firstConnection,
  type OpenTcp,
  privilegeError,
  reasonOf,
  systemResolve,
} from "./portal-transport.ts";
import { openWebSocket, type WebSocketEvents } from "./portal-websocket.ts";
import { type AskToken, createTokenRenewal, type TokenRenewal } from "./token-renewal.ts";

export { loadRoots, markedTcp, type OpenTcp, plainTcp } from "./portal-transport.ts";

export interface PortalSocketOptions<M, R> {
  readonly url: PortalUrl;
  readonly channel: Channel<M, R>;
  readonly token: Secret<string>;
  /** Asked when the portal refuses the token (PG-120); absent: that is the end. */
  readonly askToken?: AskToken | undefined;
  readonly userAgent: string;
  /** Absent: it tries for ever to come back (PT §3 `MAX_PARTITION`). */
  readonly maxPartitionMs?: number;
  /** Trusted roots (`loadRoots`); only for `wss`. */
  readonly roots?: readonly string[];
  readonly openTcp: OpenTcp;
  /** Addresses of the portal's name, asked outside of the tunnel; default: the system's resolvers. */
  readonly resolve?: (host: string) => Promise<readonly IpAddress[]>;
  readonly now: () => Instant;
  readonly wallNow: () => UnixMs;
  readonly random: Random;
  readonly log: Log;
  /** Called for each event of the machine except `resolve`, which this shell answers itself. */
  readonly onEvent: (event: Exclude<PortalEvent<M>, { kind: "resolve" }>) => void;
  /** What no retry mends, such as a mark that is refused without privilege (exit 5). */
  readonly onError: (error: unknown) => void;
}

export interface PortalSocket<R> {
  /** Connects, or connects anew at once (PT-20). */
  connect(login: ConnectParams): void;
  reconnect(): void;
  /** Asks at once whether the portal is still there (PT-34). */
  check(): void;
  send(request: R): void;
  /** Says goodbye to the portal; the event `closed` follows. */
  close(): void;
  readonly state: PortalStateKind;
  readonly counters: PortalConnection<unknown, R>["counters"];
}

/** One attempt: first a TCP connection, then a WebSocket. */
interface Attempt {
  readonly id: number;
  isDropped: boolean;
  /** More is buffered than the machine shall add to (PT-24). */
  isFull: boolean;
  socket: WebSocket | undefined;
}

/** What the parts of the shell share. */
interface Shell<M, R> {
  readonly options: PortalSocketOptions<M, R>;
  readonly machine: PortalConnection<M, R>;
  readonly attempts: Map<number, Attempt>;
  readonly renewal: TokenRenewal;
  timer: NodeJS.Timeout | undefined;
  isTelling: boolean;
}

export function createPortalSocket<M, R>(options: PortalSocketOptions<M, R>): PortalSocket<R> {
  const { url, channel, random, log, maxPartitionMs } = options;
  const partition = maxPartitionMs === undefined ? {} : { maxPartitionMs };
  const machine = createPortalConnection<M, R>({ url, channel, random, log, ...partition });
  const shell: Shell<M, R> = {
    ...{ options, machine, attempts: new Map(), timer: undefined, isTelling: false },
    renewal: createTokenRenewal({
      ...{ token: options.token, ask: options.askToken, maxPartitionMs, now: options.now, random },
      onToken: () => turn(shell, (now) => machine.reconnect(now)),
      onHiccup: (error, pauseMs) =>
        options.onEvent({ kind: "hiccup", pauseMs, maxElapsedMs: maxPartitionMs, error }),
      onEnd(failure) {
        if (failure !== undefined) options.onError(failure);
        else
          options.onEvent({
            kind: "fatal",
            error: { kind: "invalid-token", detail: "the same token again" },
          });
      },
    }),
  };
  return {
    connect: (login) => turn(shell, (now) => machine.connect(now, login)),
    reconnect: () => turn(shell, (now) => machine.reconnect(now)),
    check: () => turn(shell, (now) => machine.check(now)),
    send: (request) => turn(shell, (now) => machine.send(now, request)),
    close() {
      const { isAsking } = shell.renewal;
      shell.renewal.stop();
      turn(shell, (now) => machine.close(now));
      // The machine had ended with the token.
      if (isAsking && machine.state === "closed") options.onEvent({ kind: "closed" });
    },
    get state() {
      return shell.renewal.isAsking ? "waiting" : machine.state;
    },
    counters: machine.counters,
  };
}

/**
 * One input, then everything that follows from it, in the order of style §7. An input that an event's
 * listener makes does not overtake the events before it.
 */
function turn<M, R>(shell: Shell<M, R>, input: (now: Instant) => void): void {
  const { machine, options } = shell;
  input(options.now());
  for (let next = machine.pollTransmit(); next !== undefined; next = machine.pollTransmit()) {
    carryOut(shell, next);
  }
  clearTimeout(shell.timer);
  const at = machine.pollTimeout();
  if (at !== undefined) {
    const sleepMs = Math.min(MAX_SLEEP_MS, Math.max(0, at - options.now()));
    shell.timer = setTimeout(() => turn(shell, (now) => machine.handleTimeout(now)), sleepMs);
  }
  if (!shell.isTelling) tell(shell);
}

function tell<M, R>(shell: Shell<M, R>): void {
  const { machine, options } = shell;
  shell.isTelling = true;
  try {
    for (let event = machine.pollEvent(); event !== undefined; event = machine.pollEvent()) {
      if (event.kind === "resolve") resolve(shell, event.host);
      else if (!isRenewed(shell, event)) options.onEvent(event);
    }
  } finally {
    shell.isTelling = false;
  }
}

/** A refusal that another token may mend is no end. */
function isRenewed<M, R>({ renewal }: Shell<M, R>, event: PortalEvent<M>): boolean {
  if (event.kind === "connected") renewal.accepted();
  return event.kind === "fatal" && event.error.kind === "invalid-token" && renewal.refused();
}

function resolve<M, R>(shell: Shell<M, R>, host: string): void {
  const { machine, options } = shell;
  const ask = options.resolve ?? systemResolve;
  ask(host).then(
    (addresses) => turn(shell, (now) => machine.handleAddresses(now, addresses)),
    (error: unknown) => {
      options.log.debug?.("the portal's name cannot be resolved", { error });
      turn(shell, (now) => machine.handleAddresses(now, []));
    },
  );
}

function carryOut<M, R>(shell: Shell<M, R>, transmit: PortalTransmit): void {
  const attempt = shell.attempts.get(transmit.attempt);
  switch (transmit.kind) {
    case "open":
      open(shell, transmit);
      return;
    case "text":
      sendText(shell, attempt, transmit);
      return;
    case "close":
      attempt?.socket?.close(transmit.code);
      return;
    case "drop":
      if (attempt === undefined) return;
      shell.attempts.delete(attempt.id);
      attempt.isDropped = true;
      attempt.socket?.terminate();
      return;
    default:
      transmit satisfies never;
  }
}

function sendText<M, R>(
  shell: Shell<M, R>,
  attempt: Attempt | undefined,
  transmit: Extract<PortalTransmit, { readonly kind: "text" }>,
): void {
  const { machine, options } = shell;
  const socket = attempt?.socket;
  if (attempt === undefined || socket?.readyState !== WebSocket.OPEN) {
    // Not from within the drain of another input: the machine sees one thing after the other.
    queueMicrotask(() => turn(shell, (now) => machine.handleRejected(now, transmit)));
    return;
  }
  options.log.trace?.("portal message sent", { bytes: transmit.text.length });
  socket.send(transmit.text, () => {
    if (!attempt.isFull || socket.bufferedAmount > MAX_SOCKET_BUFFER_BYTES) return;
    attempt.isFull = false;
    turn(shell, (now) => machine.handleWritable(now, attempt.id, true));
  });
  if (socket.bufferedAmount <= MAX_SOCKET_BUFFER_BYTES) return;
  attempt.isFull = true;
  machine.handleWritable(options.now(), attempt.id, false);
}

function open<M, R>(shell: Shell<M, R>, transmit: Extract<PortalTransmit, { readonly kind: "open" }>): void {
  const { attempt: id, url: socketUrl, addresses, port } = transmit;
  const { options, attempts } = shell;
  const attempt: Attempt = { id, isDropped: false, isFull: false, socket: undefined };
  attempts.set(id, attempt);
  firstConnection(addresses, port, options.openTcp).then(
    (tcp) => {
      if (attempt.isDropped) tcp.destroy();
      else {
        const { token } = shell.renewal;
        attempt.socket = openWebSocket(tcp, socketUrl, { ...options, token }, webSocketEvents(shell, id));
      }
    },
    (error: unknown) => {
      if (!attempts.delete(id)) return;
      const privilege = privilegeError(error);
      if (privilege === undefined) fail(shell, id, { kind: "unreachable", code: reasonOf(error) });
      else options.onError(privilege);
    },
  );
}

function webSocketEvents<M, R>(shell: Shell<M, R>, id: number): WebSocketEvents {
  const { machine, attempts } = shell;
  return {
    open: () => turn(shell, (now) => machine.handleOpen(now, id)),
    text: (text) => turn(shell, (now) => machine.handleText(now, id, text)),
    binary: () => turn(shell, (now) => machine.handleBinary(now, id)),
    failure(failure) {
      if (attempts.delete(id)) fail(shell, id, failure);
    },
    close(code) {
      attempts.delete(id);
      turn(shell, (now) => machine.handleClose(now, id, code));
    },
  };
}

function fail<M, R>(shell: Shell<M, R>, id: number, failure: ConnectFailure): void {
  const { machine, options } = shell;
  turn(shell, (now) => machine.handleFailure(now, id, failure, options.wallNow()));
}
