/**
 * A wire between two network namespaces that delays, loses, repeats, reorders and slows down what passes
 * (TS-23): what `tc netem` does, for kernels without it.
 *
 *   node scripts/wire.mjs NEAR FAR [SETTINGS]        with bindings built, and CAP_NET_ADMIN
 *
 * NEAR and FAR are TUN devices that it makes in its own namespace; who started it moves them. What goes into
 * one leaves by the other. SETTINGS and each line that comes by the socket `/run/wire.sock` are JSON:
 *
 *   {"direction": "out" | "in" | "both", "delayMs": 20, "jitterMs": 2, "loss": 0.2, "duplicate": 0.01,
 *    "reorder": 0.01, "rateMbps": 100, "queueKb": 512, "cut": false}
 *
 * *out* is from NEAR to FAR; what is not named stays. Each line is answered by one with the counters.
 * Delays are exact to a millisecond. As long as nothing is lost, repeated or reordered the devices take
 * super-frames; `"offloads": false` in SETTINGS makes every packet pass by itself. The same seed (`"seed"`)
 * gives the same losses for the same packets.
 *
 * The thread of this file hears commands; a second one carries packets.
 */
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { OFFLOADS_ALL, openKernel, openTun } from "../build/bindings/linux/index.js";
import { openSysCalls } from "../build/bindings/sys/index.js";

const SOCKET = "/run/wire.sock";
const FRAME_BYTES_MAX = 65_535 + 10;
const PAGE_BYTES = 65_536;
/** Of each direction. What does not fit is dropped: a wire that is this long and this full has a queue. */
const STORE_BYTES = 64 << 20;
const POLLFD_AT = 0;
const STORES_AT = PAGE_BYTES;
const POLLIN = 1;
/** How long a command may wait to be seen while nothing passes. */
const IDLE_MS = 20;
const DIRECTIONS = ["out", "in"];
const FIELDS = ["delayMs", "jitterMs", "loss", "duplicate", "reorder", "rateMbps", "queueKb", "cut"];
const COUNTERS = ["passed", "bytes", "lost", "late", "full", "refused"];
/** A packet that is chosen to be late stays this much longer. */
const REORDER_MS = 5;

function main([near, far, text = "{}"]) {
  if (near === undefined || far === undefined) {
    console.error("usage: node scripts/wire.mjs NEAR FAR [SETTINGS]");
    return;
  }
  const { offloads = true, seed = 1, ...settings } = JSON.parse(text);
  const kernel = openKernel();
  const tuns = [near, far].map((name) =>
    openTun(kernel, { name, offloads: offloads ? [OFFLOADS_ALL] : [0] }),
  );
  const memory = new SharedArrayBuffer(8 * DIRECTIONS.length * (FIELDS.length + COUNTERS.length));
  const table = new Float64Array(memory);
  apply(table, settings);
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { fds: tuns.map(({ fd }) => fd), memory, seed },
  });
  worker.on("error", (error) => {
    console.error(`wire: ${error.stack}`);
    process.exit(1);
  });
  const server = createServer((socket) => {
    createInterface({ input: socket }).on("line", (line) => {
      apply(table, JSON.parse(line));
      socket.write(`${JSON.stringify(counters(table))}\n`);
    });
  });
  server.listen(SOCKET, () => console.log("wired"));
}

function fieldAt(direction, field) {
  return direction * FIELDS.length + FIELDS.indexOf(field);
}

function counterAt(direction, counter) {
  return DIRECTIONS.length * FIELDS.length + direction * COUNTERS.length + COUNTERS.indexOf(counter);
}

function apply(table, { direction = "both", ...settings }) {
  DIRECTIONS.forEach((name, index) => {
    if (direction !== "both" && direction !== name) return;
    for (const field of FIELDS) {
      if (settings[field] !== undefined) table[fieldAt(index, field)] = Number(settings[field]);
    }
  });
}

function counters(table) {
  const of = (index) => Object.fromEntries(COUNTERS.map((name) => [name, table[counterAt(index, name)]]));
  return Object.fromEntries(DIRECTIONS.map((name, index) => [name, of(index)]));
}

/** The thread that carries packets. */
function carry({ fds, memory, seed }) {
  const pages = (STORES_AT + DIRECTIONS.length * STORE_BYTES) / PAGE_BYTES;
  const shared = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const world = {
    sys: openSysCalls(shared),
    view: new DataView(shared.buffer),
    table: new Float64Array(memory),
    draw: createDraw(seed),
  };
  const ways = DIRECTIONS.map((_, index) => createWay(index, fds));
  for (;;) {
    const now = performance.now();
    for (const way of ways) deliver(world, way, now);
    if (wait(world, fds, untilNext(ways, now)) === 0) continue;
    for (const way of ways) if (isReadable(world, way.index)) receive(world, way);
  }
}

function createWay(index, fds) {
  return {
    index,
    from: fds[index],
    to: fds[1 - index],
    start: STORES_AT + index * STORE_BYTES,
    /** Where the next frame is stored; frames lie in the order in which they came. */
    next: 0,
    /** By the time when they are due. */
    queue: [],
    /** In the order in which they lie; those at the front that have gone make room. */
    stored: [],
    storedBytes: 0,
    /** When the line is free again. */
    freeAt: 0,
  };
}

/** Milliseconds to the next frame, rounded up so that none is early. */
function untilNext(ways, now) {
  const due = Math.min(...ways.map(({ queue }) => queue[0]?.due ?? Number.POSITIVE_INFINITY));
  return Math.max(0, Math.min(IDLE_MS, Math.ceil(due - now)));
}

function wait({ sys, view }, fds, timeoutMs) {
  fds.forEach((fd, i) => {
    view.setInt32(POLLFD_AT + 8 * i, fd, true);
    view.setUint32(POLLFD_AT + 8 * i + 4, POLLIN, true);
  });
  return sys.poll(POLLFD_AT, fds.length, timeoutMs);
}

function isReadable({ view }, index) {
  return (view.getUint16(POLLFD_AT + 8 * index + 6, true) & POLLIN) !== 0;
}

function receive(world, way) {
  for (let frames = 0; frames < 64; frames++) {
    const at = room(way);
    if (at === undefined) return drop(world, way);
    const length = world.sys.read(way.from, way.start + at, FRAME_BYTES_MAX);
    if (length <= 0) return;
    accept(world, way, { at, length });
  }
}

/** An offset in the store with room for the longest frame; `undefined` when there is none. */
function room(way) {
  while (way.stored[0]?.isGone) way.storedBytes -= way.stored.shift().taken;
  const left = STORE_BYTES - way.next;
  const skipped = left < FRAME_BYTES_MAX ? left : 0;
  if (way.storedBytes + skipped + FRAME_BYTES_MAX > STORE_BYTES) return undefined;
  if (skipped > 0) {
    way.stored.push({ taken: skipped, isGone: true });
    way.storedBytes += skipped;
    way.next = 0;
  }
  return way.next;
}

/** Reads a frame for which there is no room, and forgets it. */
function drop(world, way) {
  world.sys.read(way.from, STORES_AT - FRAME_BYTES_MAX, FRAME_BYTES_MAX);
  count(world, way, "full");
}

function accept(world, way, { at, length }) {
  const set = (field) => world.table[fieldAt(way.index, field)];
  const now = performance.now();
  if (set("cut") !== 0 || world.draw() < set("loss")) return count(world, way, "lost");
  const bytesPerMs = set("rateMbps") * 125;
  const starts = bytesPerMs === 0 ? now : Math.max(now, way.freeAt);
  if (set("queueKb") !== 0 && (starts - now) * bytesPerMs > set("queueKb") * 1000) {
    return count(world, way, "full");
  }
  if (bytesPerMs !== 0) way.freeAt = starts + length / bytesPerMs;
  let due = (bytesPerMs === 0 ? now : way.freeAt) + set("delayMs") + world.draw() * set("jitterMs");
  if (world.draw() < set("reorder")) {
    due += REORDER_MS;
    count(world, way, "late");
  }
  const frame = { at, length, due, taken: length, isGone: false };
  way.next = at + length;
  way.stored.push(frame);
  way.storedBytes += length;
  enqueue(way, frame);
  if (world.draw() < set("duplicate")) enqueue(way, { ...frame });
}

/** Behind all that are due earlier; at the end in nearly every case. */
function enqueue({ queue }, frame) {
  let place = queue.length;
  while (place > 0 && queue[place - 1].due > frame.due) place--;
  queue.splice(place, 0, frame);
}

function deliver(world, way, now) {
  let frames = 0;
  for (; frames < way.queue.length && way.queue[frames].due <= now; frames++) {
    const frame = way.queue[frames];
    const written = world.sys.write(way.to, way.start + frame.at, frame.length);
    frame.isGone = true;
    count(world, way, written === frame.length ? "passed" : "refused");
    if (written > 0) count(world, way, "bytes", written);
  }
  way.queue.splice(0, frames);
}

function count({ table }, { index }, counter, by = 1) {
  table[counterAt(index, counter)] += by;
}

/** mulberry32: small, and the same everywhere. */
function createDraw(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

if (isMainThread) main(process.argv.slice(2));
else carry(workerData);
