/**
 * One loop around the portal's machine: inputs in, then everything out, then sleep until it wants the
 * time (D-17).
 */

import { setTimeout as wait } from "node:timers/promises";
import { createWallClock, type Instant, type Log, type Random, type WallClock } from "../../base/index.ts";
import {
  createPortalServer,
  type PeerLimits,
  type PortalModel,
  type PortalServer,
  type ServerStatus,
} from "../../portal/server/index.ts";
import { MAX_SLEEP_MS } from "../longest-sleep.ts";
import { type Listener, type ListenerEvents, type ListenerOptions, openListener } from "./listener.ts";
import { createPortalMeter, type PortalMeter } from "./portal-meter.ts";
import { monotonicNow, wallNow } from "./program-clock.ts";
import type { StateFile } from "./state-file.ts";

export interface PortalLoop {
  readonly listener: Listener;
  readonly server: Pick<PortalServer, "counters" | "meters" | "pushes">;
  readonly meter: PortalMeter;
  status(): ServerStatus;
  /** A new configuration takes effect. */
  reload(model: PortalModel): void;
  /** Serves those who are there until they have been sent away, one by one (PT-190). */
  drain(withinMs: number): Promise<void>;
  /** Closes sockets and writes what is not written yet. */
  close(): Promise<void>;
}

export interface PortalLoopOptions extends ListenerOptions {
  readonly model: PortalModel;
  readonly state: StateFile;
  readonly random: Random;
  readonly limits: PeerLimits;
  readonly log: Log;
}

const WRITE_RETRY_MS = 1_000;

/** What the loop holds. */
interface Loop {
  readonly server: PortalServer;
  readonly state: StateFile;
  readonly log: Log;
  listener: Listener | undefined;
  timer: NodeJS.Timeout | undefined;
  writing: Promise<void> | undefined;
  isClosing: boolean;
  readonly clock: WallClock;
  readonly meter: PortalMeter;
}

export async function openPortalLoop(options: PortalLoopOptions): Promise<PortalLoop> {
  const { model, state, random, limits, log } = options;
  const server = createPortalServer({
    model,
    state: state.initial,
    now: monotonicNow(),
    wallNow: wallNow(),
    random,
    limits,
    log,
  });
  const loop: Loop = {
    server,
    state,
    log,
    listener: undefined,
    timer: undefined,
    writing: undefined,
    isClosing: false,
    clock: createWallClock(monotonicNow(), wallNow()),
    meter: createPortalMeter(),
  };
  const listener = await openListener(options, listenerEvents(loop));
  loop.listener = listener;
  drain(loop);
  return {
    listener,
    server,
    meter: loop.meter,
    status: () => server.status(monotonicNow()),
    reload(next) {
      const since = performance.now();
      turn(loop, (now) => server.handleModel(now, next));
      loop.meter.change(performance.now() - since);
    },
    drain: (withinMs) => listener.drain(withinMs, random),
    async close() {
      loop.isClosing = true;
      await listener.close();
      clearTimeout(loop.timer);
      while (loop.writing !== undefined) await loop.writing;
    },
  };
}

function listenerEvents(loop: Loop): ListenerEvents {
  const { server, log } = loop;
  return {
    upgrade: (request) => turn(loop, (now) => server.handleUpgrade(now, request)),
    request: (remote) => server.handleRequest(monotonicNow(), remote),
    text: (socket, text) => turn(loop, (now) => server.handleText(now, socket, text)),
    binary: (socket) => turn(loop, (now) => server.handleBinary(now, socket)),
    pong: (socket) => turn(loop, (now) => server.handlePong(now, socket)),
    close: (socket) => turn(loop, (now) => server.handleClose(now, socket)),
    inputError(error) {
      server.counters.inputErrors++;
      log.error?.("reading a request failed; it is ended", { error });
    },
  };
}

/** Runs one input and then everything that follows from it. */
function turn<T>(loop: Loop, input: (now: Instant) => T): T {
  const since = performance.now();
  const now = monotonicNow();
  const wall = wallNow();
  if (loop.clock.follow(now, wall)) loop.server.handleClock(now, wall);
  const result = input(now);
  if (drain(loop) > 0) loop.meter.pushed(performance.now() - since);
  return result;
}

/** Returns how much went to peers. */
function drain(loop: Loop): number {
  const { server, listener } = loop;
  let sent = 0;
  if (listener !== undefined) {
    for (let next = server.pollTransmit(); next !== undefined; next = server.pollTransmit()) {
      listener.send(next);
      if (next.kind === "text") sent++;
    }
  }
  if (loop.writing === undefined) startWriting(loop);
  clearTimeout(loop.timer);
  const at = server.pollTimeout();
  if (at === undefined || loop.isClosing) return sent;
  const sleepMs = Math.min(MAX_SLEEP_MS, Math.max(0, at - monotonicNow()));
  const due = performance.now() + sleepMs;
  loop.timer = setTimeout(() => {
    loop.meter.woke(Math.max(0, performance.now() - due));
    turn(loop, (now) => server.handleTimeout(now));
  }, sleepMs);
  return sent;
}

/** One write at a time; whatever changed meanwhile is in the next. */
function startWriting(loop: Loop): void {
  const next = loop.server.pollPersist();
  if (next === undefined) return;
  loop.writing = write(loop, next).then(() => {
    loop.writing = undefined;
    drain(loop);
  });
}

async function write(
  loop: Loop,
  { revision, changes }: NonNullable<ReturnType<PortalServer["pollPersist"]>>,
): Promise<void> {
  const { server, state, log, meter } = loop;
  try {
    const since = performance.now();
    await state.append(changes, () => server.snapshot());
    meter.written(performance.now() - since);
  } catch (error) {
    log.error?.("cannot write the state; new devices and flows wait", { error });
    await wait(loop.isClosing ? 0 : WRITE_RETRY_MS);
    // At the end nobody waits for it any more; what is on disk is whole, only older.
    if (!loop.isClosing) turn(loop, (now) => server.handlePersistFailed(now));
    return;
  }
  turn(loop, (now) => server.handlePersisted(now, revision));
}
