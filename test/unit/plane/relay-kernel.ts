/**
 * The relay's workers in this process, on a kernel that answers from lists (TS-64): receives bring what was
 * queued, sends are taken apart and written down, or refused with the errors that were asked for.
 */
import { encodeSockaddr, parseSockaddr } from "../../../bindings/linux/index.ts";
import {
  CONSTANTS,
  createPlaneMemory,
  createSharedMemory,
  instantiatePlane,
  OFFSETS,
  type RelayExports,
  type SharedMemory,
} from "../../../bindings/memory/index.ts";
import { type BindingTable, createBindingTable } from "../../../bindings/relay/binding-table.ts";
import { compileRelay } from "../../../bindings/relay/index.ts";
import { createRelayWorker } from "../../../bindings/relay/records.ts";
import { drainRing, readEvent } from "../../../bindings/ring/index.ts";
import { createQuiescence } from "../../../bindings/table/index.ts";
import { readWorkerCounters, type WorkerCounters } from "../../../bindings/worker/index.ts";
import {
  concatBytes,
  copyOf,
  createSeededRandom,
  type IpAddress,
  type SocketAddress,
} from "../../../src/base/index.ts";
import type { PlaneEvent, RelayBinding } from "../../../src/plane/index.ts";
import type { Fault } from "../../lib/fault-script.mjs";
import { withFaults } from "./faulty-calls.ts";

const { plane: PLANE, relay: RELAY, worker: WORKER } = OFFSETS;
const EAGAIN = 11;
const [SOL_SOCKET, SOL_UDP, IPPROTO_IP, IPPROTO_IPV6] = [1, 17, 0, 41];
const [UDP_SEGMENT, UDP_GRO, IP_TOS, IP_PKTINFO, IPV6_PKTINFO, IPV6_TCLASS] = [103, 104, 1, 8, 50, 67];
const SO_RXQ_OVFL = 40;
const POLLIN = 1;
/** Descriptors from here on are of allocations. */
const LISTENING_BELOW = 1000;
const [IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PROBE, ENOPROTOOPT] = [10, 23, 3, 92];
export const FD = { listen4: 11, listen6: 12, wake: 13, epoll: 14 } as const;
/** Allocation sockets: `fdOf(port, family)`. */
export const fdOf = (port: number, family: 4 | 6): number => 2 * port + (family === 6 ? 1 : 0);

/** What a receive brings: a datagram, or a train of them with that stride. */
export interface Arrival {
  readonly from: SocketAddress;
  readonly bytes: Uint8Array;
  readonly stride?: number;
  readonly ecn?: number;
  /** On listening sockets: the address of ours. */
  readonly local?: IpAddress;
  readonly overflow?: number;
}

/** One entry of a `sendmmsg`. */
export interface Sent {
  readonly fd: number;
  readonly to: SocketAddress;
  readonly bytes: Uint8Array;
  /** Length of its datagrams but for the last; `undefined`: it is one. */
  readonly segment: number | undefined;
  readonly ecn: number;
  readonly source: IpAddress | undefined;
  /** With DF (RL-50). */
  readonly isWhole: boolean;
}

export interface RelayBench {
  readonly table: BindingTable;
  /** By descriptor. */
  readonly queues: Map<number, Arrival[]>;
  readonly sent: Sent[];
  /** Errors of the next sends; 0 is success. A number above 1000 sends so many (less 1000) of the call. */
  readonly sendErrors: number[];
  readonly waits: { readonly fd: number; readonly timeoutMs: number }[];
  /** Sockets in the order in which they were read. */
  readonly receives: number[];
  now: number;
  /** What passes with each receive. */
  receiveMs: number;
  /** How often a worker made way. */
  yields: number;
  publish(binding: RelayBinding): void;
  /** Lets the client side work until its sockets are empty. */
  fromClients(...arrivals: readonly Arrival[]): readonly Sent[];
  fromPeers(port: number, ...arrivals: readonly Arrival[]): readonly Sent[];
  /** ENDED_… of the run before. */
  ended: number;
  punts(): readonly PlaneEvent[];
  client(): WorkerCounters;
  peer(): WorkerCounters;
}

/** @param faults calls that fail, before the lists are asked (TS-64) */
export function createRelayBench(faults: readonly Fault[] = []): RelayBench {
  const { memory } = createPlaneMemory();
  const shared = createSharedMemory(memory);
  const state: Scene = {
    queues: new Map(),
    sent: [],
    sendErrors: [],
    waits: [],
    receives: [],
    whole: new Set(),
    now: 1000,
    receiveMs: 0,
    yields: 0,
    ended: 0,
    errno: 0,
    stop: () => {},
  };
  const calls = withFaults(createCalls(shared, state), faults, FD.wake);
  const exports = instantiatePlane<RelayExports>(compileRelay(), memory, calls);
  const client = createRelayWorker(shared, 0n);
  const peer = createRelayWorker(shared, 0n);
  const quiescence = createQuiescence(shared, [client, peer]);
  const random = createSeededRandom(7);
  const table = createBindingTable({ shared, exports, quiescence, random, capacity: 1000 });
  const set = (at: number, value: number): void => {
    shared.words[at >> 2] = value;
  };
  nameDescriptors(shared, client, peer);
  const run = (worker: number, loop: (worker: number) => number): readonly Sent[] => {
    const before = state.sent.length;
    state.stop = () => set(worker + WORKER.stop, 1);
    set(worker + WORKER.stop, 0);
    set(worker + WORKER.ended, 0);
    state.ended = loop(worker);
    return state.sent.slice(before);
  };
  return Object.assign(state, {
    table,
    publish: (binding: RelayBinding) => {
      const family = binding.peer.address.length === 4 ? 4 : 6;
      const listenFd = binding.client.address.length === 4 ? FD.listen4 : FD.listen6;
      table.publish(binding, { fd: fdOf(binding.port, family), listenFd });
    },
    fromClients(...arrivals: readonly Arrival[]) {
      for (const arrival of arrivals) {
        queueOf(state, arrival.from.address.length === 4 ? FD.listen4 : FD.listen6).push(arrival);
      }
      return run(client, exports.relayClientLoop);
    },
    fromPeers(port: number, ...arrivals: readonly Arrival[]) {
      for (const arrival of arrivals) {
        queueOf(state, fdOf(port, arrival.from.address.length === 4 ? 4 : 6)).push(arrival);
      }
      return run(peer, exports.relayPeerLoop);
    },
    punts() {
      const events: PlaneEvent[] = [];
      drainRing(shared, shared.words[(client + WORKER.controlRing) >> 2] ?? 0, 100_000, (entry) => {
        const event = readEvent(shared, entry, () => 3478);
        if (event !== undefined) events.push(event);
      });
      return events;
    },
    client: () => readWorkerCounters(shared, client),
    peer: () => readWorkerCounters(shared, peer),
  });
}

function nameDescriptors({ words }: SharedMemory, client: number, peer: number): void {
  const relay = words[(CONSTANTS.PLANE_ADDRESS + PLANE.relay) >> 2] ?? 0;
  const values: readonly (readonly [at: number, value: number])[] = [
    [relay + RELAY.epoll, FD.epoll],
    [relay + RELAY.epollEventBytes, 12],
    [relay + RELAY.epollDataAt, 4],
    ...[client, peer].flatMap((worker) => [
      [worker + WORKER.wakeFd, FD.wake] as const,
      [worker + WORKER.running, 1] as const,
    ]),
    [client + WORKER.udp4, FD.listen4],
    [client + WORKER.udp6, FD.listen6],
  ];
  for (const [at, value] of values) words[at >> 2] = value;
}

interface Scene {
  readonly queues: Map<number, Arrival[]>;
  readonly sent: Sent[];
  readonly sendErrors: number[];
  readonly waits: { readonly fd: number; readonly timeoutMs: number }[];
  readonly receives: number[];
  /** Sockets that set DF at the moment. */
  readonly whole: Set<number>;
  now: number;
  receiveMs: number;
  yields: number;
  ended: number;
  errno: number;
  stop: () => void;
}

/** An epoll descriptor is ready when a socket of an allocation is. */
function hasSomething({ queues }: Scene, fd: number): boolean {
  return [...queues].some(
    ([of, queue]) => queue.length > 0 && (fd === FD.epoll ? of > LISTENING_BELOW : of === fd),
  );
}

function queueOf({ queues }: Scene, fd: number): Arrival[] {
  const queue = queues.get(fd) ?? [];
  queues.set(fd, queue);
  return queue;
}

function makeWay(scene: Scene): number {
  scene.yields += 1;
  return 0;
}

function createCalls(shared: SharedMemory, scene: Scene) {
  const fail = (errno: number): number => {
    scene.errno = errno;
    return -1;
  };
  const unused = (): never => {
    throw new Error("the relay's workers do not make this call");
  };
  return {
    errno: () => scene.errno,
    read: () => 8,
    write: unused,
    sendmsg: unused,
    recvmsg: unused,
    setsockopt(fd: number, level: number, name: number, at: number) {
      const isV6 = fd === FD.listen6 || (fd > 1000 && fd % 2 === 1);
      const expected = isV6 ? [IPPROTO_IPV6, IPV6_MTU_DISCOVER] : [IPPROTO_IP, IP_MTU_DISCOVER];
      if (level !== expected[0] || name !== expected[1]) return fail(ENOPROTOOPT);
      if (shared.words[at >> 2] === PROBE) scene.whole.add(fd);
      else scene.whole.delete(fd);
      return 0;
    },
    sched_yield: () => makeWay(scene),
    clock_gettime(_clock: number, at: number) {
      shared.longs[at >> 3] = BigInt(Math.floor(scene.now / 1000));
      shared.longs[(at + 8) >> 3] = BigInt((scene.now % 1000) * 1_000_000);
      return 0;
    },
    recvmmsg(fd: number, at: number, count: number) {
      scene.receives.push(fd);
      scene.now += scene.receiveMs;
      const arrivals = queueOf(scene, fd).splice(0, count);
      for (const [i, arrival] of arrivals.entries()) writeArrival(shared, at + 64 * i, arrival);
      return arrivals.length === 0 ? fail(EAGAIN) : arrivals.length;
    },
    sendmmsg(fd: number, at: number, count: number) {
      const answer = scene.sendErrors.shift() ?? 0;
      if (answer > 0 && answer <= 1000) return fail(answer);
      const taken = answer > 1000 ? Math.min(count, answer - 1000) : count;
      for (let i = 0; i < taken; i++)
        scene.sent.push({ ...readSent(shared, fd, at + 64 * i), isWhole: scene.whole.has(fd) });
      return taken;
    },
    epoll_wait(_epoll: number, at: number, count: number) {
      const ready = [...scene.queues].filter(([fd, queue]) => fd > 1000 && queue.length > 0).slice(0, count);
      const view = new DataView(shared.memory.buffer);
      for (const [i, [fd]] of ready.entries()) {
        view.setUint32(at + 12 * i, 1, true);
        view.setUint32(at + 12 * i + 4, fd, true);
        view.setUint32(at + 12 * i + 8, fd >> 1, true);
      }
      return ready.length;
    },
    poll(at: number, count: number, timeoutMs: number) {
      if (count > 0) scene.waits.push({ fd: shared.words[at >> 2] ?? 0, timeoutMs });
      // Three descriptors: the worker asks whether there is more to do. One: it waits for room.
      if (count !== 3) return 0;
      const view = new DataView(shared.memory.buffer);
      let ready = 0;
      for (const place of [at, at + 8]) {
        const isReady = hasSomething(scene, view.getInt32(place, true));
        view.setUint16(place + 6, isReady ? POLLIN : 0, true);
        if (isReady) ready++;
      }
      if (ready === 0) scene.stop();
      return ready;
    },
  };
}

function writeArrival({ memory }: SharedMemory, at: number, arrival: Arrival): void {
  const bytes = new Uint8Array(memory.buffer);
  const view = new DataView(memory.buffer);
  const pointer = (offset: number): number => Number(view.getBigUint64(at + offset, true));
  if (view.getUint32(at + 8, true) !== 32 || pointer(40) !== CONSTANTS.RELAY_CONTROL_BYTES) {
    throw new Error("lengths are set before every receive");
  }
  view.setUint32(at + 8, encodeSockaddr(arrival.from, bytes.subarray(pointer(0), pointer(0) + 28)), true);
  bytes.set(arrival.bytes, Number(view.getBigUint64(pointer(16), true)));
  const isV6 = arrival.from.address.length === 16;
  const control = concatBytes(
    ...(arrival.local === undefined ? [] : [packetInfo(arrival.local)]),
    ...(arrival.ecn === undefined
      ? []
      : [
          isV6
            ? message(IPPROTO_IPV6, IPV6_TCLASS, u32(arrival.ecn))
            : message(IPPROTO_IP, IP_TOS, Uint8Array.of(arrival.ecn)),
        ]),
    ...(arrival.overflow === undefined ? [] : [message(SOL_SOCKET, SO_RXQ_OVFL, u32(arrival.overflow))]),
    ...(arrival.stride === undefined ? [] : [message(SOL_UDP, UDP_GRO, u32(arrival.stride))]),
  );
  bytes.set(control, pointer(32));
  view.setBigUint64(at + 40, BigInt(control.length), true);
  view.setUint32(at + 56, arrival.bytes.length, true);
}

function packetInfo(local: IpAddress): Uint8Array {
  if (local.length === 16) return message(IPPROTO_IPV6, IPV6_PKTINFO, concatBytes(local, u32(1)));
  return message(IPPROTO_IP, IP_PKTINFO, concatBytes(u32(1), local, local));
}

function message(level: number, type: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(Math.ceil((16 + data.length) / 8) * 8);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(16 + data.length), true);
  view.setInt32(8, level, true);
  view.setInt32(12, type, true);
  bytes.set(data, 16);
  return bytes;
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

function readSent({ memory }: SharedMemory, fd: number, at: number): Omit<Sent, "isWhole"> {
  const bytes = new Uint8Array(memory.buffer);
  const view = new DataView(memory.buffer);
  const pointer = (offset: number): number => Number(view.getBigUint64(at + offset, true));
  const to = parseSockaddr(bytes.subarray(pointer(0), pointer(0) + view.getUint32(at + 8, true)));
  if (!to.ok) throw new Error(to.reason);
  const parts: Uint8Array[] = [];
  for (let vector = pointer(16); parts.length < pointer(24); vector += 16) {
    const from = Number(view.getBigUint64(vector, true));
    parts.push(copyOf(bytes.subarray(from, from + Number(view.getBigUint64(vector + 8, true)))));
  }
  let segment: number | undefined;
  let ecn = 0;
  let source: IpAddress | undefined;
  const end = pointer(32) + pointer(40);
  for (let c = pointer(32); c < end; ) {
    const size = Number(view.getBigUint64(c, true));
    const type = view.getInt32(c + 12, true);
    const level = view.getInt32(c + 8, true);
    if (level === SOL_UDP && type === UDP_SEGMENT) segment = view.getUint16(c + 16, true);
    else if (type === IP_TOS || type === IPV6_TCLASS) ecn = view.getInt32(c + 16, true);
    else if (type === IP_PKTINFO) source = copyOf(bytes.subarray(c + 20, c + 24));
    else if (type === IPV6_PKTINFO) source = copyOf(bytes.subarray(c + 16, c + 32));
    else throw new Error(`a control message that nobody asked for: ${level} ${type}`);
    c += Math.ceil(size / 8) * 8;
  }
  return { fd, to: to.value, bytes: concatBytes(...parts), segment, ecn, source };
}
