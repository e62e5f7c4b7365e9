/**
 * What peers say and what they are answered: heartbeats, joins, requests (PT-2 to PT-9, PT-66, PT-76).
 */
import {
  assert,
  earliest,
  fenced,
  type Instant,
  type Parsed,
  parsed,
  unreachable,
} from "../../base/index.ts";
import {
  type ChannelParse,
  CLOSE_NORMAL,
  type ClientRequest,
  clientChannel,
  type Frame,
  type GatewayRequest,
  gatewayChannel,
  MAX_PORTAL_FRAME_BYTES,
  type MalformedFrame,
  parseFrame,
  parseRelayJoin,
  type RelayEntry,
  type Topic,
  toFrameText,
} from "../protocol/index.ts";
import { pushClientInit } from "./client-view.ts";
import { type Core, pushToGateway } from "./core.ts";
import { announceIfRekeyed, closeSocket, handleGone } from "./entrance.ts";
import { peerFields } from "./names.ts";
import type { PortalState } from "./portal-state.ts";
import { authorizationsOf, resourcesOf } from "./reconcile.ts";
import { idOf, type PeerSocket } from "./sockets.ts";

const MAX_FAULTY_FRAMES = 100;
/** What may wait between the join and `init`, in frames and in all. */
const MAX_EARLY_FRAMES = 32;
const MAX_EARLY_CHARS = MAX_PORTAL_FRAME_BYTES;
const CLOSE_POLICY = 1008;
const CLOSE_INTERNAL = 1011;

/** Why a frame gets an error reply (PT-5). */
type ErrorReason = "unmatched topic" | "unknown_message" | "invalid_payload" | "invalid_ref";

/** A frame, and what its payload says in the language of the sender's channel. */
type Input = { readonly frame: Frame } & (
  | { readonly topic: "client"; readonly request: ChannelParse<ClientRequest> }
  | { readonly topic: "gateway"; readonly request: ChannelParse<GatewayRequest> }
  | { readonly topic: "relay" }
);

export function handleText(state: PortalState, now: Instant, socket: PeerSocket, text: string): void {
  socket.lastHeardAt = now;
  const { log, counters } = state.core;
  const read = fenced(() => readInput(socket.kind, text));
  if (!read.ok) {
    counters.inputErrors++;
    log.error?.("reading a frame failed; its socket is closed", { ...idOf(socket), error: read.error });
    closeSocket(state, now, socket, CLOSE_INTERNAL, "internal error");
    return;
  }
  const input = read.value;
  if (input.ok) {
    handleInput(state, now, socket, input.value, text);
    return;
  }
  log.debug?.("unreadable frame", { reason: input.reason, ...idOf(socket) });
  noteFault(state, now, socket);
}

/** All that is done with the text itself; what follows works with checked values. */
function readInput(topic: Topic, text: string): Parsed<Input, MalformedFrame> {
  const result = parseFrame(text);
  if (!result.ok) return result;
  const frame = result.value;
  switch (topic) {
    case "client":
      return parsed({ topic, frame, request: clientChannel.parseRequest(frame.event, frame.payload) });
    case "gateway":
      return parsed({ topic, frame, request: gatewayChannel.parseRequest(frame.event, frame.payload) });
    case "relay":
      return parsed({ topic, frame });
    default:
      return unreachable(topic);
  }
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
  const { core, deadlines, relays, waiting } = state;
  if (core.durableRevision < socket.needsRevision) {
    waiting.add(socket);
    return;
  }
  waiting.delete(socket);
  socket.stage = "ready";
  switch (socket.kind) {
    case "client":
      deadlines.resourceChange = earliest(
        deadlines.resourceChange,
        pushClientInit(core, now, socket, relays.give(now, socket)),
      );
      break;
    case "gateway":
      pushGatewayInit(core, now, socket, relays.give(now, socket));
      announceIfRekeyed(core, now, socket.peerId);
      break;
    case "relay":
      core.sockets.send(socket, toFrameText({ topic: "relay", event: "init", payload: {} }));
      break;
    default:
      socket.kind satisfies never;
  }
  for (const text of socket.early.splice(0)) {
    // One of them may have closed the socket.
    if (core.sockets.get(socket.id) !== undefined) handleText(state, now, socket, text);
  }
}

/** @param text the frame as it came */
function handleInput(state: PortalState, now: Instant, socket: PeerSocket, input: Input, text: string): void {
  const { core } = state;
  const { frame } = input;
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
      handleChannelInput(state, now, socket, input, text);
  }
}

/** A first join waits for its turn; one of a peer that is in comes at once, but not often. */
function join(state: PortalState, now: Instant, socket: PeerSocket, frame: Frame): void {
  if (socket.kind === "relay" && parseRelayJoin(frame.payload) === undefined) {
    // Without a secret nobody could be given credentials for it (PT-9).
    replyError(state.core, socket, frame, "invalid_payload");
    state.core.meters.joins.relay.invalid++;
    noteFault(state, now, socket);
    return;
  }
  if (socket.stage === "open") {
    if (state.joins.admit(now, socket, frame)) completeJoin(state, now, socket, frame);
    return;
  }
  if (state.joinsAgain.take(now, String(socket.id))) {
    completeJoin(state, now, socket, frame);
    return;
  }
  state.core.meters.joins[socket.kind].too_many++;
  closeSocket(state, now, socket, CLOSE_POLICY, "too many joins");
}

export function completeJoin(state: PortalState, now: Instant, socket: PeerSocket, frame: Frame): void {
  const { core } = state;
  replyOk(core, socket, frame);
  core.counters.joins++;
  core.meters.joins[socket.kind].ok++;
  if (socket.stage === "open") {
    socket.stage = "joined";
    core.log.info?.("peer joined", peerFields(core, socket));
  }
  if (socket.kind === "relay") registerRelay(state, now, socket, frame);
  initialise(state, now, socket);
}

/** From now on clients and gateways are told of the relay. A half-open socket of it ends (PT-74). */
function registerRelay(state: PortalState, now: Instant, socket: PeerSocket, frame: Frame): void {
  const join = parseRelayJoin(frame.payload);
  assert(join !== undefined, "a relay's join was read before it was let in");
  const older = state.relays.handleJoined(now, socket, join);
  if (older !== undefined) handleGone(state, now, older, "replaced");
}

function handleChannelInput(
  state: PortalState,
  now: Instant,
  socket: PeerSocket,
  input: Input,
  text: string,
): void {
  switch (socket.stage) {
    case "open":
      replyError(state.core, socket, input.frame, "unmatched topic");
      return;
    case "joined":
      keepEarly(state, socket, text);
      return;
    case "ready":
      handleRequest(state, now, socket, input);
      return;
    default:
      socket.stage satisfies never;
  }
}

/** Kept as it came: what was built from it may be many times as large. */
function keepEarly({ core }: PortalState, { early }: PeerSocket, text: string): void {
  const chars = early.reduce((sum, { length }) => sum + length, text.length);
  if (early.length < MAX_EARLY_FRAMES && chars <= MAX_EARLY_CHARS) early.push(text);
  else core.counters.earlyFramesDropped++;
}

function handleRequest(state: PortalState, now: Instant, socket: PeerSocket, input: Input): void {
  switch (input.topic) {
    case "client": {
      const request = accept(state, now, socket, input.frame, input.request);
      if (request !== undefined) handleClientRequest(state, now, socket, request);
      return;
    }
    case "gateway": {
      const request = accept(state, now, socket, input.frame, input.request);
      if (request !== undefined) handleGatewayRequest(state, now, socket, input.frame, request);
      return;
    }
    case "relay":
      replyError(state.core, socket, input.frame, "unknown_message");
      return;
    default:
      input satisfies never;
  }
}

function handleClientRequest(
  state: PortalState,
  now: Instant,
  socket: PeerSocket,
  request: ClientRequest,
): void {
  if (request.kind === "create-flow") {
    state.flows.request(now, socket, request.rid, request.connectedGatewayIds);
  } else state.flows.handleClientCandidates(now, socket, request);
}

function handleGatewayRequest(
  { core, flows }: PortalState,
  now: Instant,
  socket: PeerSocket,
  frame: Frame,
  request: GatewayRequest,
): void {
  if (request.kind !== "flow-authorized" && request.kind !== "flow-waiting") {
    flows.handleGatewayCandidates(now, socket, request);
    return;
  }
  const handle = request.kind === "flow-authorized" ? flows.handleAuthorized : flows.handleWaiting;
  if (handle(now, socket, request.ref)) {
    replyOk(core, socket, frame);
    return;
  }
  // One that lets wait what has been given up meanwhile has just been late.
  const tell = request.kind === "flow-authorized" ? core.log.error : core.log.debug;
  tell?.("answer to an unknown flow", { gid: socket.peerId });
  replyError(core, socket, frame, "invalid_ref");
}

/** The message, or an answer that says why there is none. */
function accept<R>(
  state: PortalState,
  now: Instant,
  socket: PeerSocket,
  frame: Frame,
  request: ChannelParse<R>,
): R | undefined {
  const { core } = state;
  switch (request.kind) {
    case "message":
      return request.message;
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
      return request satisfies never;
  }
}

function pushGatewayInit(core: Core, now: Instant, socket: PeerSocket, relays: readonly RelayEntry[]): void {
  const gateway = core.store.get("gateway", socket.peerId);
  assert(gateway !== undefined, "a gateway that joined is in the store");
  const authorizations = authorizationsOf(core, now, gateway.id);
  pushToGateway(core, socket, {
    kind: "init",
    interface: { ipv4: gateway.ipv4, ipv6: gateway.ipv6 },
    relays,
    accountSlug: core.model.account.slug,
    authorizations,
    resources: resourcesOf(core, authorizations),
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
