/** The rings of a plane: what the workers hand up, and what control injects (D-10, PG-51). */
import type { DataPunt, PlaneEvent } from "../../src/plane/index.ts";
import { CONSTANTS, OFFSETS, type SharedMemory } from "../memory/index.ts";
import type { PeerTable } from "../table/index.ts";
import { readEvent, readPunt } from "./entries.ts";
import type { FlowOrder } from "./flow-order.ts";
import type { Holds } from "./hold.ts";
import { drainRing, isRingEmpty, putPacket } from "./ring.ts";
import { createSteering } from "./steering.ts";

const { peer: PEER, worker: WORKER, entry: ENTRY, ring: RING } = OFFSETS;
/** How long `inject` waits for the egress worker to make room. */
const INJECT_WAIT_MS = 1;
const INJECT_WAITS = 50;

/** Ports of the sockets, for the `local` of events. */
export interface Ports {
  readonly port4?: number;
  readonly port6?: number;
}

export interface PlaneRings {
  /** Whether there is anything to be taken. */
  hasInput(): boolean;
  takeEvents(limit: number, ports: Ports): readonly PlaneEvent[];
  takePunts(limit: number): readonly DataPunt[];
  inject(slot: number, packets: readonly Uint8Array[]): void;
  /** Packets that found their inject ring full. */
  injectFull(): number;
  queues(): PlaneQueues;
}

export const QUEUE_NAMES = [
  "egress_control",
  "egress_data",
  "ingress_control",
  "ingress_data",
  "inject",
] as const;
export type PlaneQueue = (typeof QUEUE_NAMES)[number];

/** What waits between the workers and control, now. */
export type PlaneQueues = Readonly<
  Record<PlaneQueue, { readonly entries: number; readonly bufferBytes: number }>
>;

export interface PlaneRingsOptions {
  readonly shared: SharedMemory;
  readonly table: PeerTable;
  readonly holds: Holds;
  readonly flowOrder: FlowOrder;
  /** Wakes the egress worker of that pair if it waits: something was injected. */
  readonly nudge: (pair: number) => void;
  /** Addresses of the records of all pairs. */
  readonly pairs: readonly { readonly egress: number; readonly ingress: number }[];
}

export function createPlaneRings(options: PlaneRingsOptions): PlaneRings {
  const { shared, table, holds, flowOrder, nudge, pairs } = options;
  const ringOf = (worker: number, field: number) => shared.words[(worker + field) >> 2] ?? 0;
  const egress = pairs.map((pair) => pair.egress);
  const ingress = pairs.map((pair) => pair.ingress);
  const all = [...egress, ...ingress];
  const injectRings = egress.map((worker) => ringOf(worker, WORKER.injectRing));
  const inputRings = all.flatMap((worker) => [
    ringOf(worker, WORKER.controlRing),
    ringOf(worker, WORKER.dataRing),
  ]);
  const steering = pairs.length > 1 ? createSteering() : undefined;
  const idle = new Int32Array(new SharedArrayBuffer(4));
  let injectFull = 0;

  /** Waits for room as long as a worker is there to make it (TN-85). */
  function injectOne(slot: number, packet: Uint8Array): void {
    const to = { slot, peerId: table.peerId(slot) };
    const pair = steering?.pairOf(packet) ?? 0;
    for (let waits = 0; !putPacket(shared, injectRings[pair] ?? 0, to, packet); waits++) {
      const isRunning = Atomics.load(shared.words, ((egress[pair] ?? 0) + WORKER.running) >> 2) === 1;
      if (!isRunning || waits >= INJECT_WAITS) {
        injectFull++;
        return;
      }
      nudge(pair);
      Atomics.wait(idle, 0, 0, INJECT_WAIT_MS);
    }
  }

  return {
    injectFull: () => injectFull,
    queues: () => readQueues(shared, egress, ingress),
    inject(slot, packets) {
      for (const packet of packets) injectOne(slot, packet);
      for (const [pair, ring] of injectRings.entries()) if (!isRingEmpty(shared, ring)) nudge(pair);
    },
    hasInput: () => inputRings.some((ring) => !isRingEmpty(shared, ring)),
    takeEvents(limit, { port4, port6 }) {
      const events: PlaneEvent[] = [];
      const localPort = (addressBytes: number) => (addressBytes === 16 ? port6 : port4) ?? 0;
      for (const worker of all) {
        drainRing(shared, ringOf(worker, WORKER.controlRing), limit, (entry) => {
          const event = isCurrent(shared, table, entry) ? readEvent(shared, entry, localPort) : undefined;
          if (event !== undefined) events.push(event);
          if (event?.kind === "roamed") {
            // Control has seen it: the worker may report the next (WG-62).
            Atomics.store(shared.words, (table.anyRow(event.slot) + PEER.roaming) >> 2, 0);
          }
        });
      }
      return events;
    },
    takePunts(limit) {
      const punts: DataPunt[] = [];
      for (const [i, worker] of all.entries()) {
        drainRing(shared, ringOf(worker, WORKER.dataRing), limit, (entry) => {
          const punt = isCurrent(shared, table, entry) ? readPunt(shared, entry) : undefined;
          if (punt !== undefined) punts.push(punt);
          if (punt !== undefined && i < egress.length) steering?.learn(punt.packet, i);
          const isWaiting = shared.words[(entry + ENTRY.kind) >> 2] === CONSTANTS.PUNT_NO_SESSION;
          if (isWaiting) holds.handOut(shared.words[(entry + ENTRY.slot) >> 2] ?? 0);
          flowOrder.handOut(entry);
        });
      }
      return punts;
    },
  };
}

function readQueues(
  shared: SharedMemory,
  egress: readonly number[],
  ingress: readonly number[],
): PlaneQueues {
  const ofAll = (workers: readonly number[], field: number) => {
    const rings = workers.map((worker) => shared.words[(worker + field) >> 2] ?? 0);
    return lengthOfAll(shared, rings);
  };
  return {
    egress_control: ofAll(egress, WORKER.controlRing),
    egress_data: ofAll(egress, WORKER.dataRing),
    ingress_control: ofAll(ingress, WORKER.controlRing),
    ingress_data: ofAll(ingress, WORKER.dataRing),
    inject: ofAll(egress, WORKER.injectRing),
  };
}

function lengthOfAll(shared: SharedMemory, rings: readonly number[]): PlaneQueues[PlaneQueue] {
  const lengths = rings.map((ring) => lengthOf(shared, ring));
  return {
    entries: lengths.reduce((sum, { entries }) => sum + entries, 0),
    bufferBytes: lengths.reduce((sum, { bufferBytes }) => sum + bufferBytes, 0),
  };
}

/** The tail is read first: what is put meanwhile makes it longer, never negative. */
function lengthOf(shared: SharedMemory, at: number): PlaneQueues[PlaneQueue] {
  const word = (field: number): number => Atomics.load(shared.words, (at + field) >> 2);
  const distance = (tail: number, head: number): number => (word(head) - tail) >>> 0;
  return {
    entries: distance(word(RING.tail), RING.head),
    bufferBytes: distance(word(RING.areaTail), RING.areaHead),
  };
}

/** Whether the entry's peer is still the one in its slot; what concerns one that is gone is forgotten. */
function isCurrent(shared: SharedMemory, table: PeerTable, entry: number): boolean {
  const slot = shared.words[(entry + ENTRY.slot) >> 2] ?? 0;
  if (slot === CONSTANTS.NO_SLOT) return true;
  const peerId = table.peerId(slot);
  return peerId !== 0 && peerId === shared.words[(entry + ENTRY.peerId) >> 2];
}
