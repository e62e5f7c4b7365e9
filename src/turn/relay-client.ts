/**
 * The relay client: the TURN client for one relay as a pure machine (RL Part B, D-2).
 *
 *     probing ─ answer ─▶ allocating ─ success ─▶ active
 *        │                 ▲      │                 │
 *        │                 │   refusal    expiry, 437, bad credentials, silence
 *        ▼                 │      ▼                 ▼
 *      freed            suspended            allocating, suspended or freed
 *
 * Every input advances the machine: what was due at `now` has happened when it returns. Afterwards the
 * caller drains `pollTransmit` and `pollEvent`, then reads `pollTimeout`.
 */
import { earliest, equalSocketAddress, type Instant, SILENT, type SocketAddress } from "../base/index.ts";
import { CHANNEL_FIRST, KEEP_ALIVE_MS, RETRY_FIRST_MS } from "./constants.ts";
import { allocate, free, invalidate, probe, refreshAllocation } from "./relay-allocation.ts";
import { handleAnswer } from "./relay-answers.ts";
import { candidatesOf } from "./relay-candidates.ts";
import { bindChannel, channelTo, noteChannelDataSent, peerOf, rebindDue } from "./relay-channels.ts";
import type { RelayClient, RelayClientOptions, RelayCredentials } from "./relay-client-face.ts";
import { activeSocketOf, type RelayClientState, type RelayRequest } from "./relay-client-state.ts";
import { canSign, repeatRequests, sendDeletion, sendRequest } from "./relay-requests.ts";

export function createRelayClient(options: RelayClientOptions): RelayClient {
  const state = createState(options);
  probe(state, options.now);
  return {
    ...createInputs(state),
    servers: options.servers,
    state: () => state.phase.kind,
    activeSocket: () => activeSocketOf(state),
    rttMs: () => state.rttMs,
    silentSince: () => silentSince(state),
    freeReason() {
      return state.phase.kind === "freed" && state.events.length === 0 ? state.phase.reason : undefined;
    },
    candidates: () => candidatesOf(state),
    ownsRelayed: (address) => relayedOf(state).some((own) => equalSocketAddress(own.address, address)),
    relayed: (addressBytes) =>
      relayedOf(state).find(({ address }) => address.address.length === addressBytes)?.address,
    pollTimeout: () => nextTimeout(state),
    pollTransmit: () => state.transmits.shift(),
    pollEvent: () => state.events.shift(),
  };
}

type Inputs = Pick<
  RelayClient,
  | "handleStun"
  | "bindChannel"
  | "channelTo"
  | "peerOf"
  | "noteChannelDataSent"
  | "refresh"
  | "checkAlive"
  | "verify"
  | "restart"
  | "renew"
  | "close"
  | "handleWallClock"
  | "handleTimeout"
>;

function createInputs(state: RelayClientState): Inputs {
  /** What was due before the input happens before it, what it made due after it. */
  function input<T>(now: Instant, change: () => T): T {
    advance(state, now);
    const result = change();
    advance(state, now);
    return result;
  }
  return {
    handleStun: (now, answer) => {
      // The answer first: it may have arrived just in time.
      const isOurs = handleAnswer(state, now, answer);
      advance(state, now);
      return isOurs;
    },
    bindChannel: (now, peer) => input(now, () => bindChannel(state, now, peer)),
    channelTo: (now, peer) => channelTo(state, now, peer),
    peerOf: (now, channel) => peerOf(state, now, channel),
    noteChannelDataSent: (now, channel) => noteChannelDataSent(state, now, channel),
    refresh: (now) => input(now, () => refresh(state, now)),
    checkAlive: (now) => input(now, () => checkAlive(state, now)),
    verify: (now) => input(now, () => verify(state, now)),
    restart: (now) => restart(state, now),
    renew: (now, credentials) => input(now, () => renew(state, now, credentials)),
    close: (now) => close(state, now),
    handleWallClock(now, unix) {
      state.unixOffsetMs = unix - now;
    },
    handleTimeout: (now) => advance(state, now),
  };
}

function createState(options: RelayClientOptions): RelayClientState {
  const log = options.log ?? SILENT;
  return {
    options,
    log: log.scope("turn"),
    wire: log.scope("wire.turn"),
    phase: { kind: "probing" },
    credentials: options.credentials,
    unixOffsetMs: options.unixNow - options.now,
    nonce: undefined,
    rttMs: undefined,
    requests: new Map(),
    shown: new Map(),
    channels: new Map(),
    channelOf: new Map(),
    nextChannel: CHANNEL_FIRST,
    rebindAt: undefined,
    buffered: new Map(),
    refused: new Map(),
    mismatches: 0,
    retryMs: RETRY_FIRST_MS,
    lastDataSentAt: undefined,
    lastReceivedAt: undefined,
    nuisances: new Map(),
    transmits: [],
    events: [],
  };
}

/** All that is due at `now`, each thing once (SN-122). */
function advance(state: RelayClientState, now: Instant): void {
  for (const request of repeatRequests(state, now)) handleSilence(state, request);
  const { phase } = state;
  switch (phase.kind) {
    case "allocating":
      if (phase.allocateAt !== undefined && now >= phase.allocateAt) allocate(state, now, phase.socket);
      return;
    case "active":
      return advanceActive(state, now, phase);
    case "suspended":
      if (phase.retryAt !== undefined && now >= phase.retryAt) allocate(state, now, phase.socket);
      return;
    case "probing":
    case "freed":
    case "closed":
      return;
  }
}

function advanceActive(
  state: RelayClientState,
  now: Instant,
  { socket, expiresAt, refreshAt, keepAliveAt }: Extract<RelayClientState["phase"], { kind: "active" }>,
): void {
  if (now >= expiresAt) {
    invalidate(state, "expired");
    return allocate(state, now, socket);
  }
  if (refreshAt !== undefined && now >= refreshAt) refreshAllocation(state, now, false);
  if (now >= keepAliveAt) keepAlive(state, now, keepAliveAt);
  rebindDue(state, now);
}

/** Traffic both ways shows that relay and NAT mapping are alive (RL-88). */
function keepAlive(state: RelayClientState, now: Instant, dueAt: Instant): void {
  const { phase, lastDataSentAt, lastReceivedAt } = state;
  if (phase.kind !== "active") return;
  const since = dueAt - KEEP_ALIVE_MS;
  state.phase = { ...phase, keepAliveAt: (now + KEEP_ALIVE_MS) as Instant };
  if ((lastDataSentAt ?? since) > since && (lastReceivedAt ?? since) > since) return;
  sendRequest(state, now, { purpose: { kind: "binding" }, to: phase.socket });
}

/** A keep-alive before its time; a request that is in flight asks as well. */
function checkAlive(state: RelayClientState, now: Instant): void {
  const socket = activeSocketOf(state);
  if (socket === undefined || silentSince(state) !== undefined) return;
  sendRequest(state, now, { purpose: { kind: "binding" }, to: socket });
}

function silentSince(state: RelayClientState): Instant | undefined {
  const socket = activeSocketOf(state);
  let first: Instant | undefined;
  for (const { to, madeAt } of state.requests.values()) {
    if (socket !== undefined && equalSocketAddress(to, socket)) first = earliest(first, madeAt);
  }
  const { lastReceivedAt } = state;
  if (first === undefined || lastReceivedAt === undefined) return first;
  return lastReceivedAt > first ? lastReceivedAt : first;
}

/** A request was never answered (RL-83). */
function handleSilence(state: RelayClientState, request: RelayRequest): void {
  const { phase, requests } = state;
  if (request.isQuestion) return;
  switch (phase.kind) {
    case "probing":
      if (requests.size === 0) free(state, "no-response");
      return;
    case "freed":
    case "closed":
      return;
    default:
      // The probe of the other family says nothing about the socket in use.
      if (request.to.address.length === phase.socket.address.length) free(state, "no-response");
  }
}

function refresh(state: RelayClientState, now: Instant): void {
  const { phase } = state;
  switch (phase.kind) {
    case "active":
      return refreshAllocation(state, now, true);
    case "suspended":
      probe(state, now);
      return allocate(state, now, phase.socket);
    case "probing":
    case "allocating":
    case "freed":
    case "closed":
      return;
  }
}

function verify(state: RelayClientState, now: Instant): void {
  const { phase, requests } = state;
  if (phase.kind !== "active") return;
  const isAsking = [...requests.values()].some(({ purpose }) => purpose.kind === "refresh");
  if (isAsking || !canSign(state, now)) return;
  for (const kind of ["binding", "refresh"] as const) {
    sendRequest(state, now, { purpose: { kind }, to: phase.socket, isQuestion: true });
  }
}

function restart(state: RelayClientState, now: Instant): void {
  if (state.phase.kind === "closed") return;
  invalidate(state, "restart");
  state.phase = { kind: "probing" };
  state.nonce = undefined;
  state.rttMs = undefined;
  state.requests.clear();
  state.shown.clear();
  state.buffered.clear();
  state.refused.clear();
  state.mismatches = 0;
  state.retryMs = RETRY_FIRST_MS;
  state.lastDataSentAt = undefined;
  state.lastReceivedAt = undefined;
  state.transmits.length = 0;
  probe(state, now);
}

/** RL-117: a relay of ours takes other credentials of the same user for the allocation that lives. */
function renew(state: RelayClientState, now: Instant, credentials: RelayCredentials): void {
  const { phase } = state;
  if (phase.kind === "closed") return;
  if (state.options.dialect === "rfc") {
    const deletion = phase.kind === "active" && canSign(state, now) ? phase.socket : undefined;
    if (deletion !== undefined) sendDeletion(state, deletion);
    const sent = state.transmits.splice(0);
    state.credentials = credentials;
    restart(state, now);
    state.transmits.unshift(...sent);
    return;
  }
  state.credentials = credentials;
  if (phase.kind === "active") refreshAllocation(state, now, true);
  else if (phase.kind === "suspended") allocate(state, now, phase.socket);
}

function close(state: RelayClientState, now: Instant): void {
  const socket = allocatedAt(state);
  invalidate(state, "closed");
  state.requests.clear();
  state.buffered.clear();
  if (socket !== undefined && canSign(state, now)) sendDeletion(state, socket);
  state.phase = { kind: "closed" };
}

/**
 * Where the relay has an allocation of ours, or makes one by the time our next datagram is there. Without a nonce it
 * has only been asked for one.
 */
function allocatedAt({ phase, requests }: RelayClientState): SocketAddress | undefined {
  switch (phase.kind) {
    case "active":
      return phase.socket;
    case "allocating": {
      const isAsked = [...requests.values()].some(
        ({ purpose, signature }) => purpose.kind === "allocate" && signature?.hasNonce === true,
      );
      return isAsked ? phase.socket : undefined;
    }
    case "probing":
    case "suspended":
    case "freed":
    case "closed":
      return undefined;
  }
}

function relayedOf({ phase }: RelayClientState) {
  return phase.kind === "active" ? phase.relayed : [];
}

function nextTimeout(state: RelayClientState): Instant | undefined {
  const { phase } = state;
  let first: Instant | undefined;
  for (const { dueAt } of state.requests.values()) first = earliest(first, dueAt);
  switch (phase.kind) {
    case "allocating":
      return earliest(first, phase.allocateAt);
    case "active":
      return earliest(first, phase.expiresAt, phase.refreshAt, phase.keepAliveAt, state.rebindAt);
    case "suspended":
      return earliest(first, phase.retryAt);
    case "probing":
    case "freed":
    case "closed":
      return first;
  }
}
