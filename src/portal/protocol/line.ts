/**
 * What lives exactly as long as one WebSocket: references, joins and heartbeats (PT-22 to PT-28).
 *
 * A new connection gets a new line, so nothing of an old one can hold it up (founding requirement 001).
 */
import { after, earliest, type Instant, type Log } from "../../base/index.ts";
import type { Topic } from "./channel.ts";
import { HEARTBEAT_INTERVAL_MS, JOIN_TIMEOUT_MS, MAX_UNANSWERED_HEARTBEATS } from "./constants.ts";
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

export function createLine(start: Instant, topic: Topic, outbox: Outbox, log: Log): Line {
  let nextRef = 0;
  let isWritable = true;
  let join: Join = { kind: "queued", until: after(start, JOIN_TIMEOUT_MS) };
  let heartbeatAt = after(start, HEARTBEAT_INTERVAL_MS);
  let queuedHeartbeats = 0;
  const heartbeats = new Set<number>();

  function frameText(to: string, event: string, payload: unknown): string {
    return toFrameText({ topic: to, event, payload, ref: nextRef++ });
  }

  function handleReply(now: Instant, frame: Frame): LineVerdict {
    const reply = parseReply(frame.payload);
    const ref = frame.ref === undefined ? undefined : toRefNumber(frame.ref);
    if (reply === undefined || ref === undefined) {
      log.warn?.("reply from the portal without status or reference");
      return NONE;
    }
    if (heartbeats.delete(ref)) return NONE;
    const isOwnJoin = join.kind === "sent" && join.ref === ref;
    if (reply.status === "ok") {
      if (!isOwnJoin) return NONE;
      join = { kind: "done" };
      return { kind: "joined" };
    }
    if (isOwnJoin) return { kind: "fatal", error: { kind: "login-failed", reason: reply.reason } };
    if (reply.reason === UNMATCHED_TOPIC && frame.topic === topic && join.kind === "done") {
      join = { kind: "queued", until: after(now, JOIN_TIMEOUT_MS) };
    }
    log.debug?.("error reply from the portal", { reason: reply.reason.slice(0, 64) });
    return NONE;
  }

  return {
    handleFrame(now, frame) {
      switch (frame.event) {
        case "phx_reply":
          return handleReply(now, frame);
        case "phx_close":
        case "phx_error":
          if (frame.topic !== topic) return NONE;
          return { kind: "broken", error: { kind: "channel-closed", event: frame.event } };
        case "disconnect": {
          const reason = reasonOf(frame.payload);
          if (reason === "token_expired") {
            return { kind: "fatal", error: { kind: "invalid-token", detail: reason } };
          }
          return { kind: "broken", error: { kind: "disconnected", reason } };
        }
        default:
          if (frame.topic === topic) return { kind: "push", frame };
          log.debug?.("portal message on another topic", { name: frame.event.slice(0, 64) });
          return NONE;
      }
    },
    handleTimeout(now) {
      // A tick that comes late by several intervals counts each of them: after a suspend it is
      // better to connect anew than to wait for the answer of a portal that has long forgotten us.
      while (heartbeatAt <= now) {
        heartbeatAt = after(heartbeatAt, HEARTBEAT_INTERVAL_MS);
        queuedHeartbeats++;
        if (heartbeats.size + queuedHeartbeats > MAX_UNANSWERED_HEARTBEATS) {
          return { kind: "broken", error: { kind: "heartbeats-unanswered" } };
        }
      }
      if (join.kind !== "done" && now >= join.until) {
        return { kind: "broken", error: { kind: "join-timeout" } };
      }
      return NONE;
    },
    pollTimeout: () => earliest(heartbeatAt, join.kind === "done" ? undefined : join.until),
    pollFrame(now) {
      if (!isWritable) return undefined;
      if (queuedHeartbeats > 0) {
        queuedHeartbeats--;
        heartbeats.add(nextRef);
        return { text: frameText(PHOENIX_TOPIC, "heartbeat", {}), frame: { kind: "heartbeat" } };
      }
      if (join.kind === "queued") {
        join = { kind: "sent", ref: nextRef, until: join.until };
        return { text: frameText(topic, "phx_join", {}), frame: { kind: "join" } };
      }
      if (join.kind === "sent") return undefined;
      const message = outbox.shift(now);
      if (message === undefined) return undefined;
      const { event, payload } = message.content;
      return { text: frameText(topic, event, payload), frame: { kind: "message", message } };
    },
    setWritable(writable) {
      isWritable = writable;
    },
  };
}

function reasonOf(payload: unknown): string {
  if (typeof payload !== "object" || payload === null || !("reason" in payload)) return "no reason";
  return typeof payload.reason === "string" ? payload.reason.slice(0, 64) : "no reason";
}
