/** What the plane reports about a peer's sessions (WG-50, WG-51). */
import type { Instant } from "../base/index.ts";
import type { PlaneEvent } from "../plane/index.ts";
import type { DeviceCore } from "./device-core.ts";
import type { Peer } from "./peer.ts";
import { reschedule } from "./scheduling.ts";
import { flushStaged, forgetAttempt, makeCurrent } from "./sessions.ts";

export function handlePlaneEvent(core: DeviceCore, now: Instant, event: PlaneEvent): void {
  if (event.kind !== "activity" && event.kind !== "confirmed" && event.kind !== "counter") return;
  const peer = core.peers.bySlot(event.slot);
  if (peer === undefined || peer.attempt.kind === "expired") return;
  if (event.kind === "activity") {
    peer.isWatchArmed = false;
    peer.lastWatchAt = now;
  } else if (event.kind === "confirmed") {
    confirm(core, peer, now, event.generation);
  } else if (event.kind === "counter") {
    noteLimit(peer, event.generation, event.limit);
  }
  reschedule(core, peer, now);
}

/** WG-16: the first packet on a session that we made as responder. */
function confirm(core: DeviceCore, peer: Peer, now: Instant, generation: number): void {
  const session = peer.sessions.find((candidate) => candidate?.generation === generation);
  if (session === undefined || session.isConfirmed) return;
  session.isConfirmed = true;
  if (peer.current !== undefined && peer.current.generation > generation) return;
  // A handshake that was only wished for has its answer; a running one goes on (WG-28).
  if (peer.attempt.kind === "scheduled") forgetAttempt(peer);
  makeCurrent(core, peer, now, session);
  flushStaged(core, peer, now);
  core.events.push({ kind: "established", peer: peer.ref, isInitiator: false });
}

/** WG-45, T7c. */
function noteLimit(peer: Peer, generation: number, limit: "rekey" | "reject"): void {
  const session = peer.sessions.find((candidate) => candidate?.generation === generation);
  if (session === undefined) return;
  if (limit === "reject") session.isExhausted = true;
  if (session === peer.current && session.isInitiator) peer.wantsRekey = true;
}
