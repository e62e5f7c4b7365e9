/** Peers and their sessions as the twin keeps them (WG-11, WG-44, WG-46, WG-49). */
import { copyOf, type Instant } from "../../../src/base/index.ts";
import {
  NO_ACTIVITY,
  type PathRecord,
  type PeerActivity,
  type SessionKeys,
} from "../../../src/plane/index.ts";
import { createReplayWindow, type ReplayWindow } from "./replay-window.ts";
import { mayReport, report, type Worker } from "./worker.ts";

export interface TwinSession {
  readonly keys: SessionKeys;
  readonly window: ReplayWindow;
  sendCounter: bigint;
  /** Which of the message limits control has been told about (WG-45). */
  readonly reported: Set<"rekey" | "reject">;
}

export interface TwinPeer {
  readonly slot: number;
  readonly peerId: number;
  /** By place: the three low bits of the index (WG-11). */
  readonly sessions: Map<number, TwinSession>;
  current: TwinSession | undefined;
  path: PathRecord | undefined;
  /** Its packets go to control until control has released it (WG-46). */
  isHeld: boolean;
  /** The next data packet is reported (WG-50). */
  isWatched: boolean;
  /** The next data packet wakes control (SN-129). */
  isIdle: boolean;
  /** A report of roaming is on its way to control (WG-62). */
  isRoaming: boolean;
  /** When that was reported last. */
  roamedAt: number;
  /** The second in which the next two are counted: what control got of its packets in it (TN-14, TN-40). */
  puntWindow: number;
  handed: Handed;
  /** The same of packets to the peer, of which the other worker takes care (TN-78). */
  outWindow: number;
  handedOut: Handed;
  readonly activity: Mutable<PeerActivity>;
}

/** What control got in one second. */
type Handed = Record<"refusals" | "events" | "flows" | "errors", number>;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const SESSIONS_PER_PEER = 8;
const PER_SECOND: Handed = { refusals: 100, events: 100, flows: 4000, errors: 200 };
const NONE: Handed = { refusals: 0, events: 0, flows: 0, errors: 0 };

export function createPeer(slot: number, peerId: number): TwinPeer {
  return {
    slot,
    peerId,
    sessions: new Map(),
    current: undefined,
    path: undefined,
    isHeld: false,
    isWatched: false,
    isIdle: false,
    isRoaming: false,
    roamedAt: Number.NEGATIVE_INFINITY,
    puntWindow: 0,
    handed: { ...NONE },
    outWindow: 0,
    handedOut: { ...NONE },
    activity: { ...NO_ACTIVITY },
  };
}

export function sessionOf(peer: TwinPeer, local: number): TwinSession | undefined {
  const session = peer.sessions.get(local % SESSIONS_PER_PEER);
  return session?.keys.local === local ? session : undefined;
}

/** A session takes the place of the one that had it. */
export function install(peer: TwinPeer, keys: SessionKeys): void {
  const place = keys.local % SESSIONS_PER_PEER;
  if (peer.current === peer.sessions.get(place)) peer.current = undefined;
  peer.sessions.set(place, {
    keys: { ...keys, sendKey: copyOf(keys.sendKey), receiveKey: copyOf(keys.receiveKey) },
    window: createReplayWindow(),
    sendCounter: 0n,
    reported: new Set(),
  });
}

export function retire(peer: TwinPeer, local: number): void {
  const session = sessionOf(peer, local);
  if (session === undefined) return;
  if (peer.current === session) peer.current = undefined;
  peer.sessions.delete(local % SESSIONS_PER_PEER);
}

/** The session that sends, if the peer has one and a path that leads somewhere. */
export function usableSession({ path, current }: TwinPeer, now: Instant): TwinSession | undefined {
  if (path === undefined || path.kind === "none" || path.isBroken) return undefined;
  return current !== undefined && now < current.keys.sendUntil ? current : undefined;
}

/** Whether control is to see one more of the peer's packets of that kind in this second. */
export function mayHand(peer: TwinPeer, now: Instant, kind: keyof Handed): boolean {
  if (now - peer.puntWindow >= 1000) {
    peer.puntWindow = now;
    peer.handed = { ...NONE };
  }
  return take(peer.handed, kind);
}

/** Whether it is to see one more of the packets to the peer. */
export function mayHandOut(peer: TwinPeer, now: Instant, kind: "flows" | "errors"): boolean {
  if (now - peer.outWindow >= 1000) {
    peer.outWindow = now;
    peer.handedOut = { ...NONE };
  }
  return take(peer.handedOut, kind);
}

function take(handed: Handed, kind: keyof Handed): boolean {
  if (handed[kind] >= PER_SECOND[kind]) return false;
  handed[kind]++;
  return true;
}

/** The watch (WG-50) and the idle flag (SN-129): each fires once, until control sets it again. */
export function noteData(worker: Worker, peer: TwinPeer): void {
  const { slot, peerId } = peer;
  if (peer.isWatched && mayReport(worker)) {
    peer.isWatched = false;
    report(worker, { kind: "activity", slot }, peerId);
  }
  if (peer.isIdle && mayReport(worker)) {
    peer.isIdle = false;
    report(worker, { kind: "wake", slot }, peerId);
  }
}

/** One data packet left in a datagram of `bytes` bytes. */
export function stampSent({ activity }: TwinPeer, now: Instant, bytes: number): void {
  activity.sentAny = now;
  activity.sentData = now;
  if (activity.unanswered === 0) activity.unanswered = now;
  activity.unreplied = 0;
  activity.txPackets++;
  activity.txBytes += bytes;
}

/** Messages of `bytes` bytes came, `packets` of them with data. */
export function stampReceived({ activity }: TwinPeer, now: Instant, packets: number, bytes: number): void {
  activity.recvAny = now;
  activity.unanswered = 0;
  if (packets > 0) {
    activity.recvData = now;
    if (activity.unreplied === 0) activity.unreplied = now;
  }
  activity.rxPackets += packets;
  activity.rxBytes += bytes;
}
