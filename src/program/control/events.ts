/** What a running program tells those who listen (PG-112), and the queues in which it waits for them. */

export type ControlEvent =
  | { readonly event: "ready"; readonly data: { readonly ms: number } }
  | { readonly event: "stopping"; readonly data: Readonly<Record<string, never>> }
  | { readonly event: "portal"; readonly data: { readonly state: string; readonly error?: string } }
  | { readonly event: "interface"; readonly data: InterfaceEvent }
  | { readonly event: "resources"; readonly data: { readonly count: number } }
  | { readonly event: "resource"; readonly data: { readonly rid: string; readonly status: string } }
  | { readonly event: "connection"; readonly data: ConnectionChangeEvent }
  | { readonly event: "reset"; readonly data: { readonly reason: string } }
  | { readonly event: "relay"; readonly data: { readonly id: string; readonly state: string } }
  | { readonly event: "error"; readonly data: { readonly code: string; readonly message: string } };

export interface InterfaceEvent {
  readonly addresses: readonly string[];
  readonly routes: number;
}

export interface ConnectionChangeEvent {
  /** `gid` at a client, `cid` at a gateway. */
  readonly peer: string;
  readonly state: "connecting" | "connected" | "idle" | "failed" | "closed";
  readonly path: "direct" | "relayed" | "relayed-tls" | "relayed-tcp" | "none";
  readonly reason?: string;
}

export type ControlEventName = ControlEvent["event"];

/** In the order of PG-112. */
export const EVENT_NAMES = [
  "ready",
  "stopping",
  "portal",
  "interface",
  "resources",
  "resource",
  "connection",
  "reset",
  "relay",
  "error",
] as const satisfies readonly ControlEventName[];

/** Events that one subscriber has not taken yet (PG-112). */
export const SUBSCRIBER_EVENTS_MAX = 256;

export type QueuedEvent =
  | ControlEvent
  | { readonly event: "lost"; readonly data: { readonly count: number } };

/** A queue of fixed length. What does not fit is counted, and `lost` stands in its place. */
export interface EventQueue {
  push(event: ControlEvent): void;
  shift(): QueuedEvent | undefined;
}

export function createEventQueue(limit = SUBSCRIBER_EVENTS_MAX): EventQueue {
  const waiting: QueuedEvent[] = [];
  let lost = 0;

  /** The mark comes behind what was there before the loss, and before what follows it. */
  function mark(): void {
    if (lost > 0) waiting.push({ event: "lost", data: { count: lost } });
    lost = 0;
  }

  return {
    push(event) {
      const room = lost > 0 ? 2 : 1;
      if (waiting.length + room > limit) {
        lost++;
        return;
      }
      mark();
      waiting.push(event);
    },
    shift() {
      if (waiting.length === 0) mark();
      return waiting.shift();
    },
  };
}

/** Hands each event to all who listen, in the order in which they happened. */
export interface EventBus {
  emit(event: ControlEvent): void;
  /** Returns what ends the listening. */
  listen(listener: (event: ControlEvent) => void): () => void;
}

export function createEventBus(): EventBus {
  const listeners = new Set<(event: ControlEvent) => void>();
  return {
    emit(event) {
      for (const listener of [...listeners]) listener(event);
    },
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
