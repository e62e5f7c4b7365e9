/** The packet plane: its memory, its tables, its workers. `face.ts` describes how it is used. */
import { assert, unreachable } from "../../src/base/index.ts";
import { type PlaneCommand, type PlaneFlows, TUNNEL_PEERS_MAX } from "../../src/plane/index.ts";
import {
  BYTES,
  CONSTANTS,
  createSharedMemory,
  instantiatePlane,
  OFFSETS,
  type SharedMemory,
} from "../memory/index.ts";
import {
  createFlowOrder,
  createHolds,
  createPlaneFrames,
  createPlaneRings,
  createPublications,
  type Holds,
  listenForWakes,
  type Ports,
} from "../ring/index.ts";
import {
  createFlowTable,
  createKnownSources,
  createPeerIndex,
  createPeerPolicies,
  createPeerTable,
  createPlaneRecords,
  createQuiescence,
  type FlowTableOptions,
  NO_FLOWS,
  type PeerTable,
  setGuard,
  setRelays,
  writePolicy,
} from "../table/index.ts";
import {
  createPlaneWorkers,
  createWorkerPairs,
  readWorkerCounters,
  setOffloads,
  sumOfCounters,
  type WorkerPairs,
  type WorkerRecords,
} from "../worker/index.ts";
import { createPlaneDrive } from "./drive.ts";
import type { Plane, PlaneCounters, PlaneMode, PlaneOptions } from "./face.ts";
import { planeRules, RULE_NAMES } from "./rules.ts";

const { plane: PLANE, peer: PEER } = OFFSETS;
const AT = CONSTANTS.PLANE_ADDRESS;
const DEFAULT_PEERS = 1024;
const MOST_PEERS = 65_536;
const LARGEST_FULL_SESSIONS = 40_960;
/** tunnel.md §1: `FLOW_RECORDS`, and of one client on a gateway. Half a million take 100 MB. */
const CLIENT_FLOWS = 16_384;
const GATEWAY_FLOWS = 131_072;
const MOST_FLOWS = 524_288;
/** WireGuard's limits (paper §6.1). */
const DEFAULT_LIMITS = { rekeyAfterMessages: 2n ** 60n, rejectAfterMessages: 2n ** 64n - 2n ** 13n - 1n };

/**
 * Makes a plane; nothing runs yet.
 * @throws PosternError `plane-layout` for a module of another build, `plane-memory` for too many peers
 */
export function createPlane(options: PlaneOptions): Plane {
  const { module, memory, sys, maxPeers = defaultPeers(options.mode) } = options;
  assert(maxPeers > 0 && maxPeers <= MOST_PEERS, `between 1 and ${MOST_PEERS} peers`);
  const shared = createSharedMemory(memory);
  const exports = instantiatePlane(module, memory, sys);
  const pairs = createWorkerPairs(shared, exports, options.pairs ?? 1);
  const [workers] = pairs;
  assert(!options.hasFrames || pairs.length === 1, "rings of frames belong to one pair");
  const all = pairs.flatMap(({ egress, ingress }) => [egress, ingress]);
  const quiescence = createQuiescence(shared, all);
  const table = createTables(shared, options, maxPeers, quiescence);
  const policies = createPeerPolicies(shared, quiescence, maxPeers);
  const holds = createHolds(shared, table);
  const threads = createPlaneWorkers({ shared, module, sys, threads: options.threads, pairs: [...pairs] });
  const publications = createPublications(shared, quiescence, all);
  const flowOrder = createFlowOrder({ shared, quiescence, ...flowWorkers(options.mode, pairs) });
  const rings = createPlaneRings({ shared, table, holds, flowOrder, nudge: threads.nudge, pairs });
  const flows = createFlows({ shared, exports, quiescence, maxPeers, onLink: flowOrder.begin }, options);
  const nudgeFirst = () => threads.nudge(0);
  const frames = options.hasFrames ? createPlaneFrames({ shared, nudge: nudgeFirst, workers }) : undefined;
  writeSettings(shared, options);
  let ports: Ports = {};

  return {
    records: createPlaneRecords(shared, table),
    flows,
    frames,
    drives: pairs.map((pair) => createPlaneDrive(shared, exports, pair)),
    drive: createPlaneDrive(shared, exports, workers),
    execute(command) {
      quiescence.reclaim();
      if (command.kind === "inject") rings.inject(command.slot, command.packets);
      else if (command.kind === "set-guard") setGuard(shared, quiescence, command.guard);
      else if (command.kind === "set-relays") setRelays(shared, quiescence, command.relays);
      else if (command.kind === "set-policy") policies.set(command.slot, command.policy);
      else execute({ shared, table, holds }, command);
      // Whoever has the slot next is another (TN-82).
      if (command.kind === "remove-peer") {
        policies.set(command.slot, undefined);
        flows.revoke(command.slot);
      }
    },
    publish(tables) {
      const policy = writePolicy(shared, tables);
      const old = Atomics.exchange(shared.words, (AT + PLANE.policy) >> 2, policy);
      publications.begin(() => {
        if (old !== 0) shared.free(old);
      });
    },
    published: () => publications.completed(),
    releaseFlows: () => flowOrder.release(),
    hasInput: rings.hasInput,
    takeEvents: (limit) => rings.takeEvents(limit, ports),
    takePunts: (limit) => rings.takePunts(limit),
    onWake: (wake) => listenForWakes(shared, AT + PLANE.wake, wake),
    async start(descriptors) {
      ports = descriptors;
      for (const { ingress } of pairs) setOffloads(shared, exports, ingress, descriptors);
      await threads.start(descriptors);
    },
    pause: () => threads.pause(),
    stop: () => threads.stop(),
    onEnd: (ended) => threads.onEnd(ended),
    counters: () => ({
      ...countersOf(shared, pairs),
      injectFull: rings.injectFull(),
      queues: rings.queues(),
    }),
  };
}

function countersOf(
  shared: SharedMemory,
  [first, ...others]: WorkerPairs,
): Pick<PlaneCounters, "egress" | "ingress" | "workers"> {
  const read = ({ egress, ingress }: WorkerRecords) => ({
    egress: readWorkerCounters(shared, egress),
    ingress: readWorkerCounters(shared, ingress),
  });
  const own = read(first);
  const more = others.map(read);
  return {
    egress: sumOfCounters([own.egress, ...more.map(({ egress }) => egress)]),
    ingress: sumOfCounters([own.ingress, ...more.map(({ ingress }) => ingress)]),
    workers: [own, ...more].flatMap(({ egress, ingress }) => [egress, ingress]),
  };
}

function execute(
  {
    shared,
    table,
    holds,
  }: { readonly shared: SharedMemory; readonly table: PeerTable; readonly holds: Holds },
  command: Exclude<PlaneCommand, { readonly kind: "inject" | "set-guard" | "set-relays" | "set-policy" }>,
): void {
  const setWord = (slot: number, field: number, value: number) =>
    Atomics.store(shared.words, (table.row(slot) + field) >> 2, value);
  switch (command.kind) {
    case "add-peer":
      holds.begin(command.slot);
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
    case "know-source":
      return table.knowSource(command.source);
    case "arm-watch":
      setWord(command.slot, PEER.watch, 1);
      return;
    case "hold":
      return holds.hold(command.slot);
    case "release":
      return holds.release(command.slot, command.handled);
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
  const budgets = shared.allocate(CONSTANTS.BUDGETS * BYTES.budget);
  const known = createKnownSources(shared);
  shared.words[(AT + PLANE.budgets) >> 2] = budgets;
  shared.words[(AT + PLANE.knownSources) >> 2] = known.address;
  const limits = options.limits ?? DEFAULT_LIMITS;
  return createPeerTable({ shared, index, known, quiescence, peers, sessions, limits });
}

/** On a gateway packets from the client come from the network. */
function flowWorkers(mode: PlaneMode, pairs: WorkerPairs) {
  const egress = pairs.map((pair) => pair.egress);
  const ingress = pairs.map((pair) => pair.ingress);
  return mode === "gateway" ? { out: ingress, in: egress } : { out: egress, in: ingress };
}

function createFlows(
  surroundings: Omit<FlowTableOptions, "random" | "capacity" | "mostPerPeer">,
  { mode, flows }: PlaneOptions,
): PlaneFlows {
  if (flows === undefined) return NO_FLOWS;
  const capacity = flows.capacity ?? (mode === "gateway" ? GATEWAY_FLOWS : CLIENT_FLOWS);
  assert(capacity > 0 && capacity <= MOST_FLOWS, `between 1 and ${MOST_FLOWS} flow records`);
  return createFlowTable({ mostPerPeer: CLIENT_FLOWS, ...surroundings, ...flows, capacity });
}

function defaultPeers(mode: PlaneMode): number {
  return mode === "plain" ? DEFAULT_PEERS : TUNNEL_PEERS_MAX[mode];
}

/** Eight per peer (WG-15); with very many peers not all of them can be in the middle of a roll-over. */
function defaultSessions(maxPeers: number): number {
  const all = maxPeers * CONSTANTS.SESSIONS_PER_PEER;
  return Math.min(all, Math.max(LARGEST_FULL_SESSIONS, maxPeers * 2));
}

function writeSettings(shared: SharedMemory, options: PlaneOptions): void {
  const { mode, mtu, sys, validatesChecksums = false, retriesEnobufs = true } = options;
  const { words, longs } = shared;
  longs[(AT + PLANE.base) >> 3] = sys?.base ?? 0n;
  words[(AT + PLANE.mtu) >> 2] = mtu;
  const rules = planeRules(mode, mtu);
  for (const name of RULE_NAMES) words[(AT + PLANE[name]) >> 2] = rules[name];
  words[(AT + PLANE.checks) >> 2] = rules.checks | (validatesChecksums ? CONSTANTS.CHECK_CHECKSUMS : 0);
  words[(AT + PLANE.isEnobufsFinal) >> 2] = retriesEnobufs ? 0 : 1;
}
