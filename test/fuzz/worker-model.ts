/** What one worker has counted and handed to control: the part that both models share. */

import { CONSTANTS, type Reason } from "../../bindings/memory/index.ts";
import type { DataPunt, PlaneEvent } from "../../src/plane/index.ts";
import { createRingModel, type RingModel } from "./ring-model.ts";

export interface WorkerModel {
  packetsIn: number;
  passed: number;
  punted: number;
  injected: number;
  keepalives: number;
  eventsDeferred: number;
  readonly drops: Map<Reason, number>;
  readonly control: RingModel<PlaneEvent>;
  readonly data: RingModel<DataPunt>;
  /** When the second in which refusals are counted began, and how many there were. */
  refuseWindow: number;
  refuseCount: number;
  /** When the time in which strangers' datagrams are counted began, and how many there were (PG-51). */
  puntWindow: number;
  handshakes: number;
  unknowns: number;
}

export function createWorkerModel(): WorkerModel {
  return {
    packetsIn: 0,
    passed: 0,
    punted: 0,
    injected: 0,
    keepalives: 0,
    eventsDeferred: 0,
    drops: new Map(),
    control: createRingModel(CONSTANTS.CONTROL_RING_ENTRIES, CONSTANTS.CONTROL_RING_AREA),
    data: createRingModel(CONSTANTS.DATA_RING_ENTRIES, CONSTANTS.DATA_RING_AREA),
    refuseWindow: 0,
    refuseCount: 0,
    puntWindow: 0,
    handshakes: 0,
    unknowns: 0,
  };
}

export function dropIn(worker: WorkerModel, reason: Reason, packets = 1): void {
  if (packets > 0) worker.drops.set(reason, (worker.drops.get(reason) ?? 0) + packets);
}

/** Puts a packet into the data ring; returns whether it fitted. */
export function puntIn(worker: WorkerModel, punt: DataPunt): boolean {
  if (!worker.data.fits(punt.packet.length)) {
    dropIn(worker, "punt-full");
    return false;
  }
  worker.data.put(punt, punt.packet.length);
  worker.punted++;
  return true;
}

/** Whether there is room for an event; without it the event comes with a later batch (PG-51). */
export function mayReport(worker: WorkerModel): boolean {
  if (worker.control.fits(0)) return true;
  worker.eventsDeferred++;
  return false;
}

/** WG-58, TN-78: 10 or 200 refusals in a second. */
export function mayRefuse(worker: WorkerModel, now: number, perSecond: number): boolean {
  if (now - worker.refuseWindow >= 1000) {
    worker.refuseWindow = now;
    worker.refuseCount = 0;
  }
  if (worker.refuseCount >= perSecond) return false;
  worker.refuseCount++;
  return true;
}

/** PG-51: 200 handshakes and 50 unknown datagrams in 100 ms. */
export function mayBeJudged(worker: WorkerModel, now: number, isHandshake: boolean): boolean {
  if (now - worker.puntWindow >= 100) {
    worker.puntWindow = now;
    worker.handshakes = 0;
    worker.unknowns = 0;
  }
  if (isHandshake) return worker.handshakes < 200 && ++worker.handshakes > 0;
  return worker.unknowns < 50 && ++worker.unknowns > 0;
}
