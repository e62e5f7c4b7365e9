/**
 * How many devices or gateways one token may make the portal remember (PT-77). A bound against abuse, no
 * seat limit: whoever has been away longest makes room, and only where all are present is one refused.
 */
import type { Instant } from "../../base/index.ts";
import { announceEnd } from "./announce-end.ts";
import type { Core } from "./core.ts";
import type { TokenRecord } from "./model.ts";
import type { PeerKind } from "./store.ts";
import type { PeerFacts } from "./stored-state.ts";

export function limitOf({ model, limits }: Core, kind: PeerKind, token: TokenRecord): number | undefined {
  if (kind === "gateway") return limits.gateways;
  return model.actors.get(token.ownerId)?.type === "user" ? limits.userDevices : limits.serviceDevices;
}

/** Makes room for one more peer of this token; false if all that it has are present. */
export function makeRoom(core: Core, now: Instant, kind: PeerKind, token: TokenRecord): boolean {
  const limit = limitOf(core, kind, token);
  if (limit === undefined) return true;
  const peers = core.store.peers[kind];
  // More than one goes only after the limit was lowered.
  while (peers.countOfToken(token.hash) >= limit) {
    const oldest = longestAway(core, kind, token.hash);
    if (oldest === undefined) return false;
    forget(core, now, kind, oldest);
  }
  return true;
}

function longestAway({ store, sockets }: Core, kind: PeerKind, tokenHash: string): PeerFacts | undefined {
  const peers = store.peers[kind];
  let oldest: PeerFacts | undefined;
  for (const id of peers.ofToken(tokenHash)) {
    const peer = peers.facts(id);
    if (peer === undefined || sockets.ofPeer(kind, id) !== undefined) continue;
    if (oldest === undefined || peer.seenAt < oldest.seenAt) oldest = peer;
  }
  return oldest;
}

function forget(core: Core, now: Instant, kind: PeerKind, peer: PeerFacts): void {
  const { store, clock, log } = core;
  const { authorizations } = store;
  const records = kind === "client" ? authorizations.ofClient(peer.id) : authorizations.allOfGateway(peer.id);
  for (const record of records) authorizations.delete(record);
  for (const record of records) announceEnd(core, now, record);
  store.remove(kind, peer.id);
  core.newKeys.delete(peer.id);
  log.info?.("forgotten to make room for a new one of its token", {
    [kind === "client" ? "cid" : "gid"]: peer.id,
    name: peer.name,
    externalId: peer.externalId,
    unseenDays: Math.floor((clock.wallNow(now) - peer.seenAt) / 86_400_000),
  });
}
