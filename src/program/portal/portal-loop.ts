/**
 * One loop around the portal's machine: inputs in, then everything out, then sleep until it wants the
 * time (D-17).
 */

import { setTimeout as wait } from "node:timers/promises";
import type { Log, Random } from "../../base/index.ts";
import {
  createPortalServer,
  type PeerLimits,
  type PortalModel,
  type PortalServer,
  type ServerStatus,
} from "../../portal/server/index.ts";
import { MAX_SLEEP_MS } from "../longest-sleep.ts";
import { type Listener, type ListenerEvents, type ListenerOptions, openListener } from "./listener.ts";
import { monotonicNow, wallNow } from "./program-clock.ts";
import type { StateFile } from "./state-file.ts";

export interface PortalLoop {
  readonly listener: Listener;
  readonly server: Pick<PortalServer, "counters">;
  status(): ServerStatus;
  /** A new configuration takes effect. */
  reload(model: PortalModel): void;
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

/** A wall clock that has moved by more than this was set, or the machine slept. */
const CLOCK_TOLERANCE_MS = 250;
const WRITE_RETRY_MS = 1_000;

export async function openPortalLoop(options: PortalLoopOptions): Promise<PortalLoop> {
  const { state, log } = options;
  const server = createPortalServer({
    model: options.model,
    state: state.initial,
    now: monotonicNow(),
    wallNow: wallNow(),
    random: options.random,
    log,
    limits: options.limits,
  });
  let timer: NodeJS.Timeout | undefined;
  let writing: Promise<void> | undefined;
  let isClosing = false;
  let offsetMs = wallNow() - monotonicNow();

  /** Runs one input and then everything that follows from it. */
  function turn<T>(input: (now: ReturnType<typeof monotonicNow>) => T): T {
    const now = monotonicNow();
    const offset = wallNow() - now;
    if (Math.abs(offset - offsetMs) > CLOCK_TOLERANCE_MS) {
      offsetMs = offset;
      server.handleClock(now, wallNow());
    }
    const result = input(now);
    drain();
    return result;
  }

  function drain(): void {
    if (listener !== undefined) {
      for (let next = server.pollTransmit(); next !== undefined; next = server.pollTransmit()) {
        listener.send(next);
      }
    }
    if (writing === undefined) startWriting();
    clearTimeout(timer);
    const at = server.pollTimeout();
    if (at === undefined || isClosing) return;
    const sleepMs = Math.min(MAX_SLEEP_MS, Math.max(0, at - monotonicNow()));
    timer = setTimeout(() => turn((now) => server.handleTimeout(now)), sleepMs);
  }

  /** One write at a time; whatever changed meanwhile is in the next. */
  function startWriting(): void {
    const next = server.pollPersist();
    if (next === undefined) return;
    writing = write(next).then(() => {
      writing = undefined;
      drain();
    });
  }

  async function write(next: NonNullable<ReturnType<PortalServer["pollPersist"]>>): Promise<void> {
    try {
      await state.append(next.changes, () => server.snapshot());
    } catch (error) {
      log.error?.("cannot write the state; new devices and flows wait", { error });
      await wait(isClosing ? 0 : WRITE_RETRY_MS);
      // At the end nobody waits for it any more; what is on disk is whole, only older.
      if (!isClosing) turn((now) => server.handlePersistFailed(now));
      return;
    }
    turn((now) => server.handlePersisted(now, next.revision));
  }

  const events: ListenerEvents = {
    upgrade: (request) => turn((now) => server.handleUpgrade(now, request)),
    request: (remote) => server.handleRequest(monotonicNow(), remote),
    text: (socket, text) => turn((now) => server.handleText(now, socket, text)),
    binary: (socket) => turn((now) => server.handleBinary(now, socket)),
    pong: (socket) => turn((now) => server.handlePong(now, socket)),
    close: (socket) => turn((now) => server.handleClose(now, socket)),
    inputError(error) {
      server.counters.inputErrors++;
      log.error?.("reading a request failed; it is ended", { error });
    },
  };
  let listener: Listener | undefined;
  listener = await openListener(options, events);
  drain();
  return {
    listener,
    server,
    status: () => server.status(monotonicNow()),
    reload: (model) => turn((now) => server.handleModel(now, model)),
    async close() {
      isClosing = true;
      await listener.close();
      clearTimeout(timer);
      while (writing !== undefined) await writing;
    },
  };
}
