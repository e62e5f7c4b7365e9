/**
 * What the parts of the portal share: configuration, memory, sockets, and the two clocks.
 */
import {
  createHistogram,
  type Histogram,
  type Instant,
  type Log,
  type Random,
  type WallClock,
} from "../../base/index.ts";
import {
  type ClientMessage,
  clientChannel,
  type GatewayMessage,
  gatewayChannel,
  type Topic,
} from "../protocol/index.ts";
import type { Subject } from "./access.ts";
import type { PortalModel, TokenRecord } from "./model.ts";
import type { PeerLimits } from "./peer-limits.ts";
import type { PeerSocket, SocketTable } from "./sockets.ts";
import type { Store } from "./store.ts";
import type { StoredPeer } from "./stored-state.ts";

/** What happened, counted by kind; names of PT-192 without their prefix. */
export interface ServerCounters {
  /** Heads of HTTP requests that were read, upgrades among them. */
  requests: number;
  frames: number;
  joins: number;
  refusedUpgrades: Map<string, number>;
  flows: Map<string, number>;
  /** Candidates between peers that have nothing to do with each other (PT-87). */
  candidatesUnauthorized: number;
  /** Candidates for a peer that is not there, or more than may wait. */
  candidatesDropped: number;
  unknownEvents: number;
  badFrames: number;
  /** Inputs whose reading failed by a defect of ours; each closed its own socket or request (PG-18). */
  inputErrors: number;
  /** Frames between join and `init` beyond what may wait. */
  earlyFramesDropped: number;
  configErrors: number;
  /** Identities that two processes seem to use (PT-74). */
  duplicateIds: number;
}

/** How often and how fast (PT-192). */
export interface ServerMeters {
  /** By kind of peer and result. */
  readonly joins: Record<Topic, Record<JoinResult, number>>;
  /** From the request for access to what it brought. */
  readonly flowMs: Histogram;
}

/** `invalid`: what it says of itself; `too_many`: more than one socket may; `late`: it said nothing. */
export type JoinResult = "ok" | "invalid" | "too_many" | "late";

const FLOW_BOUNDS_MS = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];

export function createMeters(): ServerMeters {
  const none = () => ({ ok: 0, invalid: 0, too_many: 0, late: 0 });
  return {
    joins: { client: none(), gateway: none(), relay: none() },
    flowMs: createHistogram(FLOW_BOUNDS_MS),
  };
}

export interface Core {
  /** Replaced as a whole by a reload. */
  model: PortalModel;
  readonly store: Store;
  readonly sockets: SocketTable;
  readonly clock: WallClock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: ServerCounters;
  readonly meters: ServerMeters;
  readonly limits: PeerLimits;
  /** Why a client was refused a resource last, by client and resource: said once. */
  readonly failures: Map<string, Map<string, string>>;
  /** Gateways that came with another key than they had, and whose clients do not know yet (PT-94). */
  readonly newKeys: Set<string>;
  /** The highest revision of the store that is on disk. */
  durableRevision: number;
}

export function createCounters(): ServerCounters {
  return {
    requests: 0,
    frames: 0,
    joins: 0,
    refusedUpgrades: new Map(),
    flows: new Map(),
    candidatesUnauthorized: 0,
    candidatesDropped: 0,
    unknownEvents: 0,
    badFrames: 0,
    inputErrors: 0,
    earlyFramesDropped: 0,
    configErrors: 0,
    duplicateIds: 0,
  };
}

export function count(counter: Map<string, number>, name: string): void {
  counter.set(name, (counter.get(name) ?? 0) + 1);
}

export function pushToClient(core: Core, socket: PeerSocket, message: ClientMessage): void {
  core.sockets.push(socket, clientChannel.toMessageEvent(message));
}

export function pushToGateway(core: Core, socket: PeerSocket, message: GatewayMessage): void {
  core.sockets.push(socket, gatewayChannel.toMessageEvent(message));
}

/** The client's device as policies see it; `undefined` when its actor is gone. */
export function subjectOf(
  core: Core,
  device: StoredPeer,
  token: TokenRecord,
  now: Instant,
): Subject | undefined {
  const actor = core.model.actors.get(device.ownerId);
  if (actor === undefined) return undefined;
  return {
    actor,
    circumstances: {
      wallNow: core.clock.wallNow(now),
      remote: device.remote,
      isVerified: core.model.verified.has(device.externalId) && !device.isHardwareChanged,
    },
    ...(token.expiresAt === undefined ? {} : { tokenExpiresAt: token.expiresAt }),
  };
}
