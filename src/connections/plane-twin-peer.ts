/** The rows of the plane's twin: peers with their sessions and activity, and the transport message. */
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import type { Instant, IpAddress } from "../base/index.ts";
import {
  NO_ACTIVITY,
  type PathRecord,
  type PeerActivity,
  type PlaneEvent,
  type SessionKeys,
} from "../plane/index.ts";
import type { ReplayWindow } from "./replay-window.ts";

export const TRANSPORT_HEADER_BYTES = 16;
export const TAG_BYTES = 16;
const TYPE_TRANSPORT = 4;
const PAD_BYTES = 16;
const NOTHING = new Uint8Array(0);

export interface TwinSession extends SessionKeys {
  sendCounter: bigint;
  received: number;
  readonly window: ReplayWindow;
  isLimitReported: boolean;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export interface TwinPeer {
  readonly slot: number;
  readonly peerId: number;
  /** By local index. */
  readonly sessions: Map<number, TwinSession>;
  readonly activity: Mutable<PeerActivity>;
  current: TwinSession | undefined;
  path: PathRecord | undefined;
  isIdle: boolean;
  isHeld: boolean;
  /** Punts since the peer was added, and those that were taken. */
  punted: number;
  taken: number;
  isWatched: boolean;
  hasRoamed: boolean;
}

export function createTwinPeer(slot: number, peerId: number): TwinPeer {
  return {
    slot,
    peerId,
    sessions: new Map(),
    activity: noActivity(),
    current: undefined,
    path: undefined,
    isIdle: false,
    isHeld: false,
    punted: 0,
    taken: 0,
    isWatched: false,
    hasRoamed: false,
  };
}

export function noActivity(): Mutable<PeerActivity> {
  return { ...NO_ACTIVITY };
}

/** Stamps one sent message (WG-49); returns the events that it raises. */
export function noteSent(peer: TwinPeer, now: Instant, bytes: number, isData: boolean): PlaneEvent[] {
  const { activity } = peer;
  activity.sentAny = now;
  activity.unreplied = 0;
  activity.txPackets++;
  activity.txBytes += bytes;
  if (!isData) return [];
  activity.sentData = now;
  if (activity.unanswered === 0) activity.unanswered = now;
  return noteData(peer);
}

/** Stamps one received message, mirrored. */
export function noteReceived(peer: TwinPeer, now: Instant, bytes: number, isData: boolean): PlaneEvent[] {
  const { activity } = peer;
  activity.recvAny = now;
  activity.unanswered = 0;
  activity.rxPackets++;
  activity.rxBytes += bytes;
  if (!isData) return [];
  activity.recvData = now;
  if (activity.unreplied === 0) activity.unreplied = now;
  return noteData(peer);
}

/** The watch (WG-50) and the idle flag (SN-129): each fires once until control sets it again. */
function noteData(peer: TwinPeer): PlaneEvent[] {
  const events: PlaneEvent[] = [];
  if (peer.isWatched) events.push({ kind: "activity", slot: peer.slot });
  if (peer.isIdle) events.push({ kind: "wake", slot: peer.slot });
  peer.isWatched = false;
  peer.isIdle = false;
  return events;
}

export function sealMessage(session: TwinSession, counter: bigint, plaintext: Uint8Array): Uint8Array {
  const sealed = chacha20poly1305(session.sendKey, nonceOf(counter), NOTHING).encrypt(plaintext);
  const message = new Uint8Array(TRANSPORT_HEADER_BYTES + sealed.length);
  const view = new DataView(message.buffer);
  view.setUint32(0, TYPE_TRANSPORT, true);
  view.setUint32(4, session.remote, true);
  view.setBigUint64(8, counter, true);
  message.set(sealed, TRANSPORT_HEADER_BYTES);
  return message;
}

/** `undefined` when the tag is wrong. */
export function openMessage(
  session: TwinSession,
  counter: bigint,
  sealed: Uint8Array,
): Uint8Array | undefined {
  try {
    return chacha20poly1305(session.receiveKey, nonceOf(counter), NOTHING).decrypt(sealed);
  } catch {
    // noble reports a wrong tag by throwing.
    return undefined;
  }
}

function nonceOf(counter: bigint): Uint8Array {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setBigUint64(4, counter, true);
  return nonce;
}

/** Zero bytes up to a multiple of 16 (WG-9). */
export function padded(packet: Uint8Array): Uint8Array {
  const whole = new Uint8Array(Math.ceil(packet.length / PAD_BYTES) * PAD_BYTES);
  whole.set(packet);
  return whole;
}

/** Addresses and true length of an IP packet; `undefined` if it is none. Padding is not part of it. */
export function addressesOf(
  packet: Uint8Array,
): { readonly source: IpAddress; readonly destination: IpAddress; readonly lengthBytes: number } | undefined {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const version = (packet[0] ?? 0) >> 4;
  if (version === 4 && packet.length >= 20) {
    const lengthBytes = view.getUint16(2);
    if (lengthBytes < 20 || lengthBytes > packet.length) return undefined;
    return { source: packet.subarray(12, 16), destination: packet.subarray(16, 20), lengthBytes };
  }
  if (version === 6 && packet.length >= 40) {
    const lengthBytes = 40 + view.getUint16(4);
    if (lengthBytes > packet.length) return undefined;
    return { source: packet.subarray(8, 24), destination: packet.subarray(24, 40), lengthBytes };
  }
  return undefined;
}
