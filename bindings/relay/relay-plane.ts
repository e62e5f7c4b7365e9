/** The relay's data path: memory, tables, sockets, two workers (RL-48). `face.ts` describes how it is used. */
import type { SocketAddress } from "../../src/base/index.ts";
import type { RelayFlow, RelayUsage } from "../../src/plane/index.ts";
import { sendDatagram } from "../linux/index.ts";
import {
  CONSTANTS,
  createSharedMemory,
  instantiatePlane,
  OFFSETS,
  type RelayExports,
  type SharedMemory,
} from "../memory/index.ts";
import { drainRing, listenForWakes, readEvent } from "../ring/index.ts";
import { createQuiescence, type Quiescence } from "../table/index.ts";
import { createPlaneWorkers, readWorkerCounters } from "../worker/index.ts";
import { createBindingTable } from "./binding-table.ts";
import type { ControlMessage, RelayDataPath, RelayPlaneOptions } from "./face.ts";
import { createRelayWorker } from "./records.ts";
import { openRelaySockets, type RelaySockets } from "./sockets.ts";

const { plane: PLANE, worker: WORKER, forward: FORWARD } = OFFSETS;
/** Rows that wait until no worker can see them, besides those in use. */
const SPARE_ROWS = 1024;
/** How soon what waits for the workers is looked at again. */
const SETTLE_MS = 5;

/**
 * Makes the data path and binds the listening sockets; nothing runs yet.
 *
 * @throws PosternError `host` when a socket cannot be bound, `plane-layout` for a module of another build
 */
export function openRelayPlane(options: RelayPlaneOptions): RelayDataPath {
  const { memory, module, kernel, random, log } = options;
  const shared = createSharedMemory(memory);
  const exports = instantiatePlane<RelayExports>(module, memory, kernel.sys);
  shared.longs[(CONSTANTS.PLANE_ADDRESS + PLANE.base) >> 3] = kernel.sys.base;
  const client = createRelayWorker(shared, kernel.sys.base);
  const peer = createRelayWorker(shared, kernel.sys.base);
  const quiescence = createSettling(createQuiescence(shared, [client, peer]));
  const capacity = options.bindingsMax + SPARE_ROWS;
  const table = createBindingTable({ shared, exports, quiescence, random, capacity });
  const { listenPort, bind } = options;
  const sockets = openRelaySockets({ kernel, shared, quiescence, listenPort, bind, log });
  const workers = createPlaneWorkers({
    shared,
    module,
    sys: kernel.sys,
    threads: options.threads,
    pairs: [{ "relay-client": client, "relay-peer": peer }],
  });
  return {
    openPort: sockets.openPort,
    closePort: sockets.closePort,
    publishBinding(binding) {
      const fd = sockets.fdOf(binding.port, binding.peer.address.length === 4 ? 4 : 6);
      const listenFd = listeningFd(sockets, binding.client);
      if (fd !== undefined && listenFd !== undefined) table.publish(binding, { fd, listenFd });
    },
    removeBinding: (binding) => table.remove(binding),
    bindingUsage: (binding) => table.usage(binding),
    usage: () => usageOf(shared, [client, peer]),
    start: () =>
      workers.start({
        ...NO_TUNNEL,
        ...(sockets.listen[4] !== undefined && { udp4: sockets.listen[4] }),
        ...(sockets.listen[6] !== undefined && { udp6: sockets.listen[6] }),
      }),
    async close() {
      await workers.stop();
      quiescence.stop();
      sockets.close();
    },
    takeMessages: (limit) => takeMessages(shared, client, limit),
    onWake: (wake) => listenForWakes(shared, CONSTANTS.PLANE_ADDRESS + PLANE.wake, wake),
    send: (to, bytes, source) => {
      const fd = listeningFd(sockets, to);
      if (fd === undefined) return "done";
      return sendDatagram(kernel, fd, { to, bytes, ...(source && { source }) }).kind === "busy"
        ? "busy"
        : "done";
    },
    onEnd: (ended) => workers.onEnd(ended),
    counters: () => ({
      client: readWorkerCounters(shared, client),
      peer: readWorkerCounters(shared, peer),
    }),
    sizes: () => ({ bindings: table.size, sockets: sockets.count }),
  };
}

/** A relay has no TUN device. */
const NO_TUNNEL = { tun: -1, hasSegmentation: true, hasTcpOffload: false, hasUdpOffload: false };

function listeningFd({ listen }: RelaySockets, { address }: SocketAddress): number | undefined {
  return listen[address.length === 4 ? 4 : 6];
}

function takeMessages(shared: SharedMemory, worker: number, limit: number): readonly ControlMessage[] {
  const messages: ControlMessage[] = [];
  const ring = shared.words[(worker + WORKER.controlRing) >> 2] ?? 0;
  drainRing(shared, ring, limit, (entry) => {
    const event = readEvent(shared, entry, () => 0);
    if (event?.kind !== "stun") return;
    messages.push({ datagram: event.bytes, client: event.from, local: event.local.address });
  });
  return messages;
}

function usageOf({ longs }: SharedMemory, workers: readonly number[]): RelayUsage {
  const sum = (field: number): number =>
    workers.reduce((total, worker) => total + Number(Atomics.load(longs, (worker + field) >> 3)), 0);
  const flow = (packets: number, bytes: number): RelayFlow => ({ packets: sum(packets), bytes: sum(bytes) });
  return {
    toPeer: flow(FORWARD.toPeerPackets, FORWARD.toPeerBytes),
    toClient: flow(FORWARD.toClientPackets, FORWARD.toClientBytes),
  };
}

interface Settling extends Quiescence {
  stop(): void;
}

/** What waits for the workers is released soon even when nothing else happens. */
function createSettling(quiescence: Quiescence): Settling {
  let timer: NodeJS.Timeout | undefined;
  let waiting = 0;
  const look = (): void => {
    timer = undefined;
    quiescence.reclaim();
    if (waiting > 0) timer = setTimeout(look, SETTLE_MS);
  };
  return {
    ...quiescence,
    after(release) {
      waiting += 1;
      quiescence.after(() => {
        waiting -= 1;
        release();
      });
      if (waiting > 0 && timer === undefined) timer = setTimeout(look, SETTLE_MS);
    },
    stop() {
      clearTimeout(timer);
      quiescence.reclaim();
    },
  };
}
