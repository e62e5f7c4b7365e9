/**
 * The packet plane in plain TypeScript (SN-130): it obeys the same commands and raises the same
 * events and punts as `bindings/plane/plane.ts`, one packet at a time and without threads. The stand-alone
 * machine, the simulated world and the tests of `src/wireguard` use it. Speed is not its aim. Relayed
 * paths come with relays.
 *
 *     sendPacket     → route → hold word, session → seal ─▶ pollTransmit
 *     handleDatagram → index → replay, open → permits    ─▶ pollPacket
 */
import { copyOf, type Instant } from "../base/index.ts";
import type { DataPunt, PlaneCommand, PlaneEvent, PlaneRecords, PolicyTables } from "../plane/index.ts";
import { inject, sendPacket, takeCounter } from "./plane-twin-egress.ts";
import { handleDatagram, type TwinDatagram } from "./plane-twin-ingress.ts";
import { createTwinPeer, noActivity, noteReceived, noteSent } from "./plane-twin-peer.ts";
import { peerOf, type TwinState, type TwinTransmit } from "./plane-twin-state.ts";
import { createReplayWindow } from "./replay-window.ts";

export type { TwinDatagram } from "./plane-twin-ingress.ts";
export type { TwinTransmit } from "./plane-twin-state.ts";

export interface PlaneTwinOptions {
  /** `plain`: padding, roaming, sources checked against the routes (WG-58). */
  readonly mode: "plain" | "client" | "gateway";
  /** Lowered by tests only (WG-45). */
  readonly limits?: { readonly rekeyAfterMessages: bigint; readonly rejectAfterMessages: bigint };
}

export interface PlaneTwin {
  readonly records: PlaneRecords;
  execute(now: Instant, command: PlaneCommand): void;
  publish(tables: PolicyTables): void;
  /** How many publications are complete. */
  published(): number;
  /** A datagram from the network. */
  handleDatagram(now: Instant, datagram: TwinDatagram): void;
  /** An IP packet from the TUN device. */
  sendPacket(now: Instant, packet: Uint8Array): void;
  pollTransmit(): TwinTransmit | undefined;
  /** An IP packet for the TUN device. */
  pollPacket(): { readonly slot: number; readonly packet: Uint8Array } | undefined;
  pollEvent(): PlaneEvent | undefined;
  pollPunt(): DataPunt | undefined;
  /** Drops by reason. */
  drops(): Readonly<Record<string, number>>;
}

const DEFAULT_LIMITS = { rekeyAfterMessages: 1n << 60n, rejectAfterMessages: (1n << 64n) - (1n << 13n) - 1n };

export function createPlaneTwin(options: PlaneTwinOptions): PlaneTwin {
  const twin: TwinState = {
    isPlain: options.mode === "plain",
    ...(options.limits ?? DEFAULT_LIMITS),
    peers: new Map(),
    slotsById: new Map(),
    transmits: [],
    packets: [],
    events: [],
    punts: [],
    dropped: {},
    policy: { routes: [], permits: [] },
    inForce: 0,
    published: 0,
  };
  return {
    records: createRecords(twin),
    execute: (now, command) => execute(twin, now, command),
    publish(tables) {
      twin.policy = tables;
      twin.inForce++;
    },
    published() {
      if (twin.punts.length === 0) twin.published = twin.inForce;
      return twin.published;
    },
    handleDatagram: (now, datagram) => handleDatagram(twin, now, datagram),
    sendPacket: (now, packet) => sendPacket(twin, now, packet),
    pollTransmit: () => twin.transmits.shift(),
    pollPacket: () => twin.packets.shift(),
    pollEvent: () => twin.events.shift(),
    pollPunt() {
      const punt = twin.punts.shift();
      const peer = punt?.reason === "no-session" ? twin.peers.get(punt.slot) : undefined;
      if (peer !== undefined) peer.taken++;
      return punt;
    },
    drops: () => twin.dropped,
  };
}

function execute(twin: TwinState, now: Instant, command: PlaneCommand): void {
  const { slot } = command;
  switch (command.kind) {
    case "add-peer":
      twin.peers.set(slot, createTwinPeer(slot, command.peerId));
      twin.slotsById.set(command.peerId, slot);
      return;
    case "install": {
      const { session } = command;
      peerOf(twin, slot).sessions.set(session.local, {
        ...session,
        sendKey: copyOf(session.sendKey),
        receiveKey: copyOf(session.receiveKey),
        sendCounter: 0n,
        received: 0,
        window: createReplayWindow(),
        isLimitReported: false,
      });
      return;
    }
    case "retire": {
      const peer = peerOf(twin, slot);
      if (peer.current?.local === command.local) peer.current = undefined;
      peer.sessions.delete(command.local);
      return;
    }
    case "set-current":
      peerOf(twin, slot).current = peerOf(twin, slot).sessions.get(command.local);
      return;
    case "arm-watch":
      peerOf(twin, slot).isWatched = true;
      return;
    case "hold":
      peerOf(twin, slot).isHeld = true;
      return;
    case "release":
      if (peerOf(twin, slot).punted === command.handled) peerOf(twin, slot).isHeld = false;
      return;
    case "set-path": {
      const peer = peerOf(twin, slot);
      peer.path = command.path;
      peer.isIdle = command.path.isIdle;
      peer.hasRoamed = false;
      return;
    }
    case "inject":
      for (const packet of command.packets) inject(twin, peerOf(twin, slot), now, packet);
      return;
    case "remove-peer":
      twin.slotsById.delete(peerOf(twin, slot).peerId);
      twin.peers.delete(slot);
      // What concerns a peer that is gone is forgotten.
      twin.punts.splice(0, twin.punts.length, ...twin.punts.filter((punt) => slotOf(punt) !== slot));
      return;
  }
}

function slotOf(punt: DataPunt): number | undefined {
  return "slot" in punt ? punt.slot : undefined;
}

function createRecords(twin: TwinState): PlaneRecords {
  const { peers } = twin;
  return {
    activity: (slot) => ({ ...(peers.get(slot)?.activity ?? noActivity()) }),
    takeCounter(slot, local) {
      const peer = peers.get(slot);
      const session = peer?.sessions.get(local);
      return peer && session && takeCounter(twin, peer, session);
    },
    noteSent(slot, now, bytes) {
      const peer = peers.get(slot);
      if (peer !== undefined) noteSent(peer, now, bytes, false);
    },
    noteReceived(slot, now, bytes) {
      const peer = peers.get(slot);
      if (peer !== undefined) noteReceived(peer, now, bytes, false);
    },
    received(slot, local) {
      const session = peers.get(slot)?.sessions.get(local);
      return session && { packets: session.received, highest: Number(session.window.last()) };
    },
  };
}
