/**
 * How fast frames are taken from each peer (PT-72). What comes faster is not read: it waits in the
 * peer's own socket, costs the others nothing, and is answered later.
 */
import type { WebSocket } from "ws";
import type { Topic } from "../../portal/protocol/index.ts";

/** A gateway answers for all its clients; a client asks every 2 s per resource (PT-55). */
const RATES: Readonly<Record<Topic, { readonly perSecond: number; readonly burst: number }>> = {
  client: { perSecond: 100, burst: 200 },
  gateway: { perSecond: 2_000, burst: 4_000 },
  relay: { perSecond: 10, burst: 20 },
};

/** How often sockets that had to wait are looked at. */
const RESUME_MS = 20;
const FRAMES_PER_RESUME = 40;

export type Frame = { readonly kind: "text"; readonly text: string } | { readonly kind: "binary" };

export interface Intake {
  open(id: number, kind: Topic, socket: WebSocket): void;
  take(id: number, frame: Frame): void;
  close(id: number): void;
}

interface Source {
  readonly id: number;
  readonly kind: Topic;
  readonly socket: WebSocket;
  tokens: number;
  atMs: number;
  /** What had been read when the socket was paused: the rest of one chunk of 64 KiB. */
  waiting: Frame[];
}

export function createIntake(handle: (id: number, frame: Frame) => void): Intake {
  const sources = new Map<number, Source>();
  const paused = new Set<Source>();
  let isScheduled = false;

  function mayTake(source: Source): boolean {
    const { perSecond, burst } = RATES[source.kind];
    const nowMs = performance.now();
    source.tokens = Math.min(burst, source.tokens + ((nowMs - source.atMs) / 1000) * perSecond);
    source.atMs = nowMs;
    if (source.tokens < 1) return false;
    source.tokens--;
    return true;
  }

  /** A few frames of each: a long queue of one peer does not hold up the others. */
  function resume(): void {
    isScheduled = false;
    for (const source of paused) {
      for (let n = 0; n < FRAMES_PER_RESUME && source.waiting.length > 0 && mayTake(source); n++) {
        const frame = source.waiting.shift();
        if (frame !== undefined) handle(source.id, frame);
      }
      if (source.waiting.length > 0) continue;
      paused.delete(source);
      source.socket.resume();
    }
    if (paused.size > 0) schedule();
  }

  function schedule(): void {
    if (isScheduled) return;
    isScheduled = true;
    setTimeout(resume, RESUME_MS);
  }

  return {
    open(id, kind, socket) {
      const { burst } = RATES[kind];
      sources.set(id, { id, kind, socket, tokens: burst, atMs: performance.now(), waiting: [] });
    },
    take(id, frame) {
      const source = sources.get(id);
      if (source === undefined) return;
      if (source.waiting.length === 0 && mayTake(source)) {
        handle(id, frame);
        return;
      }
      source.waiting.push(frame);
      source.socket.pause();
      paused.add(source);
      schedule();
    },
    close(id) {
      const source = sources.get(id);
      if (source === undefined) return;
      sources.delete(id);
      paused.delete(source);
    },
  };
}
