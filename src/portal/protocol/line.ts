/**
 * What lives exactly as long as one WebSocket: references, joins and heartbeats (PT-22 to PT-28).
 *
 * A new connection gets a new line, so nothing of an old one can hold it up (founding requirement 001).
 */
import { after, earliest, type Instant, type Log } from "../../base/index.ts";
import type { Topic } from "./channel.ts";
import {
  CHECK_TIMEOUT_MS,
  HEARTBEAT_INTERVAL_MS,
  JOIN_TIMEOUT_MS,
  MAX_UNANSWERED_HEARTBEATS,
} from "./constants.ts";
import type { FatalError, TransientError } from "./failure.ts";
import { type Frame, PHOENIX_TOPIC, parseReply, toFrameText, toRefNumber } from "./frame.ts";
import type { Outbox, QueuedMessage } from "./outbox.ts";

/** Which queue a frame came from; a refused one goes back to it (PT-25). */
export type LineFrame =
  | { readonly kind: "join" }
  | { readonly kind: "heartbeat" }
  | { readonly kind: "message"; readonly message: QueuedMessage };

/** What a frame or a deadline means for the connection. */
export type LineVerdict =
  | { readonly kind: "none" }
  | { readonly kind: "joined" }
  | { readonly kind: "broken"; readonly error: TransientError }
  | { readonly kind: "fatal"; readonly error: FatalError }
  | { readonly kind: "push"; readonly frame: Frame };

export interface Line {
  /** Sends a heartbeat at once; without an answer in 5 s the connection is broken (PT-34). */
  check(now: Instant): void;
  handleFrame(now: Instant, frame: Frame): LineVerdict;
  handleTimeout(now: Instant): LineVerdict;
  pollTimeout(): Instant | undefined;
  /** The next frame in the order of PT-24: heartbeats, joins, then messages if no join is out. */
  pollFrame(now: Instant): { readonly text: string; readonly frame: LineFrame } | undefined;
  setWritable(isWritable: boolean): void;
}

/** `queued` has no reference yet: it is given when the frame leaves (PT-3). */
type Join =
  | { readonly kind: "queued"; readonly until: Instant }
  | { readonly kind: "sent"; readonly ref: number; readonly until: Instant }
  | { readonly kind: "done" };

const NONE: LineVerdict = { kind: "none" };
/** The reason with the blank: the server knows no such channel on this socket (PT-5). */
const UNMATCHED_TOPIC = "unmatched topic";

/** What is known of one WebSocket. */
interface LineState {
  readonly topic: Topic;
  readonly outbox: Outbox;
  readonly log: Log;
  nextRef: number;
  isWritable: boolean;
  readonly joinPayload: object;
  join: Join;
  heartbeatAt: Instant;
  queuedHeartbeats: number;
  /** References of the heartbeats that were sent and not answered. */
  readonly unanswered: Set<number>;
  /** When all heartbeats of a check must have been answered (PT-34). */
  checkUntil: Instant | undefined;
}

/** The channel to be joined, and with what. */
export interface JoinOptions {
  readonly topic: Topic;
  readonly payload: object;
}

export function createLine(start: Instant, join: JoinOptions, outbox: Outbox, log: Log): Line {
  const line: LineState = {
    topic: join.topic,
    joinPayload: join.payload,
    outbox,
    log,
    nextRef: 0,
    isWritable: true,
    join: { kind: "queued", until: after(start, JOIN_TIMEOUT_MS) },
    heartbeatAt: after(start, HEARTBEAT_INTERVAL_MS),
    queuedHeartbeats: 0,
    unanswered: new Set(),
    checkUntil: undefined,
  };
  return {
    check(now) {
      line.queuedHeartbeats++;
      line.checkUntil = after(now, CHECK_TIMEOUT_MS);
    },
    handleFrame: (now, frame) => handleFrame(line, now, frame),
    handleTimeout: (now) => handleTimeout(line, now),
    pollTimeout: () =>
      earliest(line.heartbeatAt, line.checkUntil, line.join.kind === "done" ? undefined : line.join.until),
    pollFrame: (now) => pollFrame(line, now),
    setWritable(isWritable) {
      line.isWritable = isWritable;
    },
  };
}

function handleFrame(line: LineState, now: Instant, frame: Frame): LineVerdict {
  switch (frame.event) {
    case "phx_reply":
      return handleReply(line, now, frame);
    case "phx_close":
    case "phx_error":
      if (frame.topic !== line.topic) return NONE;
      return { kind: "broken", error: { kind: "channel-closed", event: frame.event } };
    case "disconnect": {
      const reason = reasonOf(frame.payload);
      if (reason === "token_expired") {
        return { kind: "fatal", error: { kind: "invalid-token", detail: reason } };
      }
      return { kind: "broken", error: { kind: "disconnected", reason } };
    }
    default:
      if (frame.topic === line.topic) return { kind: "push", frame };
      line.log.debug?.("portal message on another topic", { name: frame.event.slice(0, 64) });
      return NONE;
  }
}

function handleReply(line: LineState, now: Instant, frame: Frame): LineVerdict {
  const { topic, join, unanswered, log } = line;
  const reply = parseReply(frame.payload);
  const ref = frame.ref === undefined ? undefined : toRefNumber(frame.ref);
  if (reply === undefined || ref === undefined) {
    log.warn?.("reply from the portal without status or reference");
    return NONE;
  }
  if (unanswered.delete(ref)) {
    if (unanswered.size + line.queuedHeartbeats === 0) line.checkUntil = undefined;
    return NONE;
  }
  const isOwnJoin = join.kind === "sent" && join.ref === ref;
  if (reply.status === "ok") {
    if (!isOwnJoin) return NONE;
    line.join = { kind: "done" };
    return { kind: "joined" };
  }
  if (isOwnJoin) return { kind: "fatal", error: { kind: "login-failed", reason: reply.reason } };
  if (reply.reason === UNMATCHED_TOPIC && frame.topic === topic && join.kind === "done") {
    line.join = { kind: "queued", until: after(now, JOIN_TIMEOUT_MS) };
  }
  log.debug?.("error reply from the portal", { reason: reply.reason.slice(0, 64) });
  return NONE;
}

function handleTimeout(line: LineState, now: Instant): LineVerdict {
  // A tick that comes late by several intervals counts each of them: after a suspend it is
  // better to connect anew than to wait for the answer of a portal that has long forgotten us.
  while (line.heartbeatAt <= now) {
    line.heartbeatAt = after(line.heartbeatAt, HEARTBEAT_INTERVAL_MS);
    line.queuedHeartbeats++;
    if (line.unanswered.size + line.queuedHeartbeats > MAX_UNANSWERED_HEARTBEATS) {
      return { kind: "broken", error: { kind: "heartbeats-unanswered" } };
    }
  }
  if (line.checkUntil !== undefined && now >= line.checkUntil) {
    return { kind: "broken", error: { kind: "heartbeats-unanswered" } };
  }
  if (line.join.kind !== "done" && now >= line.join.until) {
    return { kind: "broken", error: { kind: "join-timeout" } };
  }
  return NONE;
}

function pollFrame(line: LineState, now: Instant): ReturnType<Line["pollFrame"]> {
  const { topic, join, outbox } = line;
  if (!line.isWritable) return undefined;
  if (line.queuedHeartbeats > 0) {
    line.queuedHeartbeats--;
    line.unanswered.add(line.nextRef);
    return { text: frameText(line, PHOENIX_TOPIC, "heartbeat", {}), frame: { kind: "heartbeat" } };
  }
  if (join.kind === "queued") {
    line.join = { kind: "sent", ref: line.nextRef, until: join.until };
    return { text: frameText(line, topic, "phx_join", line.joinPayload), frame: { kind: "join" } };
  }
  if (join.kind === "sent") return undefined;
  const message = outbox.shift(now);
  if (message === undefined) return undefined;
  const { event, payload } = message.content;
  return { text: frameText(line, topic, event, payload), frame: { kind: "message", message } };
}

/** Gives the frame the next reference. */
function frameText(line: LineState, to: string, event: string, payload: unknown): string {
  return toFrameText({ topic: to, event, payload, ref: line.nextRef++ });
}

function reasonOf(payload: unknown): string {
  if (typeof payload !== "object" || payload === null || !("reason" in payload)) return "no reason";
  return typeof payload.reason === "string" ? payload.reason.slice(0, 64) : "no reason";
}
