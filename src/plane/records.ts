/** What control reads of the plane's shared records. */
import type { Instant } from "../base/index.ts";

/** The activity block of a peer (WG-41, WG-49): instants, 0 = never. */
export interface PeerActivity {
  readonly sentAny: number;
  readonly sentData: number;
  readonly recvAny: number;
  readonly recvData: number;
  /** First data packet sent since anything was received. */
  readonly unanswered: number;
  /** First data packet received since anything was sent. */
  readonly unreplied: number;
  readonly txPackets: number;
  readonly txBytes: number;
  readonly rxPackets: number;
  readonly rxBytes: number;
}

/** The block of a peer with which nothing has happened yet. */
export const NO_ACTIVITY: PeerActivity = {
  sentAny: 0,
  sentData: 0,
  recvAny: 0,
  recvData: 0,
  unanswered: 0,
  unreplied: 0,
  txPackets: 0,
  txBytes: 0,
  rxPackets: 0,
  rxBytes: 0,
};

/**
 * What machines read and stamp of the plane's shared records, at once and without waiting.
 * In production it is shared memory, in tests a plain object.
 */
export interface PlaneRecords {
  activity(slot: number): PeerActivity;
  /** Takes the next send counter of a session by atomic add; `undefined` at its limit (WG-45). */
  takeCounter(slot: number, local: number): bigint | undefined;
  /** Control itself sent a handshake message or keepalive of that many bytes (WG-41, WG-49). */
  noteSent(slot: number, now: Instant, bytes: number): void;
  /** Control itself received an authenticated handshake message (WG-41). */
  noteReceived(slot: number, now: Instant, bytes: number): void;
  /** Accepted packets and highest counter of a session, for the loss estimate (WG-48). */
  received(slot: number, local: number): { readonly packets: number; readonly highest: number } | undefined;
}
