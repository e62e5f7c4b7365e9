/** What client and gateway have in common: state, events, the end (PG-120, PG-130). */

import {
  createEventBus,
  createEventQueue,
  type EventBus,
  type QueuedEvent,
} from "../program/control/events.ts";
import type { ControlEvent } from "../program/control/index.ts";
import type { HostStatus } from "../program/on-host/index.ts";
import type { UserspaceStatus } from "../program/userspace/index.ts";
import { toLibraryError } from "./error.ts";

export type Status = UserspaceStatus;
/** With a device. */
export type TunStatus = HostStatus;

/** Names of events and what they tell (PG-112). */
export type Events = { readonly [E in ControlEvent as E["event"]]: E["data"] };

export type AnyEvent = QueuedEvent;

export type InstanceState = "connecting" | "ready" | "closing" | "closed";

/** How it ended: because it was told to, or by an error that no retry mends. */
export type CloseReason = { readonly kind: "closed" } | { readonly kind: "failed"; readonly error: unknown };

/** @typeParam S what `status` shows, which mode `tun` has more of */
export interface Instance<S = Status> extends AsyncDisposable {
  readonly state: InstanceState;
  /** Never rejects. */
  readonly closed: Promise<CloseReason>;
  /** As `postern status --json` (PG-109). */
  status(): S;
  /** The network is another one: sockets and paths are made anew. */
  reset(reason?: string): void;
  /** Returns what ends the listening. */
  on<E extends keyof Events>(event: E, listener: (data: Events[E]) => void): () => void;
  /** Ends with the instance, or with the signal; what is not taken in time is counted as `lost`. */
  events(options?: { readonly signal?: AbortSignal }): AsyncIterable<AnyEvent>;
  /**
   * Resets what is open, says goodbye, and takes back what it has set; pending operations reject with `closed`.
   *
   * It resolves when that is done, at the latest after `timeoutMs` (default one second; with a device, where the host
   * has routes and rules to lose, six). What is not done by then goes on behind it: so with 0 nothing is waited for, and a
   * process that exits at once may leave behind what the next start removes.
   */
  close(options?: { readonly timeoutMs?: number }): Promise<void>;
}

/** What runs below. */
export interface Running<S = Status> {
  readonly peer: {
    readonly failed: Promise<unknown>;
    reset(reason: string): void;
  };
  status(): S;
  close(): Promise<void>;
}

const CLOSE_MS = 1_000;

export interface Ways {
  /** Closes it. */
  readonly signal: AbortSignal | undefined;
  /** How long the end may take. */
  readonly closeMs?: number;
}

export function createInstance<S>(
  running: Running<S>,
  bus: EventBus,
  { signal, closeMs = CLOSE_MS }: Ways,
): Instance<S> {
  let state: InstanceState = "ready";
  let settle = (_: CloseReason): void => {};
  const closed = new Promise<CloseReason>((resolve) => {
    settle = resolve;
  });
  let ending: Promise<void> | undefined;

  function end(reason: CloseReason, timeoutMs: number): Promise<void> {
    ending ??= (async () => {
      state = "closing";
      signal?.removeEventListener("abort", aborted);
      bus.emit({ event: "stopping", data: {} });
      await within(running.close(), timeoutMs);
      state = "closed";
      settle(reason);
    })();
    return ending;
  }

  const aborted = (): void => void end({ kind: "closed" }, closeMs);
  signal?.addEventListener("abort", aborted, { once: true });
  void running.peer.failed.then((error) => end({ kind: "failed", error: toLibraryError(error) }, closeMs));
  const close = ({ timeoutMs = closeMs } = {}): Promise<void> => end({ kind: "closed" }, timeoutMs);
  return {
    get state() {
      return state;
    },
    closed,
    status: running.status,
    reset: (reason = "asked for by the program") => running.peer.reset(reason),
    on: (event, listener) =>
      bus.listen((told) => {
        // The name says which data it has.
        if (told.event === event) listener(told.data as Events[typeof event]);
      }),
    events: ({ signal: until } = {}) => follow(bus, until, closed),
    close,
    [Symbol.asyncDispose]: () => close(),
  };
}

async function* follow(
  bus: EventBus,
  signal: AbortSignal | undefined,
  closed: Promise<unknown>,
): AsyncGenerator<AnyEvent> {
  const queue = createEventQueue();
  let wake = (): void => {};
  let isOver = signal?.aborted ?? false;
  const stop = (): void => {
    isOver = true;
    wake();
  };
  const unlisten = bus.listen((event) => {
    queue.push(event);
    wake();
  });
  signal?.addEventListener("abort", stop);
  void closed.then(stop);
  try {
    for (;;) {
      const next = queue.shift();
      if (next !== undefined) yield next;
      else if (isOver) return;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  } finally {
    unlisten();
    signal?.removeEventListener("abort", stop);
  }
}

async function within(work: Promise<void>, limitMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, limitMs);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Until it is ready; what comes first of failure and signal ends the start. */
export async function untilReady(
  running: Running<unknown> & { readonly peer: { readonly ready: Promise<void> } },
  { signal, closeMs = CLOSE_MS }: Ways,
): Promise<void> {
  let aborted = (): void => {};
  const stopped = new Promise<never>((_resolve, reject) => {
    aborted = () => reject(signal?.reason);
    if (signal?.aborted) aborted();
    else signal?.addEventListener("abort", aborted, { once: true });
  });
  stopped.catch(() => {});
  try {
    await Promise.race([running.peer.ready, stopped]);
  } catch (error) {
    await within(running.close(), closeMs);
    throw toLibraryError(error);
  } finally {
    signal?.removeEventListener("abort", aborted);
  }
}

export { createEventBus, type EventBus };
