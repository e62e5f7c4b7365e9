/**
 * What the connection machine and the server need to know of a channel: its topic, and how its events
 * become typed messages and back. The client's and the gateway's are in their own files.
 */
import type { Tally } from "./scalar.ts";

/** The one channel a peer has (PT-2). */
export type Topic = "client" | "gateway" | "relay";

/** An event name with its payload, ready for a frame. */
export interface ChannelEvent {
  readonly event: string;
  readonly payload: unknown;
}

/**
 * What became of an event. `ignored`: of a kind we know to leave alone (PT-50). `skipped` counts the
 * faulty list elements that were left out (PT-6).
 */
export type ChannelParse<M> =
  | { readonly kind: "message"; readonly message: M; readonly skipped: number }
  | { readonly kind: "ignored" }
  | { readonly kind: "unknown-event" }
  | { readonly kind: "bad-message" };

/** The two languages of a channel: `M` towards the peer, `R` towards the portal. */
export interface Channel<M, R> {
  readonly topic: Topic;
  parseMessage(event: string, payload: unknown): ChannelParse<M>;
  toMessageEvent(message: M): ChannelEvent;
  parseRequest(event: string, payload: unknown): ChannelParse<R>;
  toRequestEvent(request: R): ChannelEvent;
}

/** Reads one payload; `undefined` when it is faulty. */
export type PayloadReader<T> = (payload: unknown, tally: Tally) => T | "ignored" | undefined;

/** Looks the event up in a table of readers and runs it. */
export function parseEvent<T>(
  readers: ReadonlyMap<string, PayloadReader<T>>,
  event: string,
  payload: unknown,
): ChannelParse<T> {
  const read = readers.get(event);
  if (read === undefined) return { kind: "unknown-event" };
  const tally: Tally = { skipped: 0 };
  const message = read(payload, tally);
  if (message === undefined) return { kind: "bad-message" };
  if (message === "ignored") return { kind: "ignored" };
  return { kind: "message", message, skipped: tally.skipped };
}
