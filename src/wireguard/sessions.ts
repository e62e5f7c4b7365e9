/** Making, choosing and retiring sessions, and the packets that wait for one (section 4). */
import { copyOf, type Instant } from "../base/index.ts";
import {
  REJECT_AFTER_TIME_MS,
  SEND_MARGIN_MS,
  SESSIONS_PER_PEER,
  STAGED_MAX,
  WIPE_AFTER_MS,
} from "./constants.ts";
import { countDrop, type DeviceCore } from "./device-core.ts";
import { formatIndex } from "./messages.ts";
import { forget, type TransportKeys } from "./noise.ts";
import { hasSession, type Peer, type Session, usableSession } from "./peer.ts";
import type { WgDropReason } from "./reasons.ts";

/**
 * The receiver index of the next handshake (WG-13). Numbers are passed over while their place in the
 * ring holds the current session, so that a burst of handshakes never evicts the one in use.
 */
export function nextLocalIndex(peer: Peer): number {
  const inUse = peer.current === undefined ? -1 : peer.current.local % SESSIONS_PER_PEER;
  let number = (peer.lastNumber + 1) & 0xff;
  while (number % SESSIONS_PER_PEER === inUse || isPendingNumber(peer, number)) number = (number + 1) & 0xff;
  peer.lastNumber = number;
  return ((peer.ref.peerId << 8) | number) >>> 0;
}

function isPendingNumber({ attempt }: Peer, number: number): boolean {
  if (attempt.kind !== "pending") return false;
  return [attempt.latest, ...attempt.earlier].some(({ sender }) => (sender & 0xff) === number);
}

/** Puts a finished session into its place in the ring and into the plane (WG-13, WG-44, WG-52). */
export function installSession(
  core: DeviceCore,
  peer: Peer,
  now: Instant,
  made: {
    readonly local: number;
    readonly remote: number;
    readonly isInitiator: boolean;
    readonly keys: TransportKeys;
  },
): Session {
  const { local, remote, isInitiator, keys } = made;
  const place = local % SESSIONS_PER_PEER;
  const older = peer.sessions[place];
  if (older !== undefined) retireSession(core, peer, older);
  if (core.sessionCount >= core.sessionsMax) evictSession(core, peer);
  core.sessionCount++;

  const lifeMs = isInitiator ? REJECT_AFTER_TIME_MS - SEND_MARGIN_MS : REJECT_AFTER_TIME_MS;
  const session: Session = {
    local,
    remote,
    generation: core.nextGeneration++,
    isInitiator,
    madeAt: now,
    sendUntil: (now + lifeMs) as Instant,
    recvUntil: (now + REJECT_AFTER_TIME_MS) as Instant,
    sendKey: copyOf(keys.sendKey),
    isConfirmed: isInitiator,
    isFirst: !hasSession(peer),
    confirmations: { count: 0, lastAt: now },
    isExhausted: false,
    isInstalled: false,
    keepaliveAt: undefined,
  };
  peer.sessions[place] = session;
  peer.wipeAt = (now + WIPE_AFTER_MS) as Instant;
  core.commands.push({
    kind: "install",
    slot: peer.ref.slot,
    peerId: peer.ref.peerId,
    // The command's keys are its own: they are overwritten once it is carried out.
    session: { ...session, sendKey: keys.sendKey, receiveKey: keys.receiveKey },
  });
  peer.log.debug?.("session made", { index: formatIndex(local), isInitiator });
  return session;
}

/**
 * Makes room for a session of `peer` (WG-71). Peers with valid keys could fill the table with handshakes
 * that they never confirm: so the oldest unused session of whoever has most of them goes. With two per
 * peer on average, there is one to be found.
 */
function evictSession(core: DeviceCore, peer: Peer): void {
  let most = peer;
  for (const other of core.peers.all()) {
    if (spareSessions(other).length > spareSessions(most).length) most = other;
  }
  const [oldest] = spareSessions(most).sort((a, b) => a.generation - b.generation);
  if (oldest !== undefined) retireSession(core, most, oldest);
}

/** Those not used for sending. */
function spareSessions(peer: Peer): Session[] {
  return peer.sessions.flatMap((session) =>
    session === undefined || session === peer.current ? [] : [session],
  );
}

/** The session by which the peer is sent to from now on (WG-16). */
export function makeCurrent(core: DeviceCore, peer: Peer, now: Instant, session: Session): void {
  peer.current = session;
  peer.lastSessionWasOurs = session.isInitiator;
  peer.lastHandshakeAt = now;
  peer.wantsRekey = false;
  peer.dormantSince = 0;
  core.commands.push({ kind: "set-current", slot: peer.ref.slot, local: session.local });
}

export function retireSession(core: DeviceCore, peer: Peer, session: Session): void {
  peer.sessions[session.local % SESSIONS_PER_PEER] = undefined;
  if (peer.current === session) peer.current = undefined;
  session.sendKey.fill(0);
  core.sessionCount--;
  core.commands.push({ kind: "retire", slot: peer.ref.slot, local: session.local });
}

export function retireAllSessions(core: DeviceCore, peer: Peer): void {
  for (const session of peer.sessions) if (session !== undefined) retireSession(core, peer, session);
}

/** Ends a running or scheduled attempt and overwrites what it kept (WG-27). */
export function forgetAttempt(peer: Peer): void {
  if (peer.attempt.kind === "pending") {
    forget(peer.attempt.latest);
    for (const sent of peer.attempt.earlier) forget(sent);
  }
  if (peer.attempt.kind !== "expired") peer.attempt = { kind: "idle" };
}

/** Keeps a packet until there is a session; the oldest makes room (WG-18). */
export function stagePacket(core: DeviceCore, peer: Peer, packet: Uint8Array): void {
  if (peer.staged.length >= STAGED_MAX) {
    peer.staged.shift();
    countDrop(core, "wg_stage_overflow", peer);
  }
  peer.staged.push(packet);
}

/**
 * Sends the staged packets first and in order, then lets the plane go on by itself (WG-18, WG-46).
 * Does nothing while the peer cannot be sent to. Returns whether there were packets.
 */
export function flushStaged(core: DeviceCore, peer: Peer, now: Instant): boolean {
  if (!peer.isReachable || usableSession(peer, now) === undefined) return false;
  const packets = peer.staged;
  peer.staged = [];
  if (packets.length > 0) core.commands.push({ kind: "inject", slot: peer.ref.slot, packets });
  release(core, peer);
  return packets.length > 0;
}

/** Gives the staged packets up; the plane punts the next packet again. */
export function dropStaged(core: DeviceCore, peer: Peer, reason: WgDropReason): void {
  countDrop(core, reason, peer, peer.staged.length);
  peer.staged = [];
  release(core, peer);
}

function release(core: DeviceCore, peer: Peer): void {
  core.commands.push({ kind: "release", slot: peer.ref.slot, handled: peer.puntsHandled });
}
