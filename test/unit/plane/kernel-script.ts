/**
 * A kernel that follows a script, for the loops (TS-64): it answers reads and receives from lists, refuses
 * calls with the errors it was told, records what was sent and written, and stops the loop when nothing
 * is left. Pointers in structures are plain offsets, because such a plane has the base address 0.
 */

import { encodeSockaddr, parseSockaddr } from "../../../bindings/linux/index.ts";
import { CONSTANTS, instantiatePlane, OFFSETS } from "../../../bindings/memory/index.ts";
import { copyOf, type Instant, type SocketAddress } from "../../../src/base/index.ts";
import type { Fault } from "../../lib/fault-script.mjs";
import { compileVariant, type VARIANTS } from "../crypto/modules.ts";
import { withFaults } from "./faulty-calls.ts";
import { NOW, type testPlane } from "./pair.ts";

const { plane: PLANE, worker: WORKER } = OFFSETS;
export const FD = { tun: 10, udp4: 11, udp6: 12, wake: 13 } as const;

export interface ControlMessage {
  readonly level: number;
  readonly type: number;
  readonly data: Uint8Array;
}

export interface Received {
  readonly from: SocketAddress;
  readonly bytes: Uint8Array;
  readonly control: readonly ControlMessage[];
}

export interface Sent {
  readonly fd: number;
  readonly to: SocketAddress;
  readonly bytes: Uint8Array;
  readonly control: readonly ControlMessage[];
}

/** A number is an error. */
type Answer<T> = T | number;

export interface KernelScript {
  /** What reads of the TUN device bring, in order; then EAGAIN. */
  readonly frames?: readonly Answer<Uint8Array>[];
  readonly receives4?: readonly Answer<Received>[];
  readonly receives6?: readonly Answer<Received>[];
  /** Errors of sends: 0 is success. When the list is used up, all succeed. */
  readonly sends?: readonly number[];
  /** Errors of writes to the TUN device. */
  readonly writes?: readonly number[];
  readonly isIpv6Missing?: boolean;
  /** Called at every wait, before the loop is stopped at the last one. */
  readonly onPoll?: (waits: number, sends: number) => void;
  /** Called before every read of the TUN device. */
  readonly onRead?: (reads: number) => void;
  /** After so many waits the loop is stopped; default 1. */
  readonly waits?: number;
  readonly now?: Instant | (() => Instant);
  /** Calls that fail, before the lists are asked; reads of the eventfd are called `wake`. */
  readonly faults?: readonly Fault[];
  /** Every wait ends because control wants something. */
  readonly isWoken?: boolean;
}

export interface KernelRun {
  /** ENDED_… */
  readonly ended: number;
  readonly sent: readonly Sent[];
  readonly written: readonly Uint8Array[];
  /** Of each wait: descriptor and events of the first entry, and the time-out. */
  readonly polls: readonly { readonly fd: number; readonly events: number; readonly count: number }[];
  readonly reads: readonly number[];
  /** Of each yield: how many sends and TUN writes there had been. */
  readonly yields: readonly number[];
  /** Of each write: how many receives had brought something. */
  readonly writtenBehind: readonly number[];
  /** Of each option that was set: how many sends there had been. */
  readonly options: readonly SetOption[];
  /** Socket filters put in place, and taken away (`program` is missing), in order (PG-160). */
  readonly filters: readonly SocketFilter[];
  /** Of each wait. */
  readonly timeouts: readonly number[];
  /** Of each `sendmmsg`: how many messages it was given. */
  readonly sendsAtOnce: readonly number[];
}

export interface SocketFilter {
  readonly fd: number;
  /** Instructions of 8 bytes. */
  readonly program?: Uint8Array;
}

export interface SetOption {
  readonly fd: number;
  readonly level: number;
  readonly name: number;
  readonly value: number;
  readonly sent: number;
}

const EAGAIN = 11;
const MMSGHDR_BYTES = 64;
const POLLFD_BYTES = 8;
const SO_ATTACH_FILTER = 26;
const SO_DETACH_FILTER = 27;

/** The plane's memory as the scripted kernel sees it, and the worker's record in it. */
interface Memory {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly worker: number;
}

/** What a run fills while it goes on. */
interface Recording {
  readonly sent: Sent[];
  readonly written: Uint8Array[];
  readonly polls: KernelRun["polls"][number][];
  readonly reads: number[];
  readonly yields: number[];
  readonly writtenBehind: number[];
  readonly options: SetOption[];
  readonly filters: SocketFilter[];
  readonly timeouts: number[];
  readonly sendsAtOnce: number[];
}

export function runLoop(
  kind: "egress" | "ingress",
  plane: ReturnType<typeof testPlane>,
  script: KernelScript,
  variant: (typeof VARIANTS)[number] = "turbofan",
): KernelRun {
  const { memory } = plane;
  const view = new DataView(memory.buffer);
  const worker = view.getUint32(CONSTANTS.PLANE_ADDRESS + PLANE[kind], true);
  const set = (field: number, value: number) => view.setInt32(worker + field, value, true);
  const recording: Recording = {
    sent: [],
    written: [],
    polls: [],
    reads: [],
    yields: [],
    writtenBehind: [],
    options: [],
    filters: [],
    timeouts: [],
    sendsAtOnce: [],
  };
  const kernel = scriptedCalls({ bytes: new Uint8Array(memory.buffer), view, worker }, script, recording);
  const sys = withFaults(kernel, script.faults ?? [], FD.wake);
  set(WORKER.tun, FD.tun);
  set(WORKER.udp4, FD.udp4);
  set(WORKER.udp6, script.isIpv6Missing === true ? -1 : FD.udp6);
  set(WORKER.wakeFd, FD.wake);
  set(WORKER.stop, 0);
  set(WORKER.ended, 0);
  const exports = instantiatePlane(compileVariant(variant), memory, sys);
  const ended = kind === "egress" ? exports.egressLoop(worker) : exports.ingressLoop(worker);
  return { ended, ...recording };
}

/** Of the relay's workers only. */
function unused(): never {
  throw new Error("the tunnel's workers do not make this call");
}

/** Calls that are only noted. */
function recordedCalls(view: DataView, { options, filters, sent, written, yields }: Recording) {
  return {
    setsockopt(fd: number, level: number, name: number, at: number) {
      if (level === 1 && name === SO_DETACH_FILTER) return filters.push({ fd }) * 0;
      if (level === 1 && name === SO_ATTACH_FILTER) {
        // struct sock_fprog: the number of instructions, and their address.
        const program = new Uint8Array(
          view.buffer,
          Number(view.getBigUint64(at + 8, true)),
          8 * view.getUint16(at, true),
        );
        return filters.push({ fd, program: copyOf(program) }) * 0;
      }
      options.push({ fd, level, name, value: view.getInt32(at, true), sent: sent.length });
      return 0;
    },
    sched_yield() {
      yields.push(sent.length + written.length);
      return 0;
    },
  };
}

/** The system calls of the plane, answered from the script. */
function scriptedCalls({ bytes, view, worker }: Memory, script: KernelScript, recording: Recording) {
  const lists = {
    frames: [...(script.frames ?? [])],
    [FD.udp4]: [...(script.receives4 ?? [])],
    [FD.udp6]: [...(script.receives6 ?? [])],
    sends: [...(script.sends ?? [])],
    writes: [...(script.writes ?? [])],
  };
  let errno = 0;
  let waits = 0;
  let received = 0;
  const fail = (error: number) => {
    errno = error;
    return -1;
  };
  return {
    errno: () => errno,
    clock_gettime(_clock: number, at: number) {
      const now = typeof script.now === "function" ? script.now() : (script.now ?? NOW);
      view.setBigInt64(at, BigInt(Math.floor(now / 1000)), true);
      view.setBigInt64(at + 8, BigInt((now % 1000) * 1_000_000), true);
      return 0;
    },
    read(fd: number, at: number) {
      recording.reads.push(fd);
      if (fd !== FD.tun) return 8;
      script.onRead?.(recording.reads.length);
      const next = lists.frames.shift() ?? EAGAIN;
      if (typeof next === "number") return next === 0 ? 0 : fail(next);
      bytes.set(next, at);
      return next.length;
    },
    write(_fd: number, at: number, length: number) {
      const error = lists.writes.shift() ?? 0;
      if (error !== 0) return fail(error);
      recording.written.push(copyOf(bytes.subarray(at, at + length)));
      recording.writtenBehind.push(received);
      return length;
    },
    sendmsg(fd: number, at: number) {
      const error = lists.sends.shift() ?? 0;
      if (error !== 0) return fail(error);
      const sent = readMessage(view, bytes, fd, at);
      recording.sent.push(sent);
      return sent.bytes.length;
    },
    recvmsg(fd: number, at: number) {
      const next = (fd === FD.udp4 ? lists[FD.udp4] : lists[FD.udp6]).shift() ?? EAGAIN;
      if (typeof next === "number") return fail(next);
      received++;
      return writeMessage(view, bytes, at, next);
    },
    ...recordedCalls(view, recording),
    recvmmsg: unused,
    sendmmsg: sendMany({ bytes, view, worker }, lists.sends, recording, fail),
    epoll_wait: unused,
    poll(at: number, count: number, timeout: number) {
      recording.timeouts.push(timeout);
      recording.polls.push({ fd: view.getInt32(at, true), events: view.getUint16(at + 4, true), count });
      if (count > 0) waits++;
      script.onPoll?.(waits, recording.sent.length);
      if (waits >= (script.waits ?? 1)) view.setInt32(worker + WORKER.stop, 1, true);
      if (script.isWoken !== true || count < 3) return 0;
      view.setUint16(at + 2 * POLLFD_BYTES + 6, 1, true);
      return 1;
    },
  };
}

/** As the kernel does: an error ends it, and is told only if it is the first's. */
function sendMany(
  { bytes, view }: Memory,
  errors: number[],
  { sent, sendsAtOnce }: Recording,
  fail: (error: number) => number,
) {
  return (fd: number, at: number, count: number): number => {
    sendsAtOnce.push(count);
    for (let i = 0; i < count; i++) {
      const error = errors[0] ?? 0;
      if (error !== 0 && i > 0) return i;
      errors.shift();
      if (error !== 0) return fail(error);
      sent.push(readMessage(view, bytes, fd, at + i * MMSGHDR_BYTES));
    }
    return count;
  };
}

function readMessage(view: DataView, bytes: Uint8Array, fd: number, at: number): Sent {
  const pointer = (offset: number) => Number(view.getBigUint64(at + offset, true));
  const name = pointer(0);
  const to = parseSockaddr(bytes.subarray(name, name + view.getUint32(at + 8, true)));
  if (!to.ok) throw new Error(to.reason);
  const vector = pointer(16);
  const from = Number(view.getBigUint64(vector, true));
  const length = Number(view.getBigUint64(vector + 8, true));
  const control: ControlMessage[] = [];
  const end = pointer(32) + pointer(40);
  for (let c = pointer(32); c !== 0 && c < end; ) {
    const size = Number(view.getBigUint64(c, true));
    const data = copyOf(bytes.subarray(c + 16, c + size));
    control.push({ level: view.getInt32(c + 8, true), type: view.getInt32(c + 12, true), data });
    c += Math.ceil(size / 8) * 8;
  }
  return { fd, to: to.value, bytes: copyOf(bytes.subarray(from, from + length)), control };
}

function writeMessage(view: DataView, bytes: Uint8Array, at: number, received: Received): number {
  const pointer = (offset: number) => Number(view.getBigUint64(at + offset, true));
  const name = pointer(0);
  encodeSockaddr(received.from, bytes.subarray(name, name + 28));
  const vector = pointer(16);
  bytes.set(received.bytes, Number(view.getBigUint64(vector, true)));
  let c = pointer(32);
  const start = c;
  for (const { level, type, data } of received.control) {
    view.setBigUint64(c, BigInt(16 + data.length), true);
    view.setInt32(c + 8, level, true);
    view.setInt32(c + 12, type, true);
    bytes.set(data, c + 16);
    c += Math.ceil((16 + data.length) / 8) * 8;
  }
  view.setBigUint64(at + 40, BigInt(c - start), true);
  return received.bytes.length;
}
