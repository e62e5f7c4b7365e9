/**
 * What peers say and what they are answered: heartbeats, joins, requests (PT-2 to PT-9, PT-66, PT-76).
 */
import { assert, earliest, type Instant } from "../../base/index.ts";
import {
  type Channel,
  clientChannel,
  type Frame,
  gatewayChannel,
  parseFrame,
  toFrameText,
} from "../protocol/index.ts";
import { pushClientInit } from "./client-view.ts";
import { type Core, pushToGateway } from "./core.ts";
import { closeSocket } from "./entrance.ts";
import { idOf, type PortalState } from "./portal-state.ts";
import { authorizationsOf } from "./reconcile.ts";
import type { PeerSocket } from "./sockets.ts";

const MAX_FAULTY_FRAMES = 100;
/** Frames that may wait between the join and `init`. */
const MAX_EARLY_FRAMES = 32;
const CLOSE_NORMAL = 1000;
const CLOSE_POLICY = 1008;

/** Why a frame gets an error reply (PT-5). */
type ErrorReason = "unmatched topic" | "unknown_message" | "invalid_payload" | "invalid_ref";

export function handleText(state: PortalState, now: Instant, socket: PeerSocket, text: string): void {
  socket.lastHeardAt = now;
  const frame = parseFrame(text);
  if (frame.ok) {
    handleFrame(state, now, socket, frame.value);
    return;
  }
  state.core.log.debug?.("unreadable frame", { reason: frame.reason, ...idOf(socket) });
  noteFault(state, now, socket);
}

/** A frame that nobody can read; a peer with too many of them is not one of ours. */
export function noteFault(state: PortalState, now: Instant, socket: PeerSocket): void {
  state.core.counters.badFrames++;
  socket.faultyFrames++;
  if (socket.faultyFrames > MAX_FAULTY_FRAMES)
    closeSocket(state, now, socket, CLOSE_POLICY, "too many faults");
}

/**
 * Pushes `init` if the peer is on disk, and reads what came before it (PT-76, PT-115). A peer that joins
 * again gets it again (PT-53).
 */
export function initialise(state: PortalState, now: Instant, socket: PeerSocket): void {
  const { core, deadlines } = state;
  if (socket.stage === "open" || core.durableRevision < socket.needsRevision) return;
  socket.stage = "ready";
  switch (socket.kind) {
    case "client":
      deadlines.resourceChange = earliest(deadlines.resourceChange, pushClientInit(core, now, socket));
      break;
    case "gateway":
      pushGatewayInit(core, now, socket);
      break;
    case "relay":
      core.sockets.send(socket, toFrameText({ topic: "relay", event: "init", payload: {} }));
      break;
    default:
      socket.kind satisfies never;
  }
  for (const text of socket.early.splice(0)) {
    const frame = parseFrame(text);
    assert(frame.ok, "a frame that was read is readable");
    handleFrame(state, now, socket, frame.value);
  }
}

function handleFrame(state: PortalState, now: Instant, socket: PeerSocket, frame: Frame): void {
  const { core } = state;
  if (frame.topic === "phoenix" && frame.event === "heartbeat") {
    replyOk(core, socket, frame);
    return;
  }
  if (frame.topic !== socket.kind) {
    replyError(core, socket, frame, "unmatched topic");
    return;
  }
  switch (frame.event) {
    case "phx_join":
      join(state, now, socket, frame);
      return;
    case "phx_leave":
      replyOk(core, socket, frame);
      closeSocket(state, now, socket, CLOSE_NORMAL, "left");
      return;
    default:
      handleChannelFrame(state, now, socket, frame);
  }
}

function join(state: PortalState, now: Instant, socket: PeerSocket, frame: Frame): void {
  const { core } = state;
  replyOk(core, socket, frame);
  core.counters.joins++;
  if (socket.stage === "open") {
    socket.stage = "joined";
    core.log.info?.("peer joined", { kind: socket.kind, ...idOf(socket) });
  }
  initialise(state, now, socket);
}

function handleChannelFrame(state: PortalState, now: Instant, socket: PeerSocket, frame: Frame): void {
  switch (socket.stage) {
    case "open":
      replyError(state.core, socket, frame, "unmatched topic");
      return;
    case "joined":
      if (socket.early.length < MAX_EARLY_FRAMES) socket.early.push(toFrameText(frame));
      return;
    case "ready":
      if (socket.kind === "client") handleClientRequest(state, now, socket, frame);
      else if (socket.kind === "gateway") handleGatewayRequest(state, now, socket, frame);
      else replyError(state.core, socket, frame, "unknown_message");
      return;
    default:
      socket.stage satisfies never;
  }
}

function handleClientRequest(state: PortalState, now: Instant, socket: PeerSocket, frame: Frame): void {
  const request = readRequest(state, now, socket, frame, clientChannel);
  if (request === undefined) return;
  if (request.kind === "create-flow") {
    state.flows.request(now, socket, request.rid, request.connectedGatewayIds);
  } else state.flows.handleClientCandidates(now, socket, request);
}

function handleGatewayRequest(state: PortalState, now: Instant, socket: PeerSocket, frame: Frame): void {
  const { core, flows } = state;
  const request = readRequest(state, now, socket, frame, gatewayChannel);
  if (request === undefined) return;
  if (request.kind !== "flow-authorized") {
    flows.handleGatewayCandidates(now, socket, request);
    return;
  }
  if (flows.handleAuthorized(now, socket, request.ref)) {
    replyOk(core, socket, frame);
    return;
  }
  core.log.error?.("answer to an unknown flow", { gid: socket.peerId });
  replyError(core, socket, frame, "invalid_ref");
}

function readRequest<R>(
  state: PortalState,
  now: Instant,
  socket: PeerSocket,
  frame: Frame,
  channel: Channel<unknown, R>,
): R | undefined {
  const { core } = state;
  const result = channel.parseRequest(frame.event, frame.payload);
  switch (result.kind) {
    case "message":
      return result.message;
    case "unknown-event":
      core.counters.unknownEvents++;
      replyError(core, socket, frame, "unknown_message");
      return undefined;
    case "bad-message":
      replyError(core, socket, frame, "invalid_payload");
      noteFault(state, now, socket);
      return undefined;
    case "ignored":
      return undefined;
    default:
      return result satisfies never;
  }
}

function pushGatewayInit(core: Core, now: Instant, socket: PeerSocket): void {
  const gateway = core.store.get("gateway", socket.peerId);
  assert(gateway !== undefined, "a gateway that joined is in the store");
  pushToGateway(core, socket, {
    kind: "init",
    interface: { ipv4: gateway.ipv4, ipv6: gateway.ipv6 },
    relays: [],
    accountSlug: core.model.account.slug,
    authorizations: authorizationsOf(core, now, gateway.id),
  });
}

function replyOk(core: Core, socket: PeerSocket, frame: Frame): void {
  reply(core, socket, frame, { status: "ok", response: {} });
}

function replyError(core: Core, socket: PeerSocket, frame: Frame, reason: ErrorReason): void {
  reply(core, socket, frame, { status: "error", response: { reason } });
}

/** On the frame's topic, with its reference as it came (PT-2, PT-4). */
function reply(core: Core, socket: PeerSocket, { topic, ref }: Frame, payload: object): void {
  const text = toFrameText({ topic, event: "phx_reply", payload, ...(ref === undefined ? {} : { ref }) });
  core.sockets.send(socket, text);
}
