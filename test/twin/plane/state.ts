/** What the twin of the plane is made of, and what its two directions share. */
import { CONSTANTS } from "../../../bindings/memory/index.ts";
import type { PlaneMode } from "../../../bindings/plane/index.ts";
import { assert, type SocketAddress, toPrefix } from "../../../src/base/index.ts";
import type { PeerPolicy, PolicyTables, Route } from "../../../src/plane/index.ts";
import { createTwinFlows, type TwinFlows } from "./flows.ts";
import { createGuard, type Guard } from "./guard.ts";
import type { TwinPeer } from "./peer.ts";
import { createRing, type Ring } from "./ring.ts";
import { createWorker, type Worker } from "./worker.ts";

export interface TwinOptions {
  readonly mode: PlaneMode;
  /** MTU of the TUN device in bytes; default 1,280, in mode `plain` 1,420. */
  readonly mtu?: number;
  /** Lowered by tests only (WG-45). */
  readonly limits?: { readonly rekeyAfterMessages: bigint; readonly rejectAfterMessages: bigint };
}

export interface TwinSettings {
  readonly mode: PlaneMode;
  readonly mtu: number;
  readonly validation: "plain" | "strict";
  readonly maxPacket: number;
  /** Of packets from a peer: a plain one's MTU is its own affair (PG-48). */
  readonly maxReceived: number;
  readonly maxDatagram: number;
  readonly refusalsPerSecond: number;
  readonly rekeyAfterMessages: bigint;
  readonly rejectAfterMessages: bigint;
}

/** Packets of one slot that wait for control; older than the peer which has the slot now (WG-46). */
export interface Waiting {
  /** Put into the ring so far, and taken out of it. */
  punted: number;
  taken: number;
  /** Those of the slot's earlier peers: some may still be in the ring. */
  earlier: number;
}

export interface Injected {
  readonly slot: number;
  readonly peerId: number;
  readonly packet: Uint8Array;
}

export interface TwinState {
  readonly settings: TwinSettings;
  readonly egress: Worker;
  readonly ingress: Worker;
  readonly guard: Guard;
  readonly peers: Map<number, TwinPeer>;
  readonly slotsById: Map<number, number>;
  readonly waiting: Map<number, Waiting>;
  readonly injected: Ring<Injected>;
  injectedInVain: number;
  relays: readonly SocketAddress[];
  readonly flows: TwinFlows;
  /** Nothing passes before the first is published. */
  tables: PolicyTables | undefined;
  /** What peers have of their own, by slot. */
  readonly peerPolicies: Map<number, PeerPolicy>;
  /** Both together. */
  policy: PolicyTables | undefined;
  /** For each publication that is not complete, how many punts of each worker lie before it (SN-139). */
  readonly publishing: { readonly egress: number; readonly ingress: number }[];
  published: number;
}

const LIMITS = { rekeyAfterMessages: 2n ** 60n, rejectAfterMessages: 2n ** 64n - 2n ** 13n - 1n };

export function createState({ mode, mtu, limits }: TwinOptions): TwinState {
  const isPlain = mode === "plain";
  const ownMtu = mtu ?? (isPlain ? 1420 : 1280);
  return {
    settings: {
      mode,
      mtu: ownMtu,
      validation: isPlain ? "plain" : "strict",
      maxPacket: isPlain ? ownMtu : 1280,
      maxReceived: isPlain ? 65_535 : 1280,
      maxDatagram: isPlain ? 65_527 : 1316,
      refusalsPerSecond: isPlain ? 10 : 200,
      ...LIMITS,
      ...limits,
    },
    egress: createWorker(),
    ingress: createWorker(),
    guard: createGuard(),
    peers: new Map(),
    slotsById: new Map(),
    waiting: new Map(),
    injected: createRing(CONSTANTS.INJECT_RING_ENTRIES, CONSTANTS.INJECT_RING_AREA),
    injectedInVain: 0,
    relays: [],
    flows: createTwinFlows(),
    tables: undefined,
    peerPolicies: new Map(),
    policy: undefined,
    publishing: [],
    published: 0,
  };
}

export function peerOf(state: TwinState, slot: number): TwinPeer {
  const peer = state.peers.get(slot);
  assert(peer !== undefined, `slot ${slot} has a peer`);
  return peer;
}

export function waitingOf(state: TwinState, slot: number): Waiting {
  const waiting = state.waiting.get(slot) ?? { punted: 0, taken: 0, earlier: 0 };
  state.waiting.set(slot, waiting);
  return waiting;
}

/** What is published for all, and for each peer by itself: that comes first (TN-110). */
export function combinePolicies(state: TwinState): void {
  const { tables, peerPolicies } = state;
  const own = [...peerPolicies];
  state.policy = tables && {
    ...tables,
    routes: [
      ...tables.routes,
      ...own.flatMap(([slot, { addresses }]) =>
        addresses.map((address): Route => {
          return { prefix: toPrefix(address, address.length * 8), target: { kind: "peer", slot } };
        }),
      ),
    ],
    permits: [...own.map(([slot, { permits }]) => ({ ...permits, slot })), ...tables.permits],
  };
}
