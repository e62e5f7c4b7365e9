/**
 * Messages that wait for the channel to be joined (PT-25, PT-26).
 */
import type { Instant } from "../../base/index.ts";
import type { ChannelEvent } from "./channel.ts";
import { MAX_MESSAGE_AGE_MS, MAX_QUEUED } from "./constants.ts";

export interface QueuedMessage {
  readonly content: ChannelEvent;
  readonly queuedAt: Instant;
  /** Event and payload as text: equal messages wait only once. */
  readonly identity: string;
}

/** Why a message was never sent; counted as `portal_msg_dropped`. */
export type OutboxDrop = "overflow" | "too-old";

export interface Outbox {
  push(now: Instant, content: ChannelEvent): void;
  /** The next message young enough to be worth sending. */
  shift(now: Instant): QueuedMessage | undefined;
  /** Puts a message that the socket did not take back to the front. */
  unshift(message: QueuedMessage): void;
  clear(): void;
}

export function createOutbox(countDrop: (reason: OutboxDrop) => void): Outbox {
  const queue: QueuedMessage[] = [];
  return {
    push(now, content) {
      const identity = `${content.event} ${JSON.stringify(content.payload)}`;
      if (queue.some((message) => message.identity === identity)) return;
      if (queue.length >= MAX_QUEUED) {
        queue.shift();
        countDrop("overflow");
      }
      queue.push({ content, queuedAt: now, identity });
    },
    shift(now) {
      for (;;) {
        const message = queue.shift();
        if (message === undefined || now - message.queuedAt <= MAX_MESSAGE_AGE_MS) return message;
        countDrop("too-old");
      }
    },
    unshift(message) {
      queue.unshift(message);
    },
    clear() {
      queue.length = 0;
    },
  };
}
