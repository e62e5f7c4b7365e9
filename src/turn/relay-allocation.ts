/** The life of an allocation: the phases of a relay client and what leads from one to the next (RL-80). */
import { after, formatSocketAddress, type Instant, type SocketAddress } from "../base/index.ts";
import {
  KEEP_ALIVE_MS,
  LIFETIME_LEAST_S,
  MISMATCH_WAITS_MS,
  RETRY_FIRST_MS,
  RETRY_LAST_MS,
  ROUNDS_MAX,
} from "./constants.ts";
import { bindBuffered, forgetChannels } from "./relay-channels.ts";
import type { RelayCandidate, RelayFreeReason } from "./relay-client-face.ts";
import { activeSocketOf, type RelayClientState } from "./relay-client-state.ts";
import { canSign, sendRequest } from "./relay-requests.ts";

/** A Binding request to every socket; the first answer decides (RL-80). */
export function probe(state: RelayClientState, now: Instant): void {
  const { v4, v6 } = state.options.servers;
  for (const to of [v4, v6]) {
    if (to !== undefined) sendRequest(state, now, { purpose: { kind: "binding" }, to });
  }
}

export function allocate(state: RelayClientState, now: Instant, socket: SocketAddress): void {
  if (!canSign(state, now)) return waitForCredentials(state, socket);
  state.phase = { kind: "allocating", socket, allocateAt: undefined };
  sendRequest(state, now, { purpose: { kind: "allocate" }, to: socket });
}

export interface Allocation {
  readonly relayed: readonly RelayCandidate[];
  readonly lifetimeSeconds: number;
  /** When the request was sent that the relay answered. */
  readonly sentAt: Instant;
}

export function activate(state: RelayClientState, now: Instant, allocation: Allocation): void {
  const socket = activeSocketOf(state);
  if (socket === undefined) return;
  const { relayed } = allocation;
  state.retryMs = RETRY_FIRST_MS;
  state.phase = {
    kind: "active",
    socket,
    relayed,
    keepAliveAt: after(now, KEEP_ALIVE_MS),
    ...lifeOf(allocation),
  };
  for (const candidate of relayed) state.events.push({ kind: "added", candidate });
  state.log.debug?.("relay allocation", {
    relayed: relayed.map(({ address }) => formatSocketAddress(address)),
    lifetimeSeconds: allocation.lifetimeSeconds,
  });
  bindBuffered(state, now);
}

/** A Refresh succeeded. */
export function prolong(state: RelayClientState, allocation: Omit<Allocation, "relayed">): void {
  if (state.phase.kind === "active") state.phase = { ...state.phase, ...lifeOf(allocation) };
}

function lifeOf({ lifetimeSeconds, sentAt }: Omit<Allocation, "relayed">): {
  readonly lifetimeMs: number;
  readonly expiresAt: Instant;
  readonly refreshAt: Instant;
} {
  const lifetimeMs = 1_000 * Math.max(LIFETIME_LEAST_S, lifetimeSeconds);
  return { lifetimeMs, expiresAt: after(sentAt, lifetimeMs), refreshAt: after(sentAt, lifetimeMs / 2) };
}

/** A Refresh was refused: once more at three quarters of the lifetime, then never (RL-87). */
export function postponeRefresh(state: RelayClientState, now: Instant): void {
  const { phase } = state;
  if (phase.kind !== "active" || phase.refreshAt !== undefined) return;
  const next = after(phase.expiresAt, -phase.lifetimeMs / 4);
  if (next > now) state.phase = { ...phase, refreshAt: next };
}

/** The Refresh that is due; without usable credentials there is none, and the allocation runs out (RL-118). */
export function refreshAllocation(state: RelayClientState, now: Instant, isOnDemand: boolean): void {
  const { phase } = state;
  if (phase.kind !== "active") return;
  const inFlight = [...state.requests.values()].filter(({ purpose }) => purpose.kind === "refresh");
  const isAsked = inFlight.some(
    ({ isOnDemand: is, signature }) => is && signature?.credentials === state.credentials,
  );
  if (isOnDemand && isAsked) return;
  for (const request of inFlight) state.requests.delete(request.transaction);
  state.phase = { ...phase, refreshAt: undefined };
  const isSigned = canSign(state, now);
  if (!isSigned && !isOnDemand) return;
  // Whether the relay is there at all can be asked without credentials.
  const purpose = { kind: isSigned ? "refresh" : "binding" } as const;
  sendRequest(state, now, { purpose, to: phase.socket, isOnDemand });
}

/**
 * The relay's idea of our allocation differs from ours (437): it is given up, deleted where the relay has
 * one, and made anew, after a while, because coturn keeps a deleted one for about a second (RL-97).
 */
export function handleMismatch(state: RelayClientState, now: Instant, answered: "allocate" | "other"): void {
  const socket = activeSocketOf(state);
  if (socket === undefined) return;
  if (++state.mismatches > ROUNDS_MAX) return suspend(state, now, "allocation mismatch");
  invalidate(state, "allocation mismatch");
  if (answered === "other") return allocate(state, now, socket);
  state.phase = { kind: "allocating", socket, allocateAt: undefined };
  sendRequest(state, now, { purpose: { kind: "delete" }, to: socket });
}

/** The old allocation is gone, or was not there. */
export function allocateAfterDeletion(state: RelayClientState, now: Instant): void {
  const { phase } = state;
  if (phase.kind !== "allocating") return;
  const waitMs = MISMATCH_WAITS_MS[state.mismatches - 1] ?? 0;
  if (waitMs === 0) return allocate(state, now, phase.socket);
  state.phase = { ...phase, allocateAt: after(now, waitMs) };
}

/** RL-98. What the phase is afterwards, the caller says. */
export function invalidate(state: RelayClientState, reason: string): void {
  const { phase, requests } = state;
  if (phase.kind === "active") {
    for (const candidate of phase.relayed) state.events.push({ kind: "invalidated", candidate });
    state.log.info?.("relay allocation lost", { reason });
  }
  forgetChannels(state);
  for (const { purpose, transaction } of [...requests.values()]) {
    if (purpose.kind !== "binding") requests.delete(transaction);
  }
}

/** The relay is there but refuses: it is asked again later (RL-81). */
export function suspend(state: RelayClientState, now: Instant, reason: string): void {
  const socket = activeSocketOf(state);
  if (socket === undefined) return;
  invalidate(state, reason);
  state.buffered.clear();
  state.log.info?.("relay suspended", { reason, retryMs: state.retryMs });
  state.phase = { kind: "suspended", socket, retryAt: after(now, state.retryMs) };
  state.retryMs = Math.min(2 * state.retryMs, RETRY_LAST_MS);
  state.mismatches = 0;
}

/** Expired credentials are not used: others will come (RL-118). */
export function waitForCredentials(state: RelayClientState, socket: SocketAddress): void {
  invalidate(state, "credentials expired");
  state.buffered.clear();
  state.log.info?.("relay suspended", { reason: "credentials expired" });
  state.phase = { kind: "suspended", socket, retryAt: undefined };
}

export function free(state: RelayClientState, reason: RelayFreeReason): void {
  invalidate(state, reason);
  state.requests.clear();
  state.buffered.clear();
  state.phase = { kind: "freed", reason };
  if (reason === "no-response") state.log.debug?.("relay freed", { reason });
  else state.log.warn?.("relay freed", { reason });
}
