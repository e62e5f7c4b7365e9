/**
 * Frames of the Phoenix V1 serializer: one JSON object per WebSocket text frame (PT-1 to PT-5).
 */
import * as v from "valibot";
import { type MalformedJson, malformed, type Parsed, parsed, parseJson } from "../../base/index.ts";
import { readAs } from "./scalar.ts";

/** The topic of heartbeats. */
export const PHOENIX_TOPIC = "phoenix";

/** Set by the sender of a request and echoed, with its JSON type, in the reply (PT-2). */
export type Ref = number | string;

export interface Frame {
  readonly topic: string;
  readonly event: string;
  readonly payload: unknown;
  /** Absent on pushes. */
  readonly ref?: Ref;
}

export type MalformedFrame = MalformedJson | "bad-frame";

/** What a `phx_reply` says. */
export type Reply = { readonly status: "ok" } | { readonly status: "error"; readonly reason: string };

const wireFrame = v.object({
  topic: v.string(),
  event: v.string(),
  payload: v.optional(v.unknown()),
  ref: v.nullish(v.union([v.number(), v.string()])),
});

const wireReply = v.object({ status: v.picklist(["ok", "error"]), response: v.optional(v.unknown()) });
const wireError = v.object({ reason: v.string() });

/** Reads the text of one frame; unknown members, `join_ref` among them, do not matter (PT-6). */
export function parseFrame(text: string): Parsed<Frame, MalformedFrame> {
  const json = parseJson(text);
  if (!json.ok) return json;
  const wire = readAs(wireFrame, json.value);
  if (wire === undefined) return malformed("bad-frame");
  const { topic, event, payload, ref } = wire;
  return parsed({ topic, event, payload, ...(ref == null ? {} : { ref }) });
}

/** The text of a frame; pushes carry `ref: null` as the reference's do. */
export function toFrameText(frame: Frame): string {
  const { topic, event, payload, ref } = frame;
  return JSON.stringify({ topic, event, payload, ref: ref ?? null });
}

/**
 * Reads the payload of a `phx_reply`. What an ok reply holds does not matter: those to joins and
 * heartbeats are empty, and we use no others (PT-4). An error without a readable reason is `other`.
 */
export function parseReply(payload: unknown): Reply | undefined {
  const wire = readAs(wireReply, payload);
  if (wire === undefined) return undefined;
  if (wire.status === "error") {
    return { status: "error", reason: readAs(wireError, wire.response)?.reason ?? "other" };
  }
  return { status: "ok" };
}

/** The number a reply refers to; decimal text counts by value, anything else matches nothing (PT-3). */
export function toRefNumber(ref: Ref): number | undefined {
  if (typeof ref === "number") return ref;
  return /^\d{1,15}$/.test(ref) ? Number(ref) : undefined;
}
