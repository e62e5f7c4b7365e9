/** The packet plane: its memory, its tables, its workers. `plane-face.ts` describes how it is used. */
import { assert, type DataPunt, type PlaneCommand, type PlaneEvent, unreachable } from "../src/base/index.ts";
import { createHolds, type Holds } from "./hold.ts";
import { BYTES, CONSTANTS, OFFSETS } from "./layout.ts";
import { createPeerIndex } from "./peer-index.ts";
import { createPeerTable, type PeerTable } from "./peer-table.ts";
import { readWorkerCounters } from "./plane-counters.ts";
import { createPlaneDrive } from "./plane-drive.ts";
import { readEvent, readPunt } from "./plane-events.ts";
import type { Plane, PlaneMode, PlaneOptions } from "./plane-face.ts";
import { instantiatePlane, type PlaneExports } from "./plane-module.ts";
import { createPlaneRecords } from "./plane-records.ts";
import { createPlaneWorkers } from "./plane-workers.ts";
import { writePolicy } from "./policy-tables.ts";
import { createQuiescence } from "./quiescence.ts";
import { createRelayList } from "./relay-list.ts";
import { createRing, drainRing, putPacket, RING_SIZES } from "./ring.ts";
import { createSharedMemory, type SharedMemory } from "./shared-memory.ts";
import { listenForWakes } from "./wake.ts";

export type * from "./plane-face.ts";
export { createPlaneMemory } from "./shared-memory.ts";

const { plane: PLANE, peer: PEER, worker: WORKER, ingress: INGRESS, entry: ENTRY } = OFFSETS;
const AT = CONSTANTS.PLANE_ADDRESS;
const MODES = {
  plain: CONSTANTS.MODE_PLAIN,
  client: CONSTANTS.MODE_CLIENT,
  gateway: CONSTANTS.MODE_GATEWAY,
} as const satisfies Record<PlaneMode, number>;
const DEFAULT_PEERS = 1024;
const MOST_PEERS = 65_536;
const LARGEST_FULL_SESSIONS = 65_536;
/** WireGuard's limits (paper §6.1). */
const DEFAULT_LIMITS = { rekeyAfterMessages: 2n ** 60n, rejectAfterMessages: 2n ** 64n - 2n ** 13n - 1n };
/** A tunnel carries packets of 1,280 bytes (MAX_IP_SIZE); with header, tag and channel header 1,316. */
const TUNNEL_PACKET_BYTES = 1280;
const TUNNEL_DATAGRAM_BYTES = 1316;
/** Header, tag and padding of a plain peer (PG-48). */
const PLAIN_OVERHEAD_BYTES = 32 + 15;
/** How long `inject` waits for the egress worker to make room. */
const SETTLE_WAIT_MS = 1;
const SETTLE_WAITS = 50;

/**
 * Makes a plane; nothing runs yet.
 * @throws PosternError `plane-layout` for a module of another build, `plane-memory` for too many peers
 */
export function createPlane(options: PlaneOptions): Plane {
  const shared = createSharedMemory(options.memory);
  const maxPeers = options.maxPeers ?? DEFAULT_PEERS;
  assert(maxPeers > 0 && maxPeers <= MOST_PEERS, `between 1 and ${MOST_PEERS} peers`);
  const exports = instantiatePlane(options.module, options.memory, options.sys);
  const workers = { egress: createEgress(shared), ingress: createIngress(shared, exports) };
  const quiescence = createQuiescence(shared, [workers.egress, workers.ingress]);
  const table = createTables(shared, options, maxPeers, quiescence);
  const holds = createHolds(shared, table);
  writeSettings(shared, options);
  shared.words[(AT + PLANE.egress) >> 2] = workers.egress;
  shared.words[(AT + PLANE.ingress) >> 2] = workers.ingress;
  const threads = createPlaneWorkers({ shared, module: options.module, sys: options.sys, workers });
  const ringOf = (worker: number, field: number) => shared.words[(worker + field) >> 2] ?? 0;
  const rings = {
    control: [ringOf(workers.egress, WORKER.controlRing), ringOf(workers.ingress, WORKER.controlRing)],
    data: [ringOf(workers.egress, WORKER.dataRing), ringOf(workers.ingress, WORKER.dataRing)],
    settle: ringOf(workers.egress, WORKER.settleRing),
  };
  const idleWord = new Int32Array(new SharedArrayBuffer(4));
  let ports: { readonly port4?: number; readonly port6?: number } = {};
  let settleFull = 0;

  /** Waits for room as long as a worker is there to make it (TN-85). */
  function inject(slot: number, packet: Uint8Array): void {
    const to = { slot, peerId: table.peerId(slot) };
    for (let waits = 0; !putPacket(shared, rings.settle, to, packet); waits++) {
      const isRunning = Atomics.load(shared.words, (workers.egress + WORKER.running) >> 2) === 1;
      if (!isRunning || waits >= SETTLE_WAITS) {
        settleFull++;
        return;
      }
      threads.nudge();
      Atomics.wait(idleWord, 0, 0, SETTLE_WAIT_MS);
    }
  }

  /** Whether the entry's peer is still the one in its slot; what concerns one that is gone is forgotten. */
  function isCurrent(entry: number): boolean {
    const slot = shared.words[(entry + ENTRY.slot) >> 2] ?? 0;
    if (slot === CONSTANTS.NO_SLOT) return true;
    const peerId = table.peerId(slot);
    return peerId !== 0 && peerId === shared.words[(entry + ENTRY.peerId) >> 2];
  }

  /** Control has seen it: the worker may report the next. */
  function acknowledge(entry: number): void {
    const slot = shared.words[(entry + ENTRY.slot) >> 2] ?? 0;
    const kind = shared.words[(entry + ENTRY.kind) >> 2];
    if (kind === CONSTANTS.EVENT_ROAMED) {
      Atomics.store(shared.words, (table.anyRow(slot) + PEER.roaming) >> 2, 0);
    }
    if (kind === CONSTANTS.PUNT_NO_SESSION) holds.handOut(slot);
  }

  return {
    records: createPlaneRecords(shared, table),
    drive: createPlaneDrive(shared, exports, workers, holds.settle),
    execute(command) {
      quiescence.reclaim();
      if (command.kind === "inject") {
        for (const packet of command.packets) inject(command.slot, packet);
        threads.nudge();
      } else {
        execute({ shared, table, holds }, command);
      }
    },
    publish(tables) {
      const policy = writePolicy(shared, tables);
      const old = Atomics.exchange(shared.words, (AT + PLANE.policy) >> 2, policy);
      if (old !== 0) quiescence.after(() => shared.free(old));
    },
    takeEvents(limit) {
      const events: PlaneEvent[] = [];
      const localPort = (addressBytes: number) => (addressBytes === 16 ? ports.port6 : ports.port4) ?? 0;
      for (const ring of rings.control) {
        drainRing(shared, ring, limit, (entry) => {
          const event = isCurrent(entry) ? readEvent(shared, entry, localPort) : undefined;
          if (event !== undefined) events.push(event);
          acknowledge(entry);
        });
      }
      return events;
    },
    takePunts(limit) {
      holds.settle();
      const punts: DataPunt[] = [];
      for (const ring of rings.data) {
        drainRing(shared, ring, limit, (entry) => {
          const punt = isCurrent(entry) ? readPunt(shared, entry) : undefined;
          if (punt !== undefined) punts.push(punt);
          acknowledge(entry);
        });
      }
      return punts;
    },
    onWake: (wake) => listenForWakes(shared, AT + PLANE.wake, wake),
    async start(descriptors) {
      ports = descriptors;
      const features =
        (descriptors.hasTcpOffload ? CONSTANTS.COALESCE_TCP : 0) |
        (descriptors.hasUdpOffload ? CONSTANTS.COALESCE_UDP : 0);
      initCoalesce(shared, exports, workers.ingress, features);
      await threads.start(descriptors);
    },
    stop: () => threads.stop(),
    onEnd: (ended) => threads.onEnd(ended),
    counters: () => ({
      egress: readWorkerCounters(shared, workers.egress),
      ingress: readWorkerCounters(shared, workers.ingress),
      settleFull,
    }),
  };
}

function execute(
  {
    shared,
    table,
    holds,
  }: { readonly shared: SharedMemory; readonly table: PeerTable; readonly holds: Holds },
  command: Exclude<PlaneCommand, { readonly kind: "inject" }>,
): void {
  const setWord = (slot: number, field: number, value: number) =>
    Atomics.store(shared.words, (table.row(slot) + field) >> 2, value);
  switch (command.kind) {
    case "add-peer":
      return table.addPeer(command.slot, command.peerId);
    case "remove-peer":
      return table.removePeer(command.slot);
    case "install":
      return table.install(command.slot, command.session);
    case "retire":
      return table.retire(command.slot, command.local);
    case "set-current":
      return table.setCurrent(command.slot, command.local);
    case "set-path":
      return table.setPath(command.slot, command.path);
    case "arm-watch":
      setWord(command.slot, PEER.watch, 1);
      return;
    case "hold":
      return holds.hold(command.slot);
    case "release":
      return holds.release(command.slot);
    default:
      return unreachable(command);
  }
}

function createTables(
  shared: SharedMemory,
  options: PlaneOptions,
  maxPeers: number,
  quiescence: ReturnType<typeof createQuiescence>,
): PeerTable {
  const maxSessions = options.maxSessions ?? defaultSessions(maxPeers);
  const index = createPeerIndex(shared, maxPeers);
  const peers = { address: shared.allocate(maxPeers * BYTES.peer), capacity: maxPeers };
  const sessions = { address: shared.allocate(maxSessions * BYTES.session), capacity: maxSessions };
  const { words } = shared;
  words[(AT + PLANE.peers) >> 2] = peers.address;
  words[(AT + PLANE.peerCapacity) >> 2] = peers.capacity;
  words[(AT + PLANE.sessions) >> 2] = sessions.address;
  words[(AT + PLANE.sessionCapacity) >> 2] = sessions.capacity;
  words[(AT + PLANE.index) >> 2] = index.address;
  words[(AT + PLANE.indexMask) >> 2] = index.mask;
  const relays = createRelayList(shared, quiescence);
  const limits = options.limits ?? DEFAULT_LIMITS;
  return createPeerTable({ shared, index, relays, quiescence, peers, sessions, limits });
}

/** Eight per peer (WG-15); with very many peers not all of them can be in the middle of a roll-over. */
function defaultSessions(maxPeers: number): number {
  const all = maxPeers * CONSTANTS.SESSIONS_PER_PEER;
  return Math.min(all, Math.max(LARGEST_FULL_SESSIONS, maxPeers * 2));
}

function writeSettings(shared: SharedMemory, { mode, mtu, sys }: PlaneOptions): void {
  const isPlain = mode === "plain";
  const { words, longs } = shared;
  longs[(AT + PLANE.base) >> 3] = sys?.base ?? 0n;
  words[(AT + PLANE.mode) >> 2] = MODES[mode];
  words[(AT + PLANE.mtu) >> 2] = mtu;
  words[(AT + PLANE.maxPacket) >> 2] = isPlain ? mtu : TUNNEL_PACKET_BYTES;
  words[(AT + PLANE.maxDatagram) >> 2] = isPlain ? mtu + PLAIN_OVERHEAD_BYTES : TUNNEL_DATAGRAM_BYTES;
  words[(AT + PLANE.isPadded) >> 2] = isPlain ? 1 : 0;
  words[(AT + PLANE.isRoaming) >> 2] = isPlain ? 1 : 0;
}

function createWorker(shared: SharedMemory, bytes: number): number {
  const worker = shared.allocate(bytes);
  const { words } = shared;
  for (const field of [WORKER.tun, WORKER.udp4, WORKER.udp6, WORKER.wakeFd]) {
    words[(worker + field) >> 2] = -1;
  }
  shared.words[(worker + WORKER.controlRing) >> 2] = createRing(shared, ...RING_SIZES.control);
  shared.words[(worker + WORKER.dataRing) >> 2] = createRing(shared, ...RING_SIZES.data);
  shared.words[(worker + WORKER.input) >> 2] = shared.allocate(CONSTANTS.BUFFER_BYTES);
  return worker;
}

function createEgress(shared: SharedMemory): number {
  const worker = createWorker(shared, BYTES.egress);
  shared.words[(worker + WORKER.output) >> 2] = shared.allocate(CONSTANTS.BUFFER_BYTES);
  shared.words[(worker + WORKER.settleRing) >> 2] = createRing(shared, ...RING_SIZES.settle);
  return worker;
}

function createIngress(shared: SharedMemory, exports: PlaneExports): number {
  const worker = createWorker(shared, BYTES.ingress);
  shared.words[(worker + WORKER.output) >> 2] = shared.allocate(2 * CONSTANTS.ARENA_HALF_BYTES);
  initCoalesce(shared, exports, worker, CONSTANTS.COALESCE_TCP | CONSTANTS.COALESCE_UDP);
  return worker;
}

function initCoalesce(shared: SharedMemory, exports: PlaneExports, worker: number, features: number): void {
  const arena = shared.words[(worker + WORKER.output) >> 2] ?? 0;
  exports.coalesceInit(worker + INGRESS.coalesce, arena, 2 * CONSTANTS.ARENA_HALF_BYTES, features);
}
