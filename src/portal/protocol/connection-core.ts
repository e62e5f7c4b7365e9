/**
 * The states of a portal connection and the ways between them (PT §3, "States").
 */
import {
  after,
  fenced,
  type Instant,
  type IpAddress,
  type Log,
  type Random,
  randomU32,
  type UnixMs,
  unreachable,
} from "../../base/index.ts";
import { type Backoff, INITIAL_BACKOFF, maxElapsedMs, nextPause, restarted } from "./backoff.ts";
import type { Channel } from "./channel.ts";
import {
  CLOSE_NORMAL,
  CLOSE_REPLACED,
  CLOSE_TIMEOUT_MS,
  CONNECT_TIMEOUT_MS,
  MAX_ADDRESSES,
  NO_ADDRESS_PAUSE_MS,
  NO_ADDRESS_WARN_MS,
  REPLACED_PAUSE_MS,
  RESOLVE_TIMEOUT_MS,
} from "./constants.ts";
import {
  type ConnectFailure,
  classifyFailure,
  describeTransient,
  type FatalError,
  type TransientError,
} from "./failure.ts";
import type { Frame } from "./frame.ts";
import type { Line, LineFrame, LineVerdict } from "./line.ts";
import { type ConnectParams, literalOf, type PortalUrl, socketUrlOf } from "./login.ts";
import { createOutbox, type Outbox } from "./outbox.ts";
import { parseRetryAfter } from "./retry-after.ts";

export interface PortalConnectionOptions<M, R> {
  readonly url: PortalUrl;
  readonly channel: Channel<M, R>;
  /** How long it tries to come back after a first join; absent: for ever (the client). */
  readonly maxPartitionMs?: number;
  readonly random: Random;
  readonly log: Log;
}

/** What the shell carries out. `attempt` names the socket that every answer refers to. */
export type PortalTransmit =
  | {
      readonly kind: "open";
      readonly attempt: number;
      readonly url: string;
      /** Tried in parallel; the first TCP connection wins (PT-21). */
      readonly addresses: readonly IpAddress[];
      readonly port: number;
    }
  | { readonly kind: "text"; readonly attempt: number; readonly text: string; readonly frame: LineFrame }
  /** A close frame, then the end; `drop` ends the socket at once. */
  | { readonly kind: "close"; readonly attempt: number; readonly code: number }
  | { readonly kind: "drop"; readonly attempt: number };

export type PortalEvent<M> =
  /** The portal's name must be resolved; answer with `handleAddresses`. */
  | { readonly kind: "resolve"; readonly host: string }
  /** The join was answered (PT-27); `init` follows as a message. */
  | { readonly kind: "connected" }
  | { readonly kind: "message"; readonly message: M }
  | {
      readonly kind: "hiccup";
      readonly pauseMs: number;
      readonly maxElapsedMs: number | undefined;
      readonly error: TransientError;
    }
  | { readonly kind: "fatal"; readonly error: FatalError }
  | { readonly kind: "closed" };

/** Frames and messages that were dropped, by reason (PT-6, PT-26). */
export interface PortalCounters {
  unknownEvents: number;
  badMessages: number;
  /** Frames that could not be read by a defect of ours (PG-18). */
  inputErrors: number;
  droppedOverflow: number;
  droppedTooOld: number;
}

export type ConnectionState =
  | { readonly kind: "closed" }
  | { readonly kind: "resolving"; readonly askAgainAt: Instant }
  | { readonly kind: "connecting"; readonly attempt: number; readonly until: Instant }
  | { readonly kind: "joining" | "joined"; readonly attempt: number; readonly line: Line }
  | { readonly kind: "waiting"; readonly until: Instant }
  | { readonly kind: "closing"; readonly attempt: number; readonly until: Instant };

/** Everything the machine holds. */
export interface ConnectionCore<M, R> {
  readonly options: PortalConnectionOptions<M, R>;
  readonly literal: IpAddress | undefined;
  readonly transmits: PortalTransmit[];
  readonly events: PortalEvent<M>[];
  readonly counters: PortalCounters;
  readonly outbox: Outbox;
  state: ConnectionState;
  /** The time of the last input: messages are as old as it says. */
  clock: Instant;
  params: ConnectParams | undefined;
  socketUrl: string;
  attempts: number;
  addresses: readonly IpAddress[];
  warnAboutNamesAt: Instant | undefined;
  backoff: Backoff;
  /** Since the last join; the give-up time counts from it (PT-30). */
  firstErrorAt: Instant | undefined;
}

export function createConnectionCore<M, R>(options: PortalConnectionOptions<M, R>): ConnectionCore<M, R> {
  const literal = literalOf(options.url);
  const counters: PortalCounters = {
    unknownEvents: 0,
    badMessages: 0,
    inputErrors: 0,
    droppedOverflow: 0,
    droppedTooOld: 0,
  };
  return {
    options,
    literal,
    transmits: [],
    events: [],
    counters,
    outbox: createOutbox((reason) => {
      if (reason === "overflow") counters.droppedOverflow++;
      else counters.droppedTooOld++;
      options.log.debug?.("portal message dropped", { reason });
    }),
    state: { kind: "closed" },
    clock: 0 as Instant,
    params: undefined,
    socketUrl: "",
    attempts: 0,
    addresses: literal === undefined ? [] : [literal],
    warnAboutNamesAt: undefined,
    backoff: INITIAL_BACKOFF,
    firstErrorAt: undefined,
  };
}

/** Begins again with these parameters, unless an attempt with the same URL is under way (PT-20). */
export function connect<M, R>(core: ConnectionCore<M, R>, now: Instant, params: ConnectParams): void {
  const { url, channel } = core.options;
  const wanted = socketUrlOf(url, channel.topic, params);
  const isUnderWay = core.state.kind === "connecting" || core.state.kind === "resolving";
  core.params = params;
  if (isUnderWay && wanted === core.socketUrl) return;
  core.socketUrl = wanted;
  letGo(core, "close");
  core.backoff = restarted(core.backoff);
  core.firstErrorAt = undefined;
  startAttempt(core, now);
}

export function close<M, R>(core: ConnectionCore<M, R>, now: Instant): void {
  const { state } = core;
  if (state.kind === "closing" || state.kind === "closed") return;
  letGo(core, "close");
  core.outbox.clear();
  if (state.kind === "joining" || state.kind === "joined") {
    core.state = { kind: "closing", attempt: state.attempt, until: after(now, CLOSE_TIMEOUT_MS) };
    return;
  }
  finish(core);
}

/** The end that was asked for. */
export function finish<M, R>(core: ConnectionCore<M, R>): void {
  core.state = { kind: "closed" };
  core.events.push({ kind: "closed" });
}

/** The only way into a new attempt; asks for addresses first if there are none (PT-21). */
export function startAttempt<M, R>(core: ConnectionCore<M, R>, now: Instant): void {
  const { url } = core.options;
  const { addresses } = core;
  if (addresses.length === 0) {
    core.state = { kind: "resolving", askAgainAt: after(now, RESOLVE_TIMEOUT_MS) };
    core.events.push({ kind: "resolve", host: url.host });
    return;
  }
  const attempt = ++core.attempts;
  core.state = { kind: "connecting", attempt, until: after(now, CONNECT_TIMEOUT_MS) };
  core.transmits.push({ kind: "open", attempt, url: core.socketUrl, addresses, port: url.port });
}

export function takeAddresses<M, R>(
  core: ConnectionCore<M, R>,
  now: Instant,
  found: readonly IpAddress[],
): void {
  if (core.literal !== undefined || core.state.kind !== "resolving") return;
  core.addresses = found.slice(0, MAX_ADDRESSES);
  if (core.addresses.length > 0) {
    core.warnAboutNamesAt = undefined;
    startAttempt(core, now);
    return;
  }
  // Neither back-off nor give-up time move: a laptop may wake up long before its network (PT-21).
  core.state = { kind: "resolving", askAgainAt: after(now, NO_ADDRESS_PAUSE_MS) };
  if (core.warnAboutNamesAt !== undefined && now < core.warnAboutNamesAt) return;
  core.warnAboutNamesAt = after(now, NO_ADDRESS_WARN_MS);
  core.options.log.warn?.("the portal's name has no address", { host: core.options.url.host });
}

/** No socket came about (PT-29). */
export function takeFailure<M, R>(
  core: ConnectionCore<M, R>,
  now: Instant,
  failure: ConnectFailure,
  wallNow: UnixMs,
): void {
  if (failure.kind === "unreachable" && core.literal === undefined) core.addresses = [];
  const verdict = classifyFailure(failure);
  if ("fatal" in verdict) {
    end(core, verdict.fatal);
    return;
  }
  const { retryAfter } = verdict;
  const pauseMs = retryAfter === undefined ? undefined : parseRetryAfter(retryAfter, wallNow);
  fail(core, now, verdict.transient, pauseMs);
}

/** The portal closed the socket (PT-28). */
export function takeClose<M, R>(core: ConnectionCore<M, R>, now: Instant, code: number): void {
  if (code !== CLOSE_REPLACED) {
    fail(core, now, { kind: "closed", code });
    return;
  }
  const jitterMs = Math.floor((randomU32(core.options.random) / 0x1_0000_0000) * REPLACED_PAUSE_MS);
  fail(core, now, { kind: "replaced" }, REPLACED_PAUSE_MS + jitterMs);
}

/** A transient end: pause and try again, unless that has gone on for too long (PT-30). */
export function fail<M, R>(
  core: ConnectionCore<M, R>,
  now: Instant,
  error: TransientError,
  givenPauseMs?: number,
): void {
  const { options } = core;
  letGo(core, "drop");
  core.firstErrorAt ??= now;
  const limitMs = maxElapsedMs(core.backoff, options.maxPartitionMs);
  if (limitMs !== undefined && now - core.firstErrorAt >= limitMs) {
    end(core, { kind: "max-retries", lastError: error });
    return;
  }
  const pauseMs = givenPauseMs ?? takePause(core);
  core.state = { kind: "waiting", until: after(now, pauseMs) };
  core.events.push({ kind: "hiccup", pauseMs, maxElapsedMs: limitMs, error });
  options.log.info?.("portal hiccup", { error: describeTransient(error), pauseMs });
}

/** What a frame or a deadline of the line means (PT-28). */
export function obey<M, R>(core: ConnectionCore<M, R>, now: Instant, verdict: LineVerdict): void {
  switch (verdict.kind) {
    case "none":
      return;
    case "joined":
      if (core.state.kind !== "joining") return;
      core.state = { ...core.state, kind: "joined" };
      core.backoff = { kind: "reconnect", attempts: 0 };
      core.firstErrorAt = undefined;
      core.events.push({ kind: "connected" });
      core.options.log.info?.("portal connected", { host: core.options.url.host });
      return;
    case "broken":
      fail(core, now, verdict.error);
      return;
    case "fatal":
      end(core, verdict.error);
      return;
    case "push":
      receive(core, now, verdict.frame);
      return;
    default:
      unreachable(verdict);
  }
}

function takePause<M, R>(core: ConnectionCore<M, R>): number {
  const { pauseMs, backoff } = nextPause(core.backoff, core.options.random);
  core.backoff = backoff;
  return pauseMs;
}

/** An end for good. */
function end<M, R>(core: ConnectionCore<M, R>, error: FatalError): void {
  letGo(core, "close");
  core.state = { kind: "closed" };
  core.outbox.clear();
  core.events.push({ kind: "fatal", error });
}

/** Lets go of whatever socket there is; its late words carry an old attempt and are ignored. */
function letGo<M, R>({ state, transmits }: ConnectionCore<M, R>, how: "close" | "drop"): void {
  switch (state.kind) {
    case "connecting":
      transmits.push({ kind: "drop", attempt: state.attempt });
      return;
    case "joining":
    case "joined":
      if (how === "drop") transmits.push({ kind: "drop", attempt: state.attempt });
      else transmits.push({ kind: "close", attempt: state.attempt, code: CLOSE_NORMAL });
      return;
    case "closed":
    case "resolving":
    case "waiting":
    case "closing": // Its close frame is on the way already.
      return;
    default:
      unreachable(state);
  }
}

/** Reading what the portal sent failed by a defect of ours: the connection ends, the tunnels stay (PG-18). */
export function breakOnDefect<M, R>(core: ConnectionCore<M, R>, now: Instant, error: unknown): void {
  core.counters.inputErrors++;
  core.options.log.error?.("reading a frame of the portal failed", { error });
  fail(core, now, { kind: "broken", detail: "a frame could not be read" });
}

function receive<M, R>(core: ConnectionCore<M, R>, now: Instant, frame: Frame): void {
  const { options, events, counters } = core;
  const { channel, log } = options;
  const read = fenced(() => channel.parseMessage(frame.event, frame.payload));
  if (!read.ok) {
    breakOnDefect(core, now, read.error);
    return;
  }
  const result = read.value;
  switch (result.kind) {
    case "message":
      if (result.skipped > 0) {
        counters.badMessages += result.skipped;
        log.warn?.("faulty elements in a portal message", { name: frame.event, count: result.skipped });
      }
      events.push({ kind: "message", message: result.message });
      return;
    case "ignored":
      return;
    case "unknown-event":
      counters.unknownEvents++;
      log.debug?.("unknown portal message", { name: frame.event.slice(0, 64) });
      return;
    case "bad-message":
      counters.badMessages++;
      log.warn?.("faulty portal message", { name: frame.event });
      return;
    default:
      unreachable(result);
  }
}
