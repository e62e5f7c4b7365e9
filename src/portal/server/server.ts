/**
 * The portal as a machine: who may come in, what they are told, and what they may reach (PT §5).
 *
 * Sockets, time, randomness and the disk are inputs and outputs (PT-119). The shell asks
 * `handleUpgrade` before it opens a socket, feeds frames in, carries `pollTransmit` out, and writes what
 * `pollPersist` gives; what depends on the disk waits for `handlePersisted` (PT-115).
 */

import type { Instant, IpAddress, Log, Random, UnixMs } from "../../base/index.ts";
import { createWallClock, earliest } from "../../base/index.ts";
import { CLOSE_NORMAL } from "../protocol/index.ts";
import type { UpgradeRequest } from "./admission.ts";
import { isLive } from "./authorizations.ts";
import { refreshClients } from "./client-view.ts";
import { completeJoin, handleText, initialise, noteFault } from "./conversation.ts";
import { type Core, createCounters, createMeters, type ServerCounters, type ServerMeters } from "./core.ts";
import { admit, closeSocket, endExpired, handleGone, type UpgradeVerdict } from "./entrance.ts";
import type { PortalModel } from "./model.ts";
import type { PeerLimits } from "./peer-limits.ts";
import { createPortalState, nextSweep, noteTokenEnds, type PortalState } from "./portal-state.ts";
import { applyModel, endAuthorizations } from "./reconcile.ts";
import { createSocketTable, type PeerSocket, type ServerTransmit } from "./sockets.ts";
import { createStore, type PeerKind } from "./store.ts";
import type { StateChange, StoredState } from "./stored-state.ts";

export interface PortalServerOptions {
  readonly model: PortalModel;
  readonly state: StoredState;
  readonly now: Instant;
  readonly wallNow: UnixMs;
  readonly random: Random;
  readonly log: Log;
  /** Absent: none (PT-77). */
  readonly limits?: PeerLimits;
}

/** Who is there and what is granted, for people (PT-117). */
export interface ServerStatus {
  readonly clients: readonly PresentPeer[];
  readonly gateways: readonly PresentPeer[];
  readonly relays: number;
  /** How many are present, by the site's name. */
  readonly gatewaysBySite: Readonly<Record<string, number>>;
  readonly liveAuthorizations: number;
}

export interface PresentPeer {
  readonly id: string;
  readonly name: string;
  readonly externalId: string;
}

export interface PortalServer {
  /** The wall clock, told at start and then now and again. */
  handleClock(now: Instant, wallNow: UnixMs): void;
  /** Whether a socket may be opened; if so it exists from now on and must be closed again. */
  handleUpgrade(now: Instant, request: UpgradeRequest): UpgradeVerdict;
  /** Another HTTP request: whether its address may ask once more (PT-72). */
  handleRequest(now: Instant, remote: IpAddress): boolean;
  handleText(now: Instant, socket: number, text: string): void;
  handleBinary(now: Instant, socket: number): void;
  /** A pong: the peer is alive. */
  handlePong(now: Instant, socket: number): void;
  handleClose(now: Instant, socket: number): void;
  /** A new configuration, in one change set (PT-114). */
  handleModel(now: Instant, model: PortalModel): void;
  /** The changes of this revision, and all before, are on disk. */
  handlePersisted(now: Instant, revision: number): void;
  /** Writing failed: what was offered last is offered again. */
  handlePersistFailed(now: Instant): void;
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
  pollTransmit(): ServerTransmit | undefined;
  /** What has to be written next. It is answered before it is called again. */
  pollPersist(): { readonly revision: number; readonly changes: readonly StateChange[] } | undefined;
  /** All records, for a new snapshot; inputs may come while it is being read (PT-115). */
  snapshot(): Iterable<StateChange>;
  status(now: Instant): ServerStatus;
  readonly counters: ServerCounters;
  readonly meters: ServerMeters;
  /** How often each event was pushed. */
  readonly pushes: ReadonlyMap<string, number>;
}

export function createPortalServer(options: PortalServerOptions): PortalServer {
  const state = createPortalState(createCore(options), options.now);
  const { core, flows, deadlines } = state;
  const { store, sockets } = core;
  // The configuration may have changed while the portal was down.
  endAuthorizations(core, options.now);
  return {
    handleClock(now, wallNow) {
      core.clock.set(now, wallNow);
      noteTokenEnds(state);
    },
    ...createRequestInputs(state),
    ...createFrameInputs(state),
    handleClose(now, id) {
      const socket = sockets.remove(id);
      if (socket !== undefined) handleGone(state, now, socket);
    },
    handleModel(now, model) {
      for (const socket of applyModel(core, now, model)) handleGone(state, now, socket);
      deadlines.resourceChange = refreshClients(core, now);
      flows.handleRevoked(now);
      noteTokenEnds(state);
    },
    handlePersisted(now, revision) {
      core.durableRevision = Math.max(core.durableRevision, revision);
      for (const socket of [...state.waiting]) {
        if (sockets.get(socket.id) === undefined) state.waiting.delete(socket);
        else initialise(state, now, socket);
      }
      flows.handleDurable(now);
    },
    handlePersistFailed() {
      state.offeredRevision = core.durableRevision;
      store.returnChanges(state.offered);
    },
    handleTimeout: (now) => tick(state, now),
    pollTimeout: () =>
      earliest(
        sockets.pollTimeout(),
        flows.pollTimeout(),
        state.relays.pollTimeout(),
        state.joins.pollTimeout(),
        ...Object.values(deadlines),
      ),
    pollTransmit: () => sockets.pollTransmit(),
    pollPersist() {
      if (store.revision <= state.offeredRevision) return undefined;
      state.offeredRevision = store.revision;
      state.offered = store.takeChanges();
      return { revision: state.offeredRevision, changes: state.offered };
    },
    snapshot: () => store.snapshot(),
    status: (now) => statusOf(core, now),
    counters: core.counters,
    meters: core.meters,
    pushes: sockets.pushes,
  };
}

function createRequestInputs(state: PortalState): Pick<PortalServer, "handleUpgrade" | "handleRequest"> {
  const { core, admission } = state;
  return {
    handleUpgrade(now, request) {
      core.counters.requests++;
      return admit(state, now, request);
    },
    handleRequest(now, remote) {
      core.counters.requests++;
      return admission.mayAsk(now, remote);
    },
  };
}

function createFrameInputs(
  state: PortalState,
): Pick<PortalServer, "handleText" | "handleBinary" | "handlePong"> {
  const { counters, sockets } = state.core;
  const withSocket = (id: number, handle: (socket: PeerSocket) => void): void => {
    const socket = sockets.get(id);
    if (socket !== undefined) handle(socket);
  };
  return {
    handleText(now, id, text) {
      counters.frames++;
      withSocket(id, (socket) => handleText(state, now, socket, text));
    },
    handleBinary(now, id) {
      counters.frames++;
      withSocket(id, (socket) => noteFault(state, now, socket));
    },
    handlePong: (now, id) =>
      withSocket(id, (socket) => {
        socket.lastHeardAt = now;
      }),
  };
}

function createCore(options: PortalServerOptions): Core {
  const { model, state, now, wallNow, random, log, limits = {} } = options;
  return {
    model,
    store: createStore(state, random),
    sockets: createSocketTable(),
    clock: createWallClock(now, wallNow),
    random,
    log,
    counters: createCounters(),
    meters: createMeters(),
    limits,
    failures: new Map(),
    newKeys: new Set(),
    durableRevision: 0,
  };
}

function tick(state: PortalState, now: Instant): void {
  const { core, flows, deadlines } = state;
  for (const socket of core.sockets.handleTimeout(now)) {
    if (socket.stage === "open") core.meters.joins[socket.kind].late++;
    closeSocket(state, now, socket, CLOSE_NORMAL, "silent");
  }
  for (const [socket, frame] of state.joins.due(now)) completeJoin(state, now, socket, frame);
  if (isDue(deadlines.tokenEnd, now)) endExpired(state, now);
  if (isDue(deadlines.lastSeen, now)) {
    deadlines.lastSeen = undefined;
    core.store.commit();
  }
  const isSweep = now >= deadlines.sweep;
  if (isSweep) {
    deadlines.sweep = nextSweep(deadlines.sweep, now);
    if (core.store.authorizations.purge(core.clock.wallNow(now)) > 0) core.store.commit();
  }
  if (isSweep || isDue(deadlines.resourceChange, now)) {
    deadlines.resourceChange = refreshClients(core, now);
  }
  flows.handleTimeout(now);
  state.relays.handleTimeout(now);
}

function isDue(deadline: Instant | undefined, now: Instant): boolean {
  return deadline !== undefined && now >= deadline;
}

function gatewaysOf(all: readonly PeerSocket[], store: Core["store"], siteId: string): number {
  return all.filter(({ kind, stage, peerId }) => {
    const isPresent = kind === "gateway" && stage !== "open";
    return isPresent && store.get("gateway", peerId)?.ownerId === siteId;
  }).length;
}

function statusOf({ sockets, store, clock, model }: Core, now: Instant): ServerStatus {
  const wallNow = clock.wallNow(now);
  const all = [...sockets.all()];
  const present = (kind: PeerKind): readonly PresentPeer[] =>
    all.flatMap((socket) => {
      const isPresent = socket.kind === kind && socket.stage !== "open";
      const peer = isPresent ? store.get(kind, socket.peerId) : undefined;
      return peer === undefined ? [] : [{ id: peer.id, name: peer.name, externalId: peer.externalId }];
    });
  return {
    clients: present("client"),
    gateways: present("gateway"),
    relays: all.filter(({ kind }) => kind === "relay").length,
    gatewaysBySite: Object.fromEntries(
      [...model.sites.values()].map(({ id, name }) => [name, gatewaysOf(all, store, id)]),
    ),
    liveAuthorizations: [...store.authorizations.all()].filter((record) => isLive(record, wallNow)).length,
  };
}
