/**
 * The face of the WireGuard machine (WG-53). One device serves all peers of one static key.
 *
 * Drive it like every machine here (D-2), in this order after each input (SN-124, WG-52):
 *   1. `pollCommand` until `undefined`; each is carried out on the plane, and `handleCarriedOut` says so,
 *      before the next is polled;
 *   2. `pollTransmit` until `undefined`, when the plane has carried out all commands;
 *   3. `pollEvent` until `undefined`;
 *   4. `pollTimeout`; at that instant, or at any earlier wake-up, `handleTimeout`.
 */
import type { Instant, Log, LogFields, Parsed, Random, SocketAddress, UnixMs } from "../base/index.ts";
import type { PlaneCommand, PlaneEvent, PlaneRecords } from "../plane/index.ts";
import type { WgPolicy } from "./policy.ts";
import type { HandshakeCrypto } from "./primitives.ts";
import type { WgDropCounts, WgDropReason } from "./reasons.ts";

export interface WgDeviceOptions {
  readonly now: Instant;
  /** Unix time of `now`; stamps add monotonic time to it (WG-8). */
  readonly unixMs: UnixMs;
  /** X25519 private key, 32 bytes; without it the device is mute (plain mode before `wg set`). */
  readonly staticKey?: Uint8Array;
  readonly random: Random;
  readonly records: PlaneRecords;
  /** `createNodeCrypto` of `src/program`, or NOBLE_CRYPTO (D-18). */
  readonly crypto: HandshakeCrypto;
  readonly log?: Log;
  /** Rows of the plane's peer table. Default 1,024. */
  readonly peersMax?: number;
  /** Handshake messages per second before cookies are asked for (WG-31). Default 100. */
  readonly handshakeLimit?: number;
}

/** Names a peer: its dense row in the plane and its 24-bit id on the wire (WG-11, WG-12). */
export interface PeerRef {
  readonly slot: number;
  readonly peerId: number;
}

export interface PeerOptions {
  readonly publicKey: Uint8Array;
  readonly presharedKey?: Uint8Array;
  /** Persistent keepalive in milliseconds, 0 off; absent: as the policy says. */
  readonly keepaliveMs?: number;
  readonly policy: WgPolicy;
  /** Whether datagrams can be sent to it already. Default true; see `setReachable`. */
  readonly isReachable?: boolean;
  /** What every log line of the peer carries (WG-54). Default: the first 8 characters of its key. */
  readonly logFields?: LogFields;
}

export type AddPeerRefusal = "own-key" | "zero-dh" | "full";

/** A handshake message or cookie reply from the network. `source` is the peer's own address (WG-32). */
export interface HandshakeInput {
  readonly datagram: Uint8Array;
  readonly source?: SocketAddress;
  /** By which relay and channel it came; handed back with a cookie reply. */
  readonly relayed?: { readonly relay: SocketAddress; readonly channel: number };
  /** The plane has judged it: no cookie is asked for here (PG-160). */
  readonly isJudged?: boolean;
}

export type HandshakeOutcome =
  /** The message is authentic and from that peer; in plain mode the peer has roamed to its source. */
  | {
      readonly kind: "accepted";
      readonly peer: PeerRef;
      readonly message: "initiation" | "response" | "cookie-reply";
    }
  /** Under load: a cookie reply was queued, nothing else happened (WG-32). */
  | { readonly kind: "cookie-asked" }
  | { readonly kind: "dropped"; readonly reason: WgDropReason; readonly peer?: PeerRef };

export type WgTransmit =
  | {
      readonly kind: "initiation" | "response" | "keepalive";
      /** The caller knows the peer's path. */
      readonly peer: PeerRef;
      readonly datagram: Uint8Array;
      /** An initiation repeated for want of an answer: forget the local address (WG-62). */
      readonly isRetransmission: boolean;
    }
  | {
      readonly kind: "cookie-reply";
      readonly to: SocketAddress;
      readonly relayed?: { readonly relay: SocketAddress; readonly channel: number };
      readonly datagram: Uint8Array;
    };

export type WgEvent =
  /** We answered an initiation; the session is not confirmed yet (WG-23). */
  | { readonly kind: "answered"; readonly peer: PeerRef }
  /** A session can be used for sending (WG-26). `rttMs`, and `tookMs` from the first initiation, only as initiator. */
  | {
      readonly kind: "established";
      readonly peer: PeerRef;
      readonly isInitiator: boolean;
      readonly rttMs?: number;
      readonly tookMs?: number;
    }
  /** Tunnel mode: the peer is finished and ignores all but `removePeer` (WG-37 to WG-39). */
  | { readonly kind: "expired"; readonly peer: PeerRef; readonly reason: "no-response" | "no-session" }
  /** A response to our initiation, with a valid mac1, did not open: keys disagree (WG-24). */
  | {
      readonly kind: "handshake-failed";
      readonly peer: PeerRef;
      readonly reason: "undecryptable-response";
      readonly source?: SocketAddress;
    };

export interface WgPeerStats {
  /** When the current keys were agreed on or confirmed; `undefined`: never. */
  readonly lastHandshake: Instant | undefined;
  readonly txBytes: number;
  readonly rxBytes: number;
  /** Share of lost packets on the current session, 0 to 1 (WG-48). */
  readonly loss: number;
  readonly rttMs: number | undefined;
  readonly stagedPackets: number;
  readonly hasUsableSession: boolean;
  /** That are not retired. */
  readonly sessions: number;
  /** Drops of messages that were known to concern this peer (WG-72). */
  readonly drops: Readonly<Partial<WgDropCounts>>;
}

export interface WgDevice {
  /** Refuses our own key and a key with which Diffie-Hellman gives zeros (WG-6). */
  addPeer(now: Instant, options: PeerOptions): Parsed<PeerRef, AddPeerRefusal>;
  removePeer(now: Instant, peer: PeerRef): void;
  /** Overwrites every key; nothing else is to be asked of the device then (WG-69). */
  erase(): void;
  /** Retires every session and drops the peer with our new public key (WG-61). */
  setStaticKey(now: Instant, key: Uint8Array | undefined): void;
  /** Takes effect with the next handshake (WG-61, plain mode). */
  setPresharedKey(now: Instant, peer: PeerRef, key: Uint8Array | undefined): void;
  /** Turning it on where it was off sends a keepalive at once (WG-60). */
  setKeepalive(now: Instant, peer: PeerRef, keepaliveMs: number): void;
  /**
   * Whether the caller can send to the peer. While it cannot (no endpoint, no nominated pair, broken
   * path), packets are staged, and wishes for a handshake wait until it can.
   */
  setReachable(now: Instant, peer: PeerRef, isReachable: boolean): void;
  /** While the path is suspect, ICE decides whether the peer is gone, not the attempt clock (WG-37). */
  setPathSuspect(now: Instant, peer: PeerRef, isSuspect: boolean): void;
  /** Round trip of the path, where it was measured: first handshakes are repeated by it (WG-75). */
  setRoundTrip(peer: PeerRef, rttMs: number): void;
  /** Starts a handshake beside a living session (WG-21). `false`: pending, scheduled, or not allowed. */
  initiate(now: Instant, peer: PeerRef): boolean;
  /** A packet of our own for the peer: behind all that wait already. */
  send(now: Instant, peer: PeerRef, packet: Uint8Array): void;
  /** A packet the plane had no session for (WG-18). */
  handlePunt(now: Instant, peer: PeerRef, packet: Uint8Array): void;
  /** The caller has handled such a packet by itself: a release counts it (WG-46). */
  notePunt(peer: PeerRef): void;
  /** The plane has carried out a command of ours (WG-44, WG-50). Others are ignored. */
  handleCarriedOut(now: Instant, command: PlaneCommand): void;
  /** Never throws; changes no peer's state unless the message is authentic (WG-70). */
  handleHandshake(now: Instant, input: HandshakeInput): HandshakeOutcome;
  /** Takes `activity`, `confirmed` and `counter`; the others are the caller's. */
  handlePlaneEvent(now: Instant, event: PlaneEvent): void;
  /** The time of day, as often as the caller likes: stamps follow a clock that was put forward (WG-8). */
  handleWallClock(now: Instant, unix: UnixMs): void;
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
  /** What the deadline of `pollTimeout` is for, for logs. */
  timeoutReason(): string | undefined;
  pollTransmit(): WgTransmit | undefined;
  pollCommand(): PlaneCommand | undefined;
  pollEvent(): WgEvent | undefined;
  /** `undefined` without private key. */
  publicKey(): Uint8Array | undefined;
  /** The peer with that public key; of several, the one added last (WG-14). */
  peerByKey(publicKey: Uint8Array): PeerRef | undefined;
  /** Upper 24 bits of a receiver index (SN-102). */
  peerById(peerId: number): PeerRef | undefined;
  peerBySlot(slot: number): PeerRef | undefined;
  stats(peer: PeerRef): WgPeerStats;
  /** Drops of the whole device, by reason (WG-72). */
  drops(): Readonly<WgDropCounts>;
}
