/**
 * The portal as a machine: who may come in, what they are told, and what they may reach (PT §5).
 *
 * Sockets, time, randomness and the disk are inputs and outputs (PT-119). The shell asks
 * `handleUpgrade` before it opens a socket, feeds frames in, carries `pollTransmit` out, and writes what
 * `pollPersist` gives; what depends on the disk waits for `handlePersisted` (PT-115).
 */
import {
  after,
  assert,
  earliest,
  type Instant,
  type Log,
  type Random,
  type UnixMs,
} from "../../base/index.ts";
import {
  type Channel,
  clientChannel,
  type Frame,
  gatewayChannel,
  parseFrame,
  type Ref,
  toFrameText,
} from "../protocol/index.ts";
import { createAdmission, type Refusal, type UpgradeRequest } from "./admission.ts";
import { pushClientInit, refreshClients } from "./client-view.ts";
import {
  type Core,
  count,
  createCounters,
  createWallClock,
  pushToGateway,
  type ServerCounters,
} from "./core.ts";
import { createFlows } from "./flows.ts";
import { randomId } from "./ids.ts";
import type { PortalModel } from "./model.ts";
import { createTokenBucket } from "./rate-limit.ts";
import { applyModel, authorizationsOf, disconnect, endAuthorizations } from "./reconcile.ts";
import { createSocketTable, type PeerSocket, type ServerTransmit } from "./sockets.ts";
import { createStore, type PeerKind } from "./store.ts";
import type { StoredState } from "./stored-state.ts";

export interface PortalServerOptions {
  readonly model: PortalModel;
  readonly state: StoredState;
  readonly now: Instant;
  readonly wallNow: UnixMs;
  readonly random: Random;
  readonly log: Log;
}

export type UpgradeVerdict =
  | { readonly ok: true; readonly socket: number }
  | { readonly ok: false; readonly refusal: Refusal };

/** Who is there and what is granted, for people (PT-117). */
export interface ServerStatus {
  readonly clients: readonly PresentPeer[];
  readonly gateways: readonly PresentPeer[];
  readonly relays: number;
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
  handleText(now: Instant, socket: number, text: string): void;
  handleBinary(now: Instant, socket: number): void;
  /** A pong: the peer is alive. */
  handlePong(now: Instant, socket: number): void;
  handleClose(now: Instant, socket: number): void;
  /** A new configuration, in one change set (PT-114). */
  handleModel(now: Instant, model: PortalModel): void;
  /** The state of this revision, or a later one, is on disk. */
  handlePersisted(now: Instant, revision: number): void;
  /** Writing failed: the same state is offered again. */
  handlePersistFailed(now: Instant): void;
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
  pollTransmit(): ServerTransmit | undefined;
  /** What has to be written, once per revision. */
  pollPersist(): { readonly revision: number; readonly state: StoredState } | undefined;
  status(now: Instant): ServerStatus;
  readonly counters: ServerCounters;
}

const MAX_SOCKETS_PER_TOKEN = 5_000;
const MAX_FAULTY_FRAMES = 100;
/** Frames that may wait between the join and `init`. */
const MAX_EARLY_FRAMES = 32;
const SWEEP_MS = 60_000;
/** Last-seen data reaches the disk this late (PT-115). */
const LAST_SEEN_DELAY_MS = 1_000;
/** More replaced sockets of one peer than these are worth a warning (PT-74). */
const REPLACED_PER_MINUTE = 5;

const CLOSE_REPLACED = 4000;
const CLOSE_NORMAL = 1000;
const CLOSE_POLICY = 1008;

type Reply = { readonly status: "ok" } | { readonly status: "error"; readonly reason: string };

const OK: Reply = { status: "ok" };

export function createPortalServer(options: PortalServerOptions): PortalServer {
  const { log } = options;
  const core: Core = {
    model: options.model,
    store: createStore(options.state, options.random),
    sockets: createSocketTable(),
    clock: createWallClock(options.now, options.wallNow),
    random: options.random,
    log,
    counters: createCounters(),
    durableRevision: 0,
  };
  const { store, sockets, counters } = core;
  // The configuration may have changed while the portal was down.
  endAuthorizations(core, options.now);
  const admission = createAdmission();
  const flows = createFlows(core);
  const newDevices = createTokenBucket({ perSecond: 20, burst: 20 });
  const replacements = createTokenBucket({
    perSecond: REPLACED_PER_MINUTE / 60,
    burst: REPLACED_PER_MINUTE,
  });
  let offeredRevision = 0;
  let sweepAt = after(options.now, SWEEP_MS);
  let lastSeenAt: Instant | undefined;
  let tokenEndsAt: Instant | undefined;
  let resourcesChangeAt: Instant | undefined;

  function refuse(refusal: Refusal): UpgradeVerdict {
    count(counters.refusedUpgrades, refusal.code ?? String(refusal.status));
    return { ok: false, refusal };
  }

  function handleUpgrade(now: Instant, request: UpgradeRequest): UpgradeVerdict {
    const result = admission.check(now, core.clock.wallNow(now), core.model, request);
    if (!result.ok) return refuse(result.refusal);
    const { admitted } = result;
    const { token } = admitted;
    if (sockets.countOfToken(token.hash) >= MAX_SOCKETS_PER_TOKEN) {
      return refuse({ status: 503, code: "overloaded", retryAfterS: 10 });
    }
    if (admitted.kind === "relay") {
      const peerId = randomId(core.random);
      const socket = sockets.open(now, {
        kind: "relay",
        peerId,
        token,
        remote: admitted.remote,
        needsRevision: 0,
      });
      noteTokenEnd(socket);
      return { ok: true, socket: socket.id };
    }
    const { kind, introduction } = admitted;
    const known = store.find(kind, introduction.ownerId, introduction.externalId);
    if (known === undefined && !newDevices.take(now, token.hash)) {
      return refuse({ status: 503, code: "rate_limit", retryAfterS: 1 });
    }
    const peer =
      known === undefined ? store.create(kind, introduction) : store.update(kind, known.id, introduction);
    if (peer === undefined) {
      log.error?.("no tunnel address is left");
      return refuse({ status: 503, code: "overloaded", retryAfterS: 10 });
    }
    const needsRevision = known === undefined ? store.commit() : 0;
    if (known !== undefined) lastSeenAt ??= after(now, LAST_SEEN_DELAY_MS);
    replaceOlder(now, kind, peer.id);
    const { remote } = introduction;
    const socket = sockets.open(now, { kind, peerId: peer.id, token, remote, needsRevision });
    noteTokenEnd(socket);
    return { ok: true, socket: socket.id };
  }

  /** The newer socket of a peer wins: else a half-open one would lock it out (PT-74). */
  function replaceOlder(now: Instant, kind: PeerKind, peerId: string): void {
    const older = sockets.ofPeer(kind, peerId);
    if (older === undefined) return;
    if (!replacements.take(now, `${kind}|${peerId}`)) {
      log.warn?.("two processes seem to use one identity", { [kind === "client" ? "cid" : "gid"]: peerId });
    }
    sockets.close(older, CLOSE_REPLACED, "replaced");
    handleGone(now, older);
  }

  function handleGone(now: Instant, socket: PeerSocket): void {
    if (socket.kind === "gateway" && socket.stage === "ready") flows.handleGatewayGone(now, socket.peerId);
    if (socket.stage !== "open") log.info?.("peer left", { kind: socket.kind, ...idOf(socket) });
  }

  function reply(socket: PeerSocket, frame: Frame, answer: Reply): void {
    const response = answer.status === "ok" ? {} : { reason: answer.reason };
    const { topic, ref } = frame;
    const payload = { status: answer.status, response };
    sockets.send(socket, toFrameText({ topic, event: "phx_reply", payload, ...refOf(ref) }));
  }

  function handleFrame(now: Instant, socket: PeerSocket, frame: Frame): void {
    if (frame.topic === "phoenix") {
      if (frame.event === "heartbeat") reply(socket, frame, OK);
      else reply(socket, frame, { status: "error", reason: "unmatched topic" });
      return;
    }
    if (frame.topic !== socket.kind) {
      reply(socket, frame, { status: "error", reason: "unmatched topic" });
      return;
    }
    if (frame.event === "phx_join") {
      join(now, socket, frame);
      return;
    }
    if (frame.event === "phx_leave") {
      reply(socket, frame, OK);
      sockets.close(socket, CLOSE_NORMAL, "left");
      handleGone(now, socket);
      return;
    }
    switch (socket.stage) {
      case "open":
        reply(socket, frame, { status: "error", reason: "unmatched topic" });
        return;
      case "joined":
        if (socket.early.length < MAX_EARLY_FRAMES) socket.early.push(toFrameText(frame));
        return;
      case "ready":
        handleRequest(now, socket, frame);
        return;
      default:
        socket.stage satisfies never;
    }
  }

  function join(now: Instant, socket: PeerSocket, frame: Frame): void {
    reply(socket, frame, OK);
    counters.joins++;
    if (socket.stage === "open") {
      socket.stage = "joined";
      log.info?.("peer joined", { kind: socket.kind, ...idOf(socket) });
    }
    init(now, socket);
  }

  /** Pushes `init` if the peer is on disk; a peer that joins again gets it again (PT-53). */
  function init(now: Instant, socket: PeerSocket): void {
    if (socket.stage === "open" || core.durableRevision < socket.needsRevision) return;
    socket.stage = "ready";
    if (socket.kind === "client") {
      resourcesChangeAt = earliest(resourcesChangeAt, pushClientInit(core, now, socket));
    } else if (socket.kind === "gateway") pushGatewayInit(now, socket);
    else sockets.send(socket, toFrameText({ topic: "relay", event: "init", payload: {} }));
    const early = socket.early;
    socket.early = [];
    for (const text of early) {
      const frame = parseFrame(text);
      assert(frame.ok, "a frame that was read is readable");
      handleFrame(now, socket, frame.value);
    }
  }

  function pushGatewayInit(now: Instant, socket: PeerSocket): void {
    const gateway = store.get("gateway", socket.peerId);
    assert(gateway !== undefined, "a gateway that joined is in the store");
    pushToGateway(core, socket, {
      kind: "init",
      interface: { ipv4: gateway.ipv4, ipv6: gateway.ipv6 },
      relays: [],
      accountSlug: core.model.account.slug,
      authorizations: authorizationsOf(core, now, gateway.id),
    });
  }

  function handleRequest(now: Instant, socket: PeerSocket, frame: Frame): void {
    if (socket.kind === "client") {
      const request = readRequest(socket, frame, clientChannel);
      if (request?.kind === "create-flow") {
        flows.request(now, socket, request.rid, request.connectedGatewayIds);
      } else if (request !== undefined) flows.handleClientCandidates(now, socket, request);
      return;
    }
    if (socket.kind === "gateway") {
      const request = readRequest(socket, frame, gatewayChannel);
      if (request?.kind === "flow-authorized") {
        const isKnown = flows.handleAuthorized(now, socket, request.ref);
        if (!isKnown) log.error?.("answer to an unknown flow", { gid: socket.peerId });
        reply(socket, frame, isKnown ? OK : { status: "error", reason: "invalid_ref" });
      } else if (request !== undefined) flows.handleGatewayCandidates(now, socket, request);
      return;
    }
    reply(socket, frame, { status: "error", reason: "unknown_message" });
  }

  function readRequest<R>(socket: PeerSocket, frame: Frame, channel: Channel<unknown, R>): R | undefined {
    const result = channel.parseRequest(frame.event, frame.payload);
    switch (result.kind) {
      case "message":
        return result.message;
      case "unknown-event":
        counters.unknownEvents++;
        reply(socket, frame, { status: "error", reason: "unknown_message" });
        return undefined;
      case "bad-message":
        noteFault(socket);
        reply(socket, frame, { status: "error", reason: "invalid_payload" });
        return undefined;
      case "ignored":
        return undefined;
      default:
        return result satisfies never;
    }
  }

  function noteFault(socket: PeerSocket): void {
    counters.badFrames++;
    socket.faultyFrames++;
    if (socket.faultyFrames > MAX_FAULTY_FRAMES) sockets.close(socket, CLOSE_POLICY, "too many faults");
  }

  function noteTokenEnd({ token }: PeerSocket): void {
    if (token.expiresAt === undefined) return;
    tokenEndsAt = earliest(tokenEndsAt, core.clock.instantOf(token.expiresAt));
  }

  function noteTokenEnds(): void {
    tokenEndsAt = undefined;
    for (const socket of sockets.all()) noteTokenEnd(socket);
  }

  function endExpired(now: Instant): void {
    const wallNow = core.clock.wallNow(now);
    for (const socket of [...sockets.all()]) {
      const { expiresAt } = socket.token;
      if (expiresAt === undefined || wallNow < expiresAt) continue;
      disconnect(core, socket);
      handleGone(now, socket);
    }
    noteTokenEnds();
  }

  return {
    handleClock(now, wallNow) {
      core.clock.set(now, wallNow);
      noteTokenEnds();
    },
    handleUpgrade,
    handleText(now, id, text) {
      const socket = sockets.get(id);
      if (socket === undefined) return;
      socket.lastHeardAt = now;
      const frame = parseFrame(text);
      if (!frame.ok) {
        noteFault(socket);
        log.debug?.("unreadable frame", { reason: frame.reason, ...idOf(socket) });
        return;
      }
      handleFrame(now, socket, frame.value);
    },
    handleBinary(now, id) {
      const socket = sockets.get(id);
      if (socket === undefined) return;
      socket.lastHeardAt = now;
      noteFault(socket);
    },
    handlePong(now, id) {
      const socket = sockets.get(id);
      if (socket !== undefined) socket.lastHeardAt = now;
    },
    handleClose(now, id) {
      const socket = sockets.remove(id);
      if (socket !== undefined) handleGone(now, socket);
    },
    handleModel(now, model) {
      for (const socket of applyModel(core, now, model)) handleGone(now, socket);
      resourcesChangeAt = refreshClients(core, now);
      flows.handleRevoked(now);
      noteTokenEnds();
    },
    handlePersisted(now, revision) {
      core.durableRevision = Math.max(core.durableRevision, revision);
      for (const socket of [...sockets.all()]) if (socket.stage === "joined") init(now, socket);
      flows.handleDurable(now);
    },
    handlePersistFailed() {
      offeredRevision = core.durableRevision;
    },
    handleTimeout(now) {
      for (const socket of sockets.handleTimeout(now)) {
        sockets.close(socket, CLOSE_NORMAL, "silent");
        handleGone(now, socket);
      }
      if (tokenEndsAt !== undefined && now >= tokenEndsAt) endExpired(now);
      if (lastSeenAt !== undefined && now >= lastSeenAt) {
        lastSeenAt = undefined;
        store.commit();
      }
      if (now >= sweepAt) {
        sweepAt = after(sweepAt, SWEEP_MS * (Math.floor((now - sweepAt) / SWEEP_MS) + 1));
        if (store.authorizations.purge(core.clock.wallNow(now)) > 0) store.commit();
        resourcesChangeAt = refreshClients(core, now);
      }
      if (resourcesChangeAt !== undefined && now >= resourcesChangeAt) {
        resourcesChangeAt = refreshClients(core, now);
      }
      flows.handleTimeout(now);
    },
    pollTimeout: () =>
      earliest(
        sockets.pollTimeout(),
        flows.pollTimeout(),
        sweepAt,
        lastSeenAt,
        tokenEndsAt,
        resourcesChangeAt,
      ),
    pollTransmit: () => sockets.pollTransmit(),
    pollPersist() {
      if (store.revision <= offeredRevision) return undefined;
      offeredRevision = store.revision;
      return { revision: offeredRevision, state: store.snapshot() };
    },
    status(now) {
      const wallNow = core.clock.wallNow(now);
      const present = (kind: PeerKind): readonly PresentPeer[] =>
        [...sockets.all()].flatMap((socket) => {
          const peer =
            socket.kind === kind && socket.stage !== "open" ? store.get(kind, socket.peerId) : undefined;
          return peer === undefined ? [] : [{ id: peer.id, name: peer.name, externalId: peer.externalId }];
        });
      return {
        clients: present("client"),
        gateways: present("gateway"),
        relays: [...sockets.all()].filter(({ kind }) => kind === "relay").length,
        liveAuthorizations: [...store.authorizations.all()].filter(
          ({ expiresAt }) => expiresAt === undefined || wallNow < expiresAt,
        ).length,
      };
    },
    counters,
  };
}

function idOf(socket: PeerSocket): { readonly cid?: string; readonly gid?: string } {
  if (socket.kind === "relay") return {};
  return socket.kind === "client" ? { cid: socket.peerId } : { gid: socket.peerId };
}

function refOf(ref: Ref | undefined): { readonly ref?: Ref } {
  return ref === undefined ? {} : { ref };
}
