/**
 * The peer's side of the portal connection, as a machine (PT §3).
 *
 * It owns no socket. The shell carries out transmits (open a WebSocket, send a text, close) and hands
 * back what happens, tagged with the attempt it belongs to, so that a late word of an old socket
 * changes nothing. Drive it like every machine: after each input drain `pollTransmit`, then
 * `pollTimeout`, then `pollEvent`.
 *
 *   closed ──connect()──▶ resolving ──▶ connecting ──open──▶ joining ──reply──▶ joined
 *                            ▲  addresses    │ failure          │ time-out         │ broken
 *                            └────────────── waiting ◀──────────┴──────────────────┘
 */
import { fenced, type Instant, type IpAddress, type UnixMs, unreachable } from "../../base/index.ts";
import {
  breakOnDefect,
  type ConnectionCore,
  type ConnectionState,
  close,
  connect,
  createConnectionCore,
  fail,
  finish,
  obey,
  type PortalConnectionOptions,
  type PortalCounters,
  type PortalEvent,
  type PortalTransmit,
  startAttempt,
  takeAddresses,
  takeClose,
  takeFailure,
} from "./connection-core.ts";
import type { ConnectFailure } from "./failure.ts";
import { parseFrame } from "./frame.ts";
import { createLine, type Line } from "./line.ts";
import { type ConnectParams, joinPayloadOf } from "./login.ts";

export type PortalStateKind = ConnectionState["kind"];

export interface PortalConnection<M, R> {
  /** Connects, or connects anew at once and with a fresh back-off (PT-20). */
  connect(now: Instant, params: ConnectParams): void;
  /** `connect` with the parameters of the last one; the way back after a network change. */
  reconnect(now: Instant): void;
  /** The process stood still: asks at once whether the portal is still there (PT-34). */
  check(now: Instant): void;
  close(now: Instant): void;
  /** Queues a request; it is sent, in order, as soon as the channel is joined (PT-23). */
  send(now: Instant, request: R): void;
  handleAddresses(now: Instant, addresses: readonly IpAddress[]): void;
  handleOpen(now: Instant, attempt: number): void;
  handleFailure(now: Instant, attempt: number, failure: ConnectFailure, wallNow: UnixMs): void;
  handleText(now: Instant, attempt: number, text: string): void;
  handleBinary(now: Instant, attempt: number): void;
  /** `code` is that of the close frame, 1006 if there was none. */
  handleClose(now: Instant, attempt: number, code: number): void;
  /** The socket did not take this transmit: it goes back to its queue (PT-25). */
  handleRejected(now: Instant, transmit: PortalTransmit): void;
  /** While not writable the machine hands out no texts (PT-24). */
  handleWritable(now: Instant, attempt: number, isWritable: boolean): void;
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
  pollTransmit(): PortalTransmit | undefined;
  pollEvent(): PortalEvent<M> | undefined;
  readonly state: PortalStateKind;
  readonly counters: Readonly<PortalCounters>;
}

export function createPortalConnection<M, R>(options: PortalConnectionOptions<M, R>): PortalConnection<M, R> {
  const core = createConnectionCore(options);
  return {
    ...socketInputs(core),
    connect(now, params) {
      core.clock = now;
      connect(core, now, params);
    },
    reconnect(now) {
      core.clock = now;
      if (core.params !== undefined) connect(core, now, core.params);
    },
    check(now) {
      core.clock = now;
      // Every other state has a deadline of its own.
      if (core.state.kind === "joined") core.state.line.check(now);
    },
    close(now) {
      core.clock = now;
      close(core, now);
    },
    send(now, request) {
      core.clock = now;
      core.outbox.push(now, options.channel.toRequestEvent(request));
    },
    handleTimeout(now) {
      core.clock = now;
      tick(core, now);
    },
    pollTimeout: () => wakeAt(core.state),
    pollTransmit() {
      const first = core.transmits.shift();
      if (first !== undefined) return first;
      const { state } = core;
      if (state.kind !== "joining" && state.kind !== "joined") return undefined;
      const next = state.line.pollFrame(core.clock);
      return next === undefined ? undefined : { kind: "text", attempt: state.attempt, ...next };
    },
    pollEvent: () => core.events.shift(),
    get state() {
      return core.state.kind;
    },
    counters: core.counters,
  };
}

type SocketInputs = Pick<
  PortalConnection<never, never>,
  | "handleAddresses"
  | "handleOpen"
  | "handleFailure"
  | "handleText"
  | "handleBinary"
  | "handleClose"
  | "handleRejected"
  | "handleWritable"
>;

/** What the shell reports; words of an old attempt change nothing. */
function socketInputs<M, R>(core: ConnectionCore<M, R>): SocketInputs {
  const { channel, log } = core.options;
  return {
    handleAddresses(now, found) {
      core.clock = now;
      takeAddresses(core, now, found);
    },
    handleOpen(now, attempt) {
      core.clock = now;
      if (core.state.kind !== "connecting" || core.state.attempt !== attempt) return;
      // A fresh line: references restart, and no join of an older connection lingers (PT-22).
      const join = { topic: channel.topic, payload: joinPayloadOf(core.params) };
      core.state = { kind: "joining", attempt, line: createLine(now, join, core.outbox, log) };
    },
    handleFailure(now, attempt, failure, wallNow) {
      core.clock = now;
      if (core.state.kind !== "connecting" || core.state.attempt !== attempt) return;
      takeFailure(core, now, failure, wallNow);
    },
    handleText(now, attempt, text) {
      const line = lineOf(core, now, attempt);
      if (line === undefined) return;
      const read = fenced(() => parseFrame(text));
      if (!read.ok) {
        breakOnDefect(core, now, read.error);
        return;
      }
      const frame = read.value;
      if (frame.ok) {
        obey(core, now, line.handleFrame(now, frame.value));
        return;
      }
      core.counters.badMessages++;
      log.warn?.("unreadable frame from the portal", { reason: frame.reason });
    },
    handleBinary(now, attempt) {
      if (lineOf(core, now, attempt) === undefined) return;
      core.counters.badMessages++;
      log.warn?.("binary frame from the portal ignored");
    },
    handleClose(now, attempt, code) {
      core.clock = now;
      if (core.state.kind === "closing" && core.state.attempt === attempt) finish(core);
      else if (lineOf(core, now, attempt) !== undefined) takeClose(core, now, code);
    },
    handleRejected(now, transmit) {
      if (transmit.kind !== "text") return;
      const line = lineOf(core, now, transmit.attempt);
      if (transmit.frame.kind === "message") core.outbox.unshift(transmit.frame.message);
      if (line !== undefined) fail(core, now, { kind: "broken", detail: "the socket refused a frame" });
    },
    handleWritable(now, attempt, isWritable) {
      lineOf(core, now, attempt)?.setWritable(isWritable);
    },
  };
}

/** The line of this attempt, if it is the present one. */
function lineOf<M, R>(core: ConnectionCore<M, R>, now: Instant, attempt: number): Line | undefined {
  core.clock = now;
  const { state } = core;
  if (state.kind !== "joining" && state.kind !== "joined") return undefined;
  return state.attempt === attempt ? state.line : undefined;
}

function tick<M, R>(core: ConnectionCore<M, R>, now: Instant): void {
  const { state } = core;
  switch (state.kind) {
    case "closed":
      return;
    case "resolving":
      if (now >= state.askAgainAt) startAttempt(core, now);
      return;
    case "connecting":
      if (now >= state.until) fail(core, now, { kind: "connect-timeout" });
      return;
    case "joining":
    case "joined":
      obey(core, now, state.line.handleTimeout(now));
      return;
    case "waiting":
      if (now >= state.until) startAttempt(core, now);
      return;
    case "closing":
      if (now < state.until) return;
      core.transmits.push({ kind: "drop", attempt: state.attempt });
      finish(core);
      return;
    default:
      unreachable(state);
  }
}

/** Every deadline that `tick` obeys. */
function wakeAt(state: ConnectionState): Instant | undefined {
  switch (state.kind) {
    case "closed":
      return undefined;
    case "resolving":
      return state.askAgainAt;
    case "joining":
    case "joined":
      return state.line.pollTimeout();
    case "connecting":
    case "waiting":
    case "closing":
      return state.until;
    default:
      return unreachable(state);
  }
}
