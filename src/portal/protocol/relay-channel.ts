/** The relay's channel (PT-65): it joins with its secret, is told that it is registered, and asks for nothing. */
import { byEvent, type Channel, type MessageCodecs, parseEvent, toEvent } from "./channel.ts";

/** Registered: from now on clients and gateways are told of the relay. */
export type RelayMessage = { readonly kind: "init" };

/** A relay has nothing to ask. */
export type RelayRequest = never;

const MESSAGES: MessageCodecs<RelayMessage> = {
  init: {
    event: "init",
    read: (payload) => (typeof payload === "object" ? { kind: "init" } : undefined),
    write: () => ({}),
  },
};

const MESSAGES_BY_EVENT = byEvent<RelayMessage>(Object.values(MESSAGES));

export const relayChannel: Channel<RelayMessage, RelayRequest> = {
  topic: "relay",
  parseMessage: (event, payload) => parseEvent(MESSAGES_BY_EVENT, event, payload),
  toMessageEvent: (message) => toEvent(MESSAGES, message),
  parseRequest: () => ({ kind: "unknown-event" }),
  toRequestEvent: (request) => request,
};
