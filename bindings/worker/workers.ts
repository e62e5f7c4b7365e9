/** Starting and stopping the loops of the worker threads, and the threads (D-13, PF-23, PG-66). */

import { assert } from "../../src/base/index.ts";
import { EFD_CLOEXEC, EFD_NONBLOCK, hostError } from "../linux/index.ts";
import { CONSTANTS, OFFSETS, type SharedMemory } from "../memory/index.ts";
import type { SysCalls } from "../sys/index.ts";
import { type PlaneThread, type PlaneThreads, spawnThread, type WorkerKind } from "../thread/index.ts";
import type { PairDescriptors, PlaneDescriptors } from "./descriptors.ts";
import { NO_DESCRIPTOR } from "./records.ts";

const { worker: WORKER } = OFFSETS;

/** How a loop ended by itself. */
export type PlaneEnd =
  /** The TUN device is gone: exit 8 (PG-38). */
  | { readonly worker: WorkerKind; readonly reason: "tun-removed" }
  /** The sockets must be bound again (PG-46, PG-66). */
  | { readonly worker: WorkerKind; readonly reason: "socket-failed" }
  /** A defect: the worker died. */
  | { readonly worker: WorkerKind; readonly reason: "crashed"; readonly error: unknown };

export interface PlaneWorkers {
  start(descriptors: PlaneDescriptors): Promise<void>;
  /** Ends the loops; their threads wait for the next start. */
  pause(): Promise<void>;
  /** Ends loops and threads. */
  stop(): Promise<void>;
  /** Wakes the egress worker of that pair if it waits: there is something for it. */
  nudge(pair: number): void;
  onEnd(ended: (end: PlaneEnd) => void): void;
}

export interface PlaneWorkersOptions {
  readonly shared: SharedMemory;
  readonly module: WebAssembly.Module;
  readonly sys: SysCalls | undefined;
  /** Threads that are up already; absent: they are started when they are needed. */
  readonly threads?: PlaneThreads | undefined;
  /** Addresses of the records of each pair's workers; those of a pair have its descriptors. */
  readonly pairs: readonly Readonly<Partial<Record<WorkerKind, number>>>[];
}

/** A worker: what it runs, where its record is, whose descriptors it has. */
interface Place {
  readonly kind: WorkerKind;
  readonly worker: number;
  readonly pair: number;
}

interface Running {
  readonly wakeFd: number;
  /** Resolves when the loop has ended, however it did. */
  readonly over: Promise<void>;
  /** Told what the thread says. */
  readonly started: () => void;
  readonly failed: (error: unknown) => void;
  readonly ended: () => void;
}

/** What the functions below work on. */
interface WorkersState extends PlaneWorkersOptions {
  /** Threads that have had a start; they stay until `stop`. */
  readonly employed: Map<Place, PlaneThread>;
  readonly running: Map<Place, Running>;
  readonly places: readonly Place[];
  /** Address of eight bytes with the number 1, which signals an eventfd. */
  readonly one: number;
  ended: (end: PlaneEnd) => void;
  isStopping: boolean;
}

export function createPlaneWorkers(options: PlaneWorkersOptions): PlaneWorkers {
  const { shared, sys } = options;
  const one = shared.allocate(8);
  shared.longs[one >> 3] = 1n;
  const state: WorkersState = {
    ...options,
    employed: new Map(),
    running: new Map(),
    places: options.pairs.flatMap(placesOf),
    one,
    ended: () => undefined,
    isStopping: false,
  };
  return {
    async start(descriptors) {
      assert(sys !== undefined, "workers need system calls");
      assert(state.running.size === 0, "the workers are stopped before they are started");
      state.isStopping = false;
      startWatching(state);
      await Promise.all(state.places.map((place) => launch(state, place, sys, descriptors)));
    },
    pause: () => endLoops(state),
    stop: () => stopAll(state),
    nudge: (pair) => nudge(state, pair),
    onEnd(listener) {
      state.ended = listener;
    },
  };
}

/**
 * Those whose loops are told to end when the process does: one that sits in poll would hold it up (PF-23). One
 * listener for all: a process may have many planes (PG-131).
 */
const watched = new Set<WorkersState>();

function interruptAll(): void {
  for (const state of watched) tellToStop(state);
}

function startWatching(state: WorkersState): void {
  if (watched.size === 0) process.on("exit", interruptAll);
  watched.add(state);
}

function stopWatching(state: WorkersState): void {
  watched.delete(state);
  if (watched.size === 0) process.off("exit", interruptAll);
}

function placesOf(pair: PlaneWorkersOptions["pairs"][number], number: number): readonly Place[] {
  // The keys of the record are kinds.
  return (Object.entries(pair) as [WorkerKind, number][]).map(([kind, worker]) => ({
    kind,
    worker,
    pair: number,
  }));
}

/** Starts one loop; resolves when it is about to begin. */
function launch(
  state: WorkersState,
  place: Place,
  calls: SysCalls,
  descriptors: PlaneDescriptors,
): Promise<void> {
  const wakeFd = calls.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (wakeFd < 0) throw hostError("cannot open an eventfd", "eventfd", calls.errno());
  const own = place.pair === 0 ? descriptors : descriptors.others?.[place.pair - 1];
  assert(own !== undefined, "every pair has descriptors");
  const words = wordsToStart(wakeFd, own, descriptors.hasSegmentation);
  for (const [field, value] of words) setWord(state, place, field, value);
  const { shared, module, employed, running } = state;
  const { kind, worker } = place;
  const thread = employed.get(place) ?? employ(state, place);
  return new Promise((started, failed) => {
    let ended = (): void => {};
    const over = new Promise<void>((resolve) => {
      ended = resolve;
    });
    running.set(place, { wakeFd, over, started, failed, ended });
    thread.run({ memory: shared.memory, module, kind, worker });
  });
}

function employ(state: WorkersState, place: Place): PlaneThread {
  const { threads, employed, running } = state;
  const thread = threads?.take(place.kind) ?? spawnThread(place.kind);
  employed.set(place, thread);
  thread.onReport((message) => {
    const loop = running.get(place);
    if (message.kind === "ready") loop?.started();
    if (message.kind !== "ended") return;
    loop?.ended();
    if (message.code === CONSTANTS.ENDED_STOPPED) return;
    const isTun = message.code === CONSTANTS.ENDED_TUN_REMOVED;
    reportEnd(state, place, { worker: place.kind, reason: isTun ? "tun-removed" : "socket-failed" });
  });
  thread.failed.catch((error: unknown) => {
    running.get(place)?.failed(error);
    reportEnd(state, place, { worker: place.kind, reason: "crashed", error });
  });
  void thread.exited.then(() => {
    if (employed.get(place) === thread) employed.delete(place);
    running.get(place)?.ended();
  });
  return thread;
}

async function stopAll(state: WorkersState): Promise<void> {
  const { employed } = state;
  await endLoops(state);
  stopWatching(state);
  // Threads are never terminated: one that sits in a system call would hold up the process (PF-23).
  await Promise.all(
    [...employed.values()].map((thread) => {
      thread.end();
      return thread.exited;
    }),
  );
}

async function endLoops(state: WorkersState): Promise<void> {
  const { running, sys } = state;
  tellToStop(state);
  await Promise.all([...running.values()].map(({ over }) => over));
  for (const [place, { wakeFd }] of running) {
    setWord(state, place, WORKER.running, 0);
    sys?.close(wakeFd);
  }
  running.clear();
}

function tellToStop(state: WorkersState): void {
  const { running, sys, one } = state;
  state.isStopping = true;
  for (const [place, { wakeFd }] of running) {
    setWord(state, place, WORKER.stop, 1);
    sys?.write(wakeFd, one, 8);
  }
}

function nudge({ running, places, shared, sys, one }: WorkersState, of: number): void {
  const place = places.find(({ kind, pair }) => kind === "egress" && pair === of);
  const egress = place === undefined ? undefined : running.get(place);
  if (place === undefined || egress === undefined) return;
  const isParked = Atomics.load(shared.words, (place.worker + WORKER.parked) >> 2) === 1;
  if (isParked) sys?.write(egress.wakeFd, one, 8);
}

function reportEnd(state: WorkersState, place: Place, end: PlaneEnd): void {
  setWord(state, place, WORKER.running, 0);
  if (!state.isStopping) state.ended(end);
}

function setWord({ shared }: WorkersState, { worker }: Place, field: number, value: number): void {
  Atomics.store(shared.words, (worker + field) >> 2, value >>> 0);
}

/** The words of a worker's record before its loop begins. */
function wordsToStart(
  wakeFd: number,
  { tun, udp4, udp6 }: PairDescriptors,
  hasSegmentation: boolean,
): readonly (readonly [field: number, value: number])[] {
  return [
    [WORKER.tun, tun ?? NO_DESCRIPTOR],
    [WORKER.udp4, udp4 ?? NO_DESCRIPTOR],
    [WORKER.udp6, udp6 ?? NO_DESCRIPTOR],
    [WORKER.wakeFd, wakeFd],
    [WORKER.isGsoOff, hasSegmentation ? 0 : 1],
    [WORKER.stop, 0],
    [WORKER.ended, 0],
    // Sockets are others by now: what the kernel counts of them begins at 0, and none has failed yet.
    [WORKER.overflow, 0],
    [WORKER.overflow6, 0],
    [WORKER.errors, 0],
    // Parked until its loop begins, so that quiescence does not wait for it.
    [WORKER.parked, 1],
    [WORKER.running, 1],
  ];
}
