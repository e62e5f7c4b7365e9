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
import {
  after,
  earliest,
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
import { type Frame, parseFrame } from "./frame.ts";
import { createLine, type Line, type LineFrame, type LineVerdict } from "./line.ts";
import { type LoginParams, literalOf, type PortalUrl, socketUrlOf } from "./login.ts";
import { createOutbox } from "./outbox.ts";
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
  droppedOverflow: number;
  droppedTooOld: number;
}

export type PortalStateKind = State["kind"];

export interface PortalConnection<M, R> {
  /** Connects, or connects anew at once and with a fresh back-off (PT-20). */
  connect(now: Instant, params: LoginParams): void;
  /** `connect` with the parameters of the last one; the way back after a network change. */
  reconnect(now: Instant): void;
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

type State =
  | { readonly kind: "closed" }
  | { readonly kind: "resolving"; readonly askAgainAt: Instant }
  | { readonly kind: "connecting"; readonly attempt: number; readonly until: Instant }
  | { readonly kind: "joining" | "joined"; readonly attempt: number; readonly line: Line }
  | { readonly kind: "waiting"; readonly until: Instant }
  | { readonly kind: "closing"; readonly attempt: number; readonly until: Instant };

export function createPortalConnection<M, R>(options: PortalConnectionOptions<M, R>): PortalConnection<M, R> {
  const { url, channel, random, log } = options;
  const literal = literalOf(url);
  const transmits: PortalTransmit[] = [];
  const events: PortalEvent<M>[] = [];
  const counters: PortalCounters = { unknownEvents: 0, badMessages: 0, droppedOverflow: 0, droppedTooOld: 0 };
  const outbox = createOutbox((reason) => {
    if (reason === "overflow") counters.droppedOverflow++;
    else counters.droppedTooOld++;
    log.debug?.("portal message dropped", { reason });
  });

  let state: State = { kind: "closed" };
  let clock = 0 as Instant;
  let params: LoginParams | undefined;
  let socketUrl = "";
  let attempts = 0;
  let addresses: readonly IpAddress[] = literal === undefined ? [] : [literal];
  let warnAboutNamesAt: Instant | undefined;
  let backoff: Backoff = INITIAL_BACKOFF;
  let firstErrorAt: Instant | undefined;

  /** The only way into a new attempt; asks for addresses first if there are none (PT-21). */
  function startAttempt(now: Instant): void {
    if (addresses.length === 0) {
      state = { kind: "resolving", askAgainAt: after(now, RESOLVE_TIMEOUT_MS) };
      events.push({ kind: "resolve", host: url.host });
      return;
    }
    attempts++;
    state = { kind: "connecting", attempt: attempts, until: after(now, CONNECT_TIMEOUT_MS) };
    transmits.push({ kind: "open", attempt: attempts, url: socketUrl, addresses, port: url.port });
  }

  /** Lets go of whatever socket there is; its late words carry an old attempt and are ignored. */
  function letGo(how: "close" | "drop"): void {
    switch (state.kind) {
      case "connecting":
        transmits.push({ kind: "drop", attempt: state.attempt });
        break;
      case "joining":
      case "joined":
        transmits.push(
          how === "close"
            ? { kind: "close", attempt: state.attempt, code: CLOSE_NORMAL }
            : { kind: "drop", attempt: state.attempt },
        );
        break;
      case "closed":
      case "resolving":
      case "waiting":
      case "closing": // Its close frame is on the way already.
        break;
      default:
        unreachable(state);
    }
  }

  function fail(now: Instant, error: TransientError, pauseMs?: number): void {
    letGo("drop");
    firstErrorAt ??= now;
    const limitMs = maxElapsedMs(backoff, options.maxPartitionMs);
    if (limitMs !== undefined && now - firstErrorAt >= limitMs) {
      end({ kind: "max-retries", lastError: error });
      return;
    }
    let pause = pauseMs;
    if (pause === undefined) {
      const next = nextPause(backoff, random);
      backoff = next.backoff;
      pause = next.pauseMs;
    }
    state = { kind: "waiting", until: after(now, pause) };
    events.push({ kind: "hiccup", pauseMs: pause, maxElapsedMs: limitMs, error });
    log.info?.("portal hiccup", { error: describeTransient(error), pauseMs: pause });
  }

  function end(error: FatalError): void {
    letGo("close");
    state = { kind: "closed" };
    outbox.clear();
    events.push({ kind: "fatal", error });
  }

  function obey(now: Instant, verdict: LineVerdict): void {
    switch (verdict.kind) {
      case "none":
        return;
      case "joined":
        if (state.kind !== "joining") return;
        state = { ...state, kind: "joined" };
        backoff = { kind: "reconnect", attempts: 0 };
        firstErrorAt = undefined;
        events.push({ kind: "connected" });
        log.info?.("portal connected", { host: url.host });
        return;
      case "broken":
        fail(now, verdict.error);
        return;
      case "fatal":
        end(verdict.error);
        return;
      case "push":
        receive(verdict.frame);
        return;
      default:
        unreachable(verdict);
    }
  }

  function receive(frame: Frame): void {
    const result = channel.parseMessage(frame.event, frame.payload);
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

  /** The line of this attempt, if it is the present one. */
  function lineOf(now: Instant, attempt: number): Line | undefined {
    clock = now;
    if (state.kind !== "joining" && state.kind !== "joined") return undefined;
    return state.attempt === attempt ? state.line : undefined;
  }

  function connect(now: Instant, login: LoginParams): void {
    clock = now;
    const wanted = socketUrlOf(url, channel.topic, login);
    const isUnderWay = state.kind === "connecting" || state.kind === "resolving";
    params = login;
    if (isUnderWay && wanted === socketUrl) return;
    socketUrl = wanted;
    letGo("close");
    backoff = restarted(backoff);
    firstErrorAt = undefined;
    startAttempt(now);
  }

  return {
    connect,
    reconnect(now) {
      if (params !== undefined) connect(now, params);
    },
    close(now) {
      clock = now;
      if (state.kind === "closing" || state.kind === "closed") return;
      letGo("close");
      outbox.clear();
      if (state.kind === "joining" || state.kind === "joined") {
        state = { kind: "closing", attempt: state.attempt, until: after(now, CLOSE_TIMEOUT_MS) };
        return;
      }
      state = { kind: "closed" };
      events.push({ kind: "closed" });
    },
    send(now, request) {
      clock = now;
      outbox.push(now, channel.toRequestEvent(request));
    },
    handleAddresses(now, found) {
      clock = now;
      if (literal !== undefined || state.kind !== "resolving") return;
      addresses = found.slice(0, MAX_ADDRESSES);
      if (addresses.length > 0) {
        warnAboutNamesAt = undefined;
        startAttempt(now);
        return;
      }
      // Neither back-off nor give-up time move: a laptop may wake up long before its network (PT-21).
      state = { kind: "resolving", askAgainAt: after(now, NO_ADDRESS_PAUSE_MS) };
      if (warnAboutNamesAt !== undefined && now < warnAboutNamesAt) return;
      warnAboutNamesAt = after(now, NO_ADDRESS_WARN_MS);
      log.warn?.("the portal's name has no address", { host: url.host });
    },
    handleOpen(now, attempt) {
      clock = now;
      if (state.kind !== "connecting" || state.attempt !== attempt) return;
      // A fresh line: references restart, and no join of an older connection lingers (PT-22).
      state = { kind: "joining", attempt, line: createLine(now, channel.topic, outbox, log) };
    },
    handleFailure(now, attempt, failure, wallNow) {
      clock = now;
      if (state.kind !== "connecting" || state.attempt !== attempt) return;
      if (failure.kind === "unreachable" && literal === undefined) addresses = [];
      const verdict = classifyFailure(failure);
      if ("fatal" in verdict) {
        end(verdict.fatal);
        return;
      }
      const { retryAfter } = verdict;
      fail(
        now,
        verdict.transient,
        retryAfter === undefined ? undefined : parseRetryAfter(retryAfter, wallNow),
      );
    },
    handleText(now, attempt, text) {
      const line = lineOf(now, attempt);
      if (line === undefined) return;
      const frame = parseFrame(text);
      if (!frame.ok) {
        counters.badMessages++;
        log.warn?.("unreadable frame from the portal", { reason: frame.reason });
        return;
      }
      obey(now, line.handleFrame(now, frame.value));
    },
    handleBinary(now, attempt) {
      if (lineOf(now, attempt) === undefined) return;
      counters.badMessages++;
      log.warn?.("binary frame from the portal ignored");
    },
    handleClose(now, attempt, code) {
      clock = now;
      if (state.kind === "closing" && state.attempt === attempt) {
        state = { kind: "closed" };
        events.push({ kind: "closed" });
        return;
      }
      if (lineOf(now, attempt) === undefined) return;
      if (code === CLOSE_REPLACED) {
        const jitter = Math.floor((randomU32(random) / 0x1_0000_0000) * REPLACED_PAUSE_MS);
        fail(now, { kind: "replaced" }, REPLACED_PAUSE_MS + jitter);
        return;
      }
      fail(now, { kind: "closed", code });
    },
    handleRejected(now, transmit) {
      if (transmit.kind !== "text") return;
      const line = lineOf(now, transmit.attempt);
      if (transmit.frame.kind === "message") outbox.unshift(transmit.frame.message);
      if (line === undefined) return;
      fail(now, { kind: "broken", detail: "the socket refused a frame" });
    },
    handleWritable(now, attempt, isWritable) {
      lineOf(now, attempt)?.setWritable(isWritable);
    },
    handleTimeout(now) {
      clock = now;
      switch (state.kind) {
        case "closed":
          return;
        case "resolving":
          if (now >= state.askAgainAt) startAttempt(now);
          return;
        case "connecting":
          if (now >= state.until) fail(now, { kind: "connect-timeout" });
          return;
        case "joining":
        case "joined":
          obey(now, state.line.handleTimeout(now));
          return;
        case "waiting":
          if (now >= state.until) startAttempt(now);
          return;
        case "closing":
          if (now < state.until) return;
          transmits.push({ kind: "drop", attempt: state.attempt });
          state = { kind: "closed" };
          events.push({ kind: "closed" });
          return;
        default:
          unreachable(state);
      }
    },
    pollTimeout() {
      switch (state.kind) {
        case "closed":
          return undefined;
        case "resolving":
          return state.askAgainAt;
        case "joining":
        case "joined":
          return earliest(state.line.pollTimeout());
        case "connecting":
        case "waiting":
        case "closing":
          return state.until;
        default:
          return unreachable(state);
      }
    },
    pollTransmit() {
      const first = transmits.shift();
      if (first !== undefined) return first;
      if (state.kind !== "joining" && state.kind !== "joined") return undefined;
      const next = state.line.pollFrame(clock);
      return next === undefined ? undefined : { kind: "text", attempt: state.attempt, ...next };
    },
    pollEvent: () => events.shift(),
    get state() {
      return state.kind;
    },
    counters,
  };
}
