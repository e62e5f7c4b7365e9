/** Answers of the relay: whether they are believed, and what follows from them (RL-86, RL-91 to RL-98). */
import {
  copyOf,
  equalBytes,
  equalSocketAddress,
  formatSocketAddress,
  type Instant,
  toHex,
} from "../base/index.ts";
import { verifyIntegrity } from "../stun/index.ts";
import type { TurnFields } from "./attributes.ts";
import { NUISANCE_MS, REALM_BYTES_MAX, ROUNDS_MAX } from "./constants.ts";
import {
  activate,
  allocate,
  allocateAfterDeletion,
  free,
  handleMismatch,
  postponeRefresh,
  prolong,
  suspend,
  waitForCredentials,
} from "./relay-allocation.ts";
import { noteBinding, relayedCandidates } from "./relay-candidates.ts";
import { bufferPeer, noteBound, refusePeer } from "./relay-channels.ts";
import type { RelayAnswer } from "./relay-client-face.ts";
import { isTimeToWarn, type RelayClientState, type RelayRequest } from "./relay-client-state.ts";
import { canSign, methodOf, sendRequest } from "./relay-requests.ts";

/** A response that is none: attributes that must be understood and are not, or missing ones. */
const UNUSABLE = 0;

/** What an error answer leads to besides its code. */
interface Refusal {
  readonly code: number;
  readonly fields: TurnFields;
}

export function handleAnswer(state: RelayClientState, now: Instant, answer: RelayAnswer): boolean {
  const { frame, fields, unknownTypes, faultyTypes } = answer.message;
  const request = state.requests.get(toHex(frame.transactionId));
  const isAnswer = frame.class === "success" || frame.class === "error";
  if (request === undefined || !isAnswer || methodOf(request) !== frame.method) return false;
  if (!equalSocketAddress(answer.from, request.to)) return false;
  if (!isBelieved(state, request, answer)) {
    if (isTimeToWarn(state, now, "integrity", NUISANCE_MS)) {
      state.log.warn?.("answer without right integrity", { from: formatSocketAddress(answer.from) });
    }
    return true;
  }
  noteAnswer(state, now, request, answer);
  state.requests.delete(request.transaction);
  if (frame.class === "error") {
    handleRefusal(state, now, request, { code: fields.errorCode?.code ?? UNUSABLE, fields });
  } else if (
    unknownTypes.length > 0 ||
    faultyTypes.length > 0 ||
    !handleSuccess(state, now, request, answer)
  ) {
    handleRefusal(state, now, request, { code: UNUSABLE, fields });
  }
  return true;
}

/** A forger must not even end a request (RL-91). Binding is never signed; rfc servers sign no errors. */
function isBelieved({ options }: RelayClientState, request: RelayRequest, { message }: RelayAnswer): boolean {
  const { frame } = message;
  if (request.purpose.kind === "binding") return true;
  const isRequired = options.dialect === "strict" || frame.class === "success";
  const isSigned = frame.integrityOffset !== undefined;
  if (request.signature === undefined) return !isRequired;
  return isRequired || isSigned ? verifyIntegrity(frame, request.signature.key) : true;
}

function noteAnswer(state: RelayClientState, now: Instant, request: RelayRequest, answer: RelayAnswer): void {
  const { frame, fields } = answer.message;
  state.lastReceivedAt = now;
  const rttMs = request.sends === 1 ? now - request.sentAt : undefined;
  if (rttMs !== undefined) state.rttMs = state.rttMs === undefined ? rttMs : (7 * state.rttMs + rttMs) / 8;
  state.wire.debug?.("TURN response", {
    method: request.purpose.kind,
    class: frame.class,
    transaction: request.transaction,
    relay: formatSocketAddress(request.to),
    ...(fields.errorCode && { code: fields.errorCode.code }),
    ...(rttMs !== undefined && { rttMs }),
  });
}

/** @returns false if something is missing in it */
function handleSuccess(
  state: RelayClientState,
  now: Instant,
  request: RelayRequest,
  { message, local }: RelayAnswer,
): boolean {
  const { mappedAddress, relayedAddresses, lifetimeSeconds } = message.fields;
  const { purpose, sentAt } = request;
  switch (purpose.kind) {
    case "binding":
      if (mappedAddress === undefined) return false;
      noteBinding(state, { local, mapped: mappedAddress, relay: request.to });
      if (state.phase.kind === "probing") allocate(state, now, request.to);
      return true;
    case "allocate": {
      const relayed = relayedCandidates(state, relayedAddresses ?? [], request.to);
      if (relayed.length === 0 || lifetimeSeconds === undefined) return false;
      activate(state, now, { relayed, lifetimeSeconds, sentAt });
      return true;
    }
    case "refresh":
      if (lifetimeSeconds === undefined) return false;
      state.mismatches = 0;
      prolong(state, { lifetimeSeconds, sentAt });
      return true;
    case "delete":
      allocateAfterDeletion(state, now);
      return true;
    case "bind":
      state.mismatches = 0;
      noteBound(purpose.channel, now);
      return true;
  }
}

/** RL-97, in the order of its rows. */
function handleRefusal(state: RelayClientState, now: Instant, request: RelayRequest, refusal: Refusal): void {
  const { purpose } = request;
  const { code } = refusal;
  const { dialect } = state.options;
  if (code === 420) {
    const attributes = refusal.fields.unknownAttributes ?? [];
    state.log.warn?.("relay does not know attributes", {
      attributes: attributes.map((type) => type.toString(16)),
    });
    return free(state, "protocol");
  }
  if (purpose.kind === "binding") return handleBindingRefusal(state);
  const challenge = challengeOf(refusal);
  if (challenge !== undefined) return authenticate(state, now, request, challenge);
  switch (code) {
    case 437:
      if (purpose.kind === "delete") return allocateAfterDeletion(state, now);
      handleMismatch(state, now, purpose.kind === "allocate" ? "allocate" : "other");
      if (purpose.kind === "bind" && state.phase.kind === "allocating")
        bufferPeer(state, purpose.channel.peer);
      return;
    case 440:
    case 442:
      if (purpose.kind === "allocate") return free(state, "protocol");
      break;
    case 441:
      // coturn keeps a deleted allocation, and its user, for about a second.
      if (dialect === "rfc" && purpose.kind === "delete") break;
      return dialect === "strict" ? free(state, "auth") : suspend(state, now, "wrong credentials");
  }
  handleOtherRefusal(state, now, request, code);
}

function handleOtherRefusal(
  state: RelayClientState,
  now: Instant,
  { purpose }: RelayRequest,
  code: number,
): void {
  switch (purpose.kind) {
    case "allocate":
      return suspend(state, now, `answer ${code}`);
    case "refresh":
      return postponeRefresh(state, now);
    case "delete":
      return allocateAfterDeletion(state, now);
    case "bind":
      return refusePeer(state, now, purpose.channel);
    case "binding":
      return;
  }
}

/** It is there, but nothing can be learnt from it. */
function handleBindingRefusal(state: RelayClientState): void {
  const isProbed = [...state.requests.values()].some(({ purpose }) => purpose.kind === "binding");
  if (state.phase.kind === "probing" && !isProbed) free(state, "protocol");
}

interface Challenge {
  readonly code: 401 | 438;
  readonly realm: Uint8Array | undefined;
  readonly nonce: Uint8Array | undefined;
}

function challengeOf({ code, fields }: Refusal): Challenge | undefined {
  if (code !== 401 && code !== 438) return undefined;
  return { code, realm: fields.realm, nonce: fields.nonce };
}

/** RL-92: the same request once more with the relay's nonce, or the end of these credentials. */
function authenticate(
  state: RelayClientState,
  now: Instant,
  request: RelayRequest,
  challenge: Challenge,
): void {
  const { purpose, to, isOnDemand, isQuestion, signature } = request;
  const { realm, nonce } = challenge;
  // Credentials that were renewed meanwhile have not been refused yet.
  const isRefused = signature?.hasNonce === true && signature.credentials === state.credentials;
  if (challenge.code === 401 && isRefused) return free(state, "auth");
  if (nonce === undefined || nonce.length > REALM_BYTES_MAX) {
    return handleOtherRefusal(state, now, request, challenge.code);
  }
  const ours = new TextEncoder().encode(state.options.realm);
  if (realm === undefined || !equalBytes(realm, ours)) return free(state, "realm");
  if (request.rounds >= ROUNDS_MAX) return suspend(state, now, "authentication goes round in circles");
  state.nonce = copyOf(nonce);
  if (!canSign(state, now)) return waitForCredentials(state, to);
  sendRequest(state, now, { purpose, to, isOnDemand, isQuestion, rounds: request.rounds + 1 });
}
