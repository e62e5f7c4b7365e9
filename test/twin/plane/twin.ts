/**
 * The packet plane in plain TypeScript, made from the specification (D-4, SN-130): one packet at a time,
 * without threads and without the plane's memory. Storms compare it with the WebAssembly on everything
 * that goes in (`test/fuzz/storm.ts`); the simulated world runs on either.
 *
 *     egress  → split → policy → hold, session → seal     ─▶ datagrams
 *     ingress → index → replay, open → validate, permits  ─▶ packets
 *
 * Speed is not its aim, and it says nothing of how datagrams are joined to sends or packets to frames.
 */
import { copyOf, unreachable } from "../../../src/base/index.ts";
import type { DataPunt, PlaneCommand, PlaneEvent } from "../../../src/plane/index.ts";
import type { DrivenPlane, WorkerTally } from "../driven-plane.ts";
import { readFrame, sendInjected } from "./egress.ts";
import { handOf, releaseFlows, takeHeld } from "./flows.ts";
import { noteKnown } from "./guard.ts";
import { receiveBatch } from "./ingress.ts";
import { createPeer, install, retire, sessionOf } from "./peer.ts";
import { createRecords } from "./records.ts";
import {
  combinePolicies,
  createState,
  peerOf,
  type TwinOptions,
  type TwinState,
  waitingOf,
} from "./state.ts";
import type { Worker } from "./worker.ts";

export function createPlaneTwin(options: TwinOptions): DrivenPlane {
  const state = createState(options);
  return {
    records: createRecords(state),
    flows: handOf(state),
    execute: (command) => execute(state, command),
    publish(tables) {
      state.tables = tables;
      combinePolicies(state);
      state.publishing.push({
        egress: state.egress.data.ends().put,
        ingress: state.ingress.data.ends().put,
      });
    },
    published: () => published(state),
    releaseFlows: () => releaseFlows(state),
    takeEvents: (limit = Number.POSITIVE_INFINITY) => takeEvents(state, limit),
    takePunts: (limit = Number.POSITIVE_INFINITY) => takePunts(state, limit),
    egress: (now, frame) => (frame === undefined ? sendInjected(state, now) : readFrame(state, now, frame)),
    ingress: (now, batch) => receiveBatch(state, now, batch),
    tallies: () => ({ egress: tallyOf(state.egress), ingress: tallyOf(state.ingress) }),
  };
}

function execute(state: TwinState, command: PlaneCommand): void {
  // What the guard does with a key is not modelled: handshakes come up as if nobody had judged them.
  if (command.kind === "set-guard") return;
  if (command.kind === "set-relays") {
    state.relays = command.relays.map(({ address, port }) => ({ address: copyOf(address), port }));
    return;
  }
  if (command.kind === "know-source") return noteKnown(state.guard, command.source);
  const { slot } = command;
  switch (command.kind) {
    case "add-peer":
      waitingOf(state, slot).earlier = waitingOf(state, slot).punted;
      state.peers.set(slot, createPeer(slot, command.peerId));
      state.slotsById.set(command.peerId, slot);
      return;
    case "remove-peer":
      state.slotsById.delete(peerOf(state, slot).peerId);
      state.peers.delete(slot);
      state.peerPolicies.delete(slot);
      combinePolicies(state);
      handOf(state).revoke(slot);
      return;
    case "set-policy":
      // An address leads to whoever was given it last.
      state.peerPolicies.delete(slot);
      if (command.policy !== undefined) state.peerPolicies.set(slot, command.policy);
      combinePolicies(state);
      return;
    case "install":
      return install(peerOf(state, slot), command.session);
    case "retire":
      return retire(peerOf(state, slot), command.local);
    case "set-current":
      peerOf(state, slot).current = sessionOf(peerOf(state, slot), command.local);
      return;
    case "set-path":
      peerOf(state, slot).path = command.path;
      if (command.path.kind === "direct" && command.path.destination !== undefined) {
        noteKnown(state.guard, command.path.destination);
      }
      peerOf(state, slot).isIdle = command.path.isIdle;
      return;
    case "arm-watch":
      peerOf(state, slot).isWatched = true;
      return;
    case "hold":
      peerOf(state, slot).isHeld = true;
      return;
    case "release":
      return release(state, slot, command.handled);
    case "inject":
      return inject(state, slot, command.packets);
    default:
      return unreachable(command);
  }
}

/** Fails where more was punted than has been handled: that goes first (WG-46). */
function release(state: TwinState, slot: number, handled: number): void {
  const { punted, earlier } = waitingOf(state, slot);
  if (punted - earlier === handled) peerOf(state, slot).isHeld = false;
}

/** A publication is complete when what was punted by earlier tables has been taken (SN-139). */
function published(state: TwinState): number {
  const taken = { egress: state.egress.data.ends().taken, ingress: state.ingress.data.ends().taken };
  for (let first = state.publishing[0]; first !== undefined; first = state.publishing[0]) {
    if (taken.egress < first.egress || taken.ingress < first.ingress) break;
    state.publishing.shift();
    state.published++;
  }
  return state.published;
}

function inject(state: TwinState, slot: number, packets: readonly Uint8Array[]): void {
  const peerId = state.peers.get(slot)?.peerId ?? 0;
  for (const packet of packets) {
    if (state.injected.fits(packet.length)) {
      state.injected.put({ slot, peerId, packet: copyOf(packet) }, packet.length);
    } else state.injectedInVain++;
  }
}

/** What concerns a peer that is gone is forgotten. */
function isCurrent(state: TwinState, slot: number | undefined, peerId: number | undefined): boolean {
  return slot === undefined || peerId === undefined || state.peers.get(slot)?.peerId === peerId;
}

function takeEvents(state: TwinState, limit: number): readonly PlaneEvent[] {
  const events: PlaneEvent[] = [];
  for (const worker of [state.egress, state.ingress]) {
    for (const { item, peerId } of worker.control.drain(limit)) {
      if (!isCurrent(state, "slot" in item ? item.slot : undefined, peerId)) continue;
      // Control has seen it: the next may be reported (WG-62).
      if (item.kind === "roamed") peerOf(state, item.slot).isRoaming = false;
      events.push(item);
    }
  }
  return events;
}

function takePunts(state: TwinState, limit: number): readonly DataPunt[] {
  const punts: DataPunt[] = [];
  for (const worker of [state.egress, state.ingress]) {
    for (const { item, peerId, side } of worker.data.drain(limit)) {
      if (side !== undefined) takeHeld(state, worker, side);
      if (item.reason === "no-session") waitingOf(state, item.slot).taken++;
      if (isCurrent(state, "slot" in item ? item.slot : undefined, peerId)) punts.push(item);
    }
  }
  return punts;
}

function tallyOf(worker: Worker): WorkerTally {
  return {
    counters: {
      packets_in: worker.packetsIn,
      packets_passed: worker.passed,
      packets_punted: worker.punted,
      packets_injected: worker.injected,
      keepalives: worker.keepalives,
      events_deferred: worker.eventsDeferred,
    },
    drops: Object.fromEntries(worker.drops),
  };
}
