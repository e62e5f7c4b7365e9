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

/** One message of a channel: its event, and both ways between payload and type. */
export interface MessageCodec<M> {
  readonly event: string;
  /** `undefined` for a faulty payload. */
  readonly read: (payload: unknown, tally: Tally) => M | "ignored" | undefined;
  readonly write: (message: M) => unknown;
}

/** All messages of one direction, each described once. */
export type MessageCodecs<M extends { readonly kind: string }> = {
  readonly [K in M["kind"]]: MessageCodec<M & { readonly kind: K }>;
};

/** The reading half, in which any of the messages may come out. */
export type EventReader<M> = Pick<MessageCodec<M>, "event" | "read">;

export type EventReaders<M> = ReadonlyMap<string, EventReader<M>>;

/** Looks the event up and reads its payload. */
export function parseEvent<M>(readers: EventReaders<M>, event: string, payload: unknown): ChannelParse<M> {
  const codec = readers.get(event);
  if (codec === undefined) return { kind: "unknown-event" };
  const tally: Tally = { skipped: 0 };
  const message = codec.read(payload, tally);
  if (message === undefined) return { kind: "bad-message" };
  if (message === "ignored") return { kind: "ignored" };
  return { kind: "message", message, skipped: tally.skipped };
}

export function toEvent<M extends { readonly kind: string }, K extends M["kind"]>(
  codecs: MessageCodecs<M>,
  message: M & { readonly kind: K },
): ChannelEvent {
  const { event, write } = codecs[message.kind];
  return { event, payload: write(message) };
}

export function byEvent<M>(codecs: readonly EventReader<M>[]): EventReaders<M> {
  return new Map(codecs.map((codec) => [codec.event, codec]));
}
