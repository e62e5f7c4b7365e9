/**
 * How peers come and go: from the upgrade to a socket, and what their leaving means (PT-70 to PT-75).
 */
import { after, equalBytes, fenced, formatIp, type Instant, randomBelow } from "../../base/index.ts";
import { CLOSE_REPLACED, type Topic } from "../protocol/index.ts";
import type { AdmissionResult, Admitted, Refusal, UpgradeRequest } from "./admission.ts";
import { type Core, count, pushToClient } from "./core.ts";
import { randomId } from "./ids.ts";
import type { TokenRecord } from "./model.ts";
import { peerFields } from "./names.ts";
import { noteTokenEnd, noteTokenEnds, type PortalState } from "./portal-state.ts";
import { limitOf, makeRoom } from "./quota.ts";
import { disconnect } from "./reconcile.ts";
import type { PeerSocket } from "./sockets.ts";
import type { PeerKind } from "./store.ts";
import type { StoredPeer } from "./stored-state.ts";

export type UpgradeVerdict =
  | { readonly ok: true; readonly socket: number; readonly kind: Topic }
  | { readonly ok: false; readonly refusal: Refusal };

/** They take five seconds, which is as long as a peer waits for its join (PT §3). */
const MAX_WAITING_JOINS = 5_000;
const MAX_SOCKETS_PER_TOKEN = 5_000;
/** Last-seen data reaches the disk this late (PT-115). */
const LAST_SEEN_DELAY_MS = 1_000;

const OVERLOADED: Refusal = { status: 503, code: "overloaded", retryAfterS: 10 };

export function admit(state: PortalState, now: Instant, request: UpgradeRequest): UpgradeVerdict {
  const { core } = state;
  const read = fenced(() => state.admission.check(now, core.clock.wallNow(now), core.model, request));
  if (!read.ok) {
    core.counters.inputErrors++;
    core.log.error?.("reading an upgrade failed; it is refused", { error: read.error });
    return { ok: false, refusal: { status: 500 } };
  }
  const result = read.value;
  if (!result.ok) logRefusal(core, request, result);
  const opened = result.ok ? openSocket(state, now, result.admitted) : result.refusal;
  if ("status" in opened) {
    count(core.counters.refusedUpgrades, opened.code ?? String(opened.status));
    return { ok: false, refusal: opened };
  }
  noteTokenEnd(state, opened);
  return { ok: true, socket: opened.id, kind: opened.kind };
}

/** Why a peer does not come in, without its token (PT-79). Repetitions are limited before (PT-72). */
function logRefusal(
  { log }: Core,
  { remote, path }: UpgradeRequest,
  { refusal, why, tokenName }: Extract<AdmissionResult, { ok: false }>,
): void {
  const { status, code, detail } = refusal;
  const fields = {
    address: formatIp(remote),
    path: path.slice(0, 64),
    status,
    code,
    why,
    detail,
    token: tokenName,
  };
  // Who asks too often would fill the log; a path that nobody serves is a scanner's.
  if (status === 400 || status === 401 || status === 403) log.info?.("peer refused", fields);
  else log.debug?.("peer refused", fields);
}

function openSocket(state: PortalState, now: Instant, admitted: Admitted): PeerSocket | Refusal {
  const { sockets, random } = state.core;
  const { kind, token } = admitted;
  if (sockets.countOfToken(token.hash) >= MAX_SOCKETS_PER_TOKEN) return OVERLOADED;
  if (kind === "client" && state.joins.size >= MAX_WAITING_JOINS) {
    // Random, so that a storm does not come back as one (PT-72).
    return { ...OVERLOADED, retryAfterS: 1 + randomBelow(random, 10) };
  }
  if (kind === "relay") {
    const { remote, addresses } = admitted;
    const of = { kind, peerId: randomId(random), token, remote, relayAddresses: addresses, needsRevision: 0 };
    return sockets.open(now, of);
  }
  const found = findOrCreate(state, now, admitted);
  if ("status" in found) return found;
  replaceOlder(state, now, kind, found.peer.id);
  const { remote } = admitted.introduction;
  return sockets.open(now, {
    kind,
    peerId: found.peer.id,
    token,
    remote,
    needsRevision: found.needsRevision,
  });
}

/** The device or gateway behind an introduction; a new one is recorded first (PT-71). */
function findOrCreate(
  { core, newDevices, deadlines }: PortalState,
  now: Instant,
  { kind, token, introduction }: Exclude<Admitted, { kind: "relay" }>,
): { readonly peer: StoredPeer; readonly needsRevision: number } | Refusal {
  const { store, log } = core;
  const known = store.find(kind, introduction.ownerId, introduction.externalId);
  if (known !== undefined) {
    deadlines.lastSeen ??= after(now, LAST_SEEN_DELAY_MS);
    if (kind === "gateway" && !equalBytes(known.publicKey, introduction.publicKey))
      core.newKeys.add(known.id);
    return { peer: store.update(kind, known.id, introduction) ?? known, needsRevision: 0 };
  }
  if (!newDevices.take(now, token.hash)) return { status: 503, code: "rate_limit", retryAfterS: 1 };
  if (!makeRoom(core, now, kind, token)) return tooMany(core, kind, token);
  const peer = store.create(kind, introduction);
  if (peer !== undefined) return { peer, needsRevision: store.commit() };
  log.error?.("no tunnel address is left");
  return OVERLOADED;
}

/** PT-77: every peer that the token may have is connected. */
function tooMany(core: Core, kind: PeerKind, token: TokenRecord): Refusal {
  const limit = limitOf(core, kind, token);
  const what = kind === "client" ? "devices" : "gateways";
  core.log.warn?.("a token has as many connected peers as it may", { kind, token: token.name, limit });
  return {
    status: 403,
    code: "too_many_devices",
    detail: `all ${limit} ${what} of this token are connected; end one, use another token, or raise the portal's limit`,
    retryAfterS: 60,
  };
}

/** The newer socket of a peer wins: else a half-open one would lock it out (PT-74). */
function replaceOlder(state: PortalState, now: Instant, kind: PeerKind, peerId: string): void {
  const { sockets, log } = state.core;
  const older = sockets.ofPeer(kind, peerId);
  if (older === undefined) return;
  if (!state.replacements.take(now, `${kind}|${peerId}`)) {
    state.core.counters.duplicateIds++;
    log.warn?.("two processes seem to use one identity", {
      audit: "duplicate_id",
      ...peerFields(state.core, older),
    });
  }
  state.core.sockets.close(older, CLOSE_REPLACED, "replaced");
  handleGone(state, now, older, "replaced");
}

export function closeSocket(
  state: PortalState,
  now: Instant,
  socket: PeerSocket,
  code: number,
  reason: string,
): void {
  state.core.sockets.close(socket, code, reason);
  handleGone(state, now, socket);
}

/** A socket that is no longer in the table; `replaced`: its peer comes back at once. */
export function handleGone(
  { core, flows, relays, deadlines, joins, waiting }: PortalState,
  now: Instant,
  socket: PeerSocket,
  how: "ended" | "replaced" = "ended",
): void {
  if (socket.kind === "gateway" && socket.stage === "ready") {
    flows.handleGatewayGone(now, socket.peerId);
    if (how === "ended") announceGatewayLeft(core, now, socket.peerId);
  }
  waiting.delete(socket);
  joins.forget(socket);
  relays.handleGone(now, socket);
  core.failures.delete(socket.peerId);
  if (socket.kind !== "relay") {
    core.store.noteSeen(socket.kind, socket.peerId, core.clock.wallNow(now));
    deadlines.lastSeen ??= after(now, LAST_SEEN_DELAY_MS);
  }
  if (socket.stage !== "open") core.log.info?.("peer left", peerFields(core, socket));
}

/** A gateway is ready. With another key it is a stranger to its clients, also where they missed its leaving. */
export function announceIfRekeyed(core: Core, now: Instant, gid: string): void {
  if (core.newKeys.delete(gid)) announceGatewayLeft(core, now, gid);
}

/** Whoever uses a gateway is told that it may be dead, and looks for itself (PT-94). */
function announceGatewayLeft(core: Core, now: Instant, gid: string): void {
  const { sockets, store, clock } = core;
  const cids = new Set(store.authorizations.ofGateway(gid, clock.wallNow(now)).map(({ cid }) => cid));
  for (const cid of cids) {
    const client = sockets.readyPeer("client", cid);
    if (client !== undefined) pushToClient(core, client, { kind: "gateway-left", gid });
  }
}

/** Ends the sockets of tokens that have expired (PT-93). */
export function endExpired(state: PortalState, now: Instant): void {
  const { sockets, clock } = state.core;
  const wallNow = clock.wallNow(now);
  for (const socket of [...sockets.all()]) {
    const { expiresAt } = socket.token;
    if (expiresAt === undefined || wallNow < expiresAt) continue;
    disconnect(state.core, socket);
    handleGone(state, now, socket);
  }
  noteTokenEnds(state);
}
