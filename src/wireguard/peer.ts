/** What the device knows about one peer. Only the functions of this room change it. */
import type { Instant, Log, QueueEntry } from "../base/index.ts";
import type { PeerActivity, PlaneRecords } from "../plane/index.ts";
import { SESSIONS_PER_PEER, WIPE_AFTER_MS } from "./constants.ts";
import type { PeerOptions, PeerRef } from "./device-face.ts";
import type { PendingInitiation, RemoteIdentity } from "./noise.ts";
import type { WgPolicy } from "./policy.ts";
import type { WgDropCounts } from "./reasons.ts";

export interface Session {
  /** Receiver index of packets to us; its lower 8 bits are the session number (WG-11). */
  readonly local: number;
  readonly remote: number;
  /** Rises per device, so an event about a removed peer never fits a session of its successor. */
  readonly generation: number;
  readonly isInitiator: boolean;
  readonly madeAt: Instant;
  readonly sendUntil: Instant;
  readonly recvUntil: Instant;
  /** Control seals keepalives itself; zeroed when the session is retired. */
  readonly sendKey: Uint8Array;
  /** As responder: whether a packet was received on it (WG-16). */
  isConfirmed: boolean;
  /** No other was alive when it was made: until it is confirmed the peer can send on none (WG-77). */
  readonly isFirst: boolean;
  /** As initiator: how often what confirms it was repeated, and when the last time (WG-77). */
  confirmations: { readonly count: number; readonly lastAt: Instant };
  /** The plane reported REJECT_AFTER_MESSAGES: nothing more can be sent on it (WG-45). */
  isExhausted: boolean;
  /** Whether the plane has the session. */
  isInstalled: boolean;
  /** When a keepalive was asked for that waits for the plane. */
  keepaliveAt: Instant | undefined;
}

export interface SentInitiation extends PendingInitiation {
  readonly sentAt: Instant;
}

/** Where a peer stands with handshakes of its own making. */
export type Attempt =
  | { readonly kind: "idle" }
  /** An initiation goes out at `at` (WG-34, WG-35), or as soon as the peer is reachable after it. */
  | { readonly kind: "scheduled"; readonly at: Instant; readonly cause: string }
  | {
      readonly kind: "pending";
      readonly startedAt: Instant;
      readonly retransmitAt: Instant;
      readonly latest: SentInitiation;
      /** Those before it that can still be answered, newest first (WG-25). */
      readonly earlier: readonly SentInitiation[];
      /** Initiations of this attempt so far. */
      readonly tries: number;
    }
  /** Tunnel mode: given up; only removal is left (WG-39). */
  | { readonly kind: "expired" };

/** The stamps exchanged with one public key; they outlive the peer (WG-8, WG-20). */
export interface StampMemory {
  received: Uint8Array | undefined;
  sent: Uint8Array | undefined;
}

/** Our last handshake message to the peer: a cookie reply must name it (WG-22, WG-30). */
export interface LastHandshakeMessage {
  readonly sender: number;
  readonly mac1: Uint8Array;
  readonly sentAt: Instant;
  hasCookieReply: boolean;
}

export interface Peer extends QueueEntry {
  readonly ref: PeerRef;
  readonly publicKey: Uint8Array;
  readonly policy: WgPolicy;
  readonly createdAt: Instant;
  readonly log: Log;
  readonly stamps: StampMemory;
  /** Indexed by session number mod 8 (WG-13). */
  readonly sessions: (Session | undefined)[];
  readonly drops: Partial<WgDropCounts>;
  remote: RemoteIdentity;
  /** Our own key has changed since: what both agree on is made anew when it is needed (WG-61). */
  isAgreementOld: boolean;
  presharedKey: Uint8Array | undefined;
  keepaliveMs: number;
  isReachable: boolean;
  isSuspect: boolean;
  /** Round trip of the path, as the caller measured it (WG-75). */
  pathRttMs: number | undefined;
  attempt: Attempt;
  current: Session | undefined;
  lastNumber: number;
  /** Whether the last session was made by us (T9). */
  lastSessionWasOurs: boolean;
  lastMessage: LastHandshakeMessage | undefined;
  lastConsumedAt: Instant | undefined;
  cookie: { readonly value: Uint8Array; readonly receivedAt: Instant } | undefined;
  /** When an initiation went early, because a cookie had come (WG-30). */
  cookieUsedAt: Instant | undefined;
  staged: Uint8Array[];
  /** `no-session` punts that were handled: a release names them (WG-46). */
  puntsHandled: number;
  /** What control itself sent and received last, until the plane's records show it. */
  sentAt: number;
  receivedAt: number;
  lastHandshakeAt: Instant | undefined;
  rttMs: number | undefined;
  /** T3; `undefined` once it has fired, until the next session. */
  wipeAt: Instant | undefined;
  /** When the last attempt was given up; data sent before it no longer counts for T8. */
  dormantSince: number;
  /** REKEY_AFTER_MESSAGES was reached (T7c). */
  wantsRekey: boolean;
  isWatchArmed: boolean;
  lastWatchAt: number;
  /** What the deadline in the queue is for. */
  dueReason: string;
}

export function createPeer(input: {
  readonly now: Instant;
  readonly ref: PeerRef;
  readonly options: PeerOptions;
  readonly remote: RemoteIdentity;
  readonly stamps: StampMemory;
  readonly log: Log;
}): Peer {
  const { now, ref, options, remote, stamps, log } = input;
  return {
    ref,
    publicKey: remote.publicKey,
    policy: options.policy,
    createdAt: now,
    log,
    stamps,
    sessions: new Array<Session | undefined>(SESSIONS_PER_PEER).fill(undefined),
    drops: {},
    remote,
    isAgreementOld: false,
    presharedKey: options.presharedKey,
    keepaliveMs: options.keepaliveMs ?? options.policy.keepaliveMs,
    isReachable: options.isReachable ?? true,
    isSuspect: false,
    pathRttMs: undefined,
    attempt: { kind: "idle" },
    current: undefined,
    lastNumber: 0,
    lastSessionWasOurs: false,
    lastMessage: undefined,
    lastConsumedAt: undefined,
    cookie: undefined,
    cookieUsedAt: undefined,
    staged: [],
    puntsHandled: 0,
    sentAt: 0,
    receivedAt: 0,
    lastHandshakeAt: undefined,
    rttMs: undefined,
    wipeAt: (now + WIPE_AFTER_MS) as Instant,
    dormantSince: 0,
    wantsRekey: false,
    isWatchArmed: false,
    lastWatchAt: 0,
    dueReason: "",
    dueAt: undefined,
    place: -1,
  };
}

/** The session to send on, if there is one (§1): current, young enough, counter not used up. */
export function usableSession(peer: Peer, now: Instant): Session | undefined {
  const { current } = peer;
  return current !== undefined && now < current.sendUntil && !current.isExhausted ? current : undefined;
}

export function hasSession(peer: Peer): boolean {
  return peer.sessions.some((session) => session !== undefined);
}

/**
 * The activity block (WG-41) with what control did and the records may not show yet. A value of the
 * plane stands unless control's own act came after it: then the wait it stands for is over.
 */
export function activityOf(records: PlaneRecords, peer: Peer): PeerActivity {
  const block = records.activity(peer.ref.slot);
  return {
    ...block,
    sentAny: Math.max(block.sentAny, peer.sentAt),
    recvAny: Math.max(block.recvAny, peer.receivedAt),
    unanswered: block.unanswered < peer.receivedAt ? 0 : block.unanswered,
    unreplied: block.unreplied < peer.sentAt ? 0 : block.unreplied,
  };
}
