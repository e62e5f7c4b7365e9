/** What one worker counts, and what it hands to control through its rings: both directions have one. */

import type { Reason } from "../../../bindings/memory/index.ts";
import { CONSTANTS } from "../../../bindings/memory/index.ts";
import type { DataPunt, PlaneEvent } from "../../../src/plane/index.ts";
import type { TwinSide } from "./flows.ts";
import { createRing, type Ring } from "./ring.ts";

/** An entry concerns the peer that had its slot when it was put; without a peer, `peerId` is absent. */
interface Entry<T> {
  readonly item: T;
  readonly peerId?: number;
  /** The direction of a flow that is held (TN-87). */
  readonly side?: TwinSide;
}

export interface Worker {
  packetsIn: number;
  passed: number;
  punted: number;
  injected: number;
  keepalives: number;
  eventsDeferred: number;
  readonly drops: Map<Reason, number>;
  readonly control: Ring<Entry<PlaneEvent>>;
  readonly data: Ring<Entry<DataPunt>>;
  /** When the second in which refusals are counted began, and how many there were. */
  refuseWindow: number;
  refuseCount: number;
}

export function createWorker(): Worker {
  return {
    packetsIn: 0,
    passed: 0,
    punted: 0,
    injected: 0,
    keepalives: 0,
    eventsDeferred: 0,
    drops: new Map(),
    control: createRing(CONSTANTS.CONTROL_RING_ENTRIES, CONSTANTS.CONTROL_RING_AREA),
    data: createRing(CONSTANTS.DATA_RING_ENTRIES, CONSTANTS.DATA_RING_AREA),
    refuseWindow: 0,
    refuseCount: 0,
  };
}

export function drop(worker: Worker, reason: Reason, packets = 1): void {
  if (packets > 0) worker.drops.set(reason, (worker.drops.get(reason) ?? 0) + packets);
}

/** Hands a packet to control; returns whether the data ring had room (TN-78). */
export function punt(worker: Worker, item: DataPunt, peerId?: number): boolean {
  if (!worker.data.fits(item.packet.length)) {
    drop(worker, "punt-full");
    return false;
  }
  worker.data.put(peerId === undefined ? { item } : { item, peerId }, item.packet.length);
  worker.punted++;
  return true;
}

/** The same for a packet of a flow, which may be held: then the hold changes with it. */
export function puntFlow(
  worker: Worker,
  item: Extract<DataPunt, { reason: "flow" }>,
  { peerId, side }: { readonly peerId?: number | undefined; readonly side?: TwinSide | undefined },
): void {
  if (!worker.data.fits(item.packet.length)) return drop(worker, "punt-full");
  const counted = { ...item, ...(side !== undefined && { isCounted: true as const }) };
  const entry = {
    item: counted,
    ...(peerId !== undefined && { peerId }),
    ...(side !== undefined && { side }),
  };
  worker.data.put(entry, item.packet.length);
  worker.punted++;
  if (side !== undefined) side.hold = worker.data.ends().put * 2 + 3;
}

/** Whether there is room for an event; without it the event comes with a later batch (PG-51). */
export function mayReport(worker: Worker): boolean {
  if (worker.control.fits(0)) return true;
  worker.eventsDeferred++;
  return false;
}

/** Puts an event for which there is room. */
export function report(worker: Worker, item: PlaneEvent, peerId: number): void {
  worker.control.put({ item, peerId }, 0);
}

/** WG-58: 10 or 200 refusals of our own packets in a second. */
export function mayRefuse(worker: Worker, now: number, perSecond: number): boolean {
  if (now - worker.refuseWindow >= 1000) {
    worker.refuseWindow = now;
    worker.refuseCount = 0;
  }
  if (worker.refuseCount >= perSecond) return false;
  worker.refuseCount++;
  return true;
}
