/** What the parts of a relay client share: its phase, its requests in flight, its channels. */
import {
  formatSocketAddress,
  type Instant,
  type Log,
  type SocketAddress,
  type UnixMs,
  unixMs,
} from "../base/index.ts";
import type {
  RelayCandidate,
  RelayClientEvent,
  RelayClientOptions,
  RelayCredentials,
  RelayFreeReason,
  RelayTransmit,
} from "./relay-client-face.ts";

/** RL-80. `socket` is the active one: it stays until it fails. */
export type RelayPhase =
  | { readonly kind: "probing" }
  | {
      readonly kind: "allocating";
      readonly socket: SocketAddress;
      /** When an Allocate goes out that waits for the deletion of its predecessor (RL-97). */
      readonly allocateAt: Instant | undefined;
    }
  | {
      readonly kind: "active";
      readonly socket: SocketAddress;
      readonly relayed: readonly RelayCandidate[];
      readonly lifetimeMs: number;
      readonly expiresAt: Instant;
      /** `undefined` while a Refresh is in flight, or when none will be sent any more. */
      readonly refreshAt: Instant | undefined;
      readonly keepAliveAt: Instant;
    }
  | {
      readonly kind: "suspended";
      readonly socket: SocketAddress;
      /** `undefined`: it waits for other credentials (RL-118). */
      readonly retryAt: Instant | undefined;
    }
  | { readonly kind: "freed"; readonly reason: RelayFreeReason }
  | { readonly kind: "closed" };

export type RequestPurpose =
  | { readonly kind: "binding" | "allocate" | "refresh" | "delete" }
  | { readonly kind: "bind"; readonly channel: Channel };

/** A request in flight. */
export interface RelayRequest {
  readonly purpose: RequestPurpose;
  /** Transaction id in hexadecimal. */
  readonly transaction: string;
  readonly to: SocketAddress;
  readonly datagram: Uint8Array;
  /** One try within a second (RL-89). */
  readonly isOnDemand: boolean;
  /** Only its answer says something (RL-121). */
  readonly isQuestion: boolean;
  /** What it was signed with; absent: unsigned. */
  readonly signature: RequestSignature | undefined;
  /** How often it was repeated for the sake of authentication (RL-92). */
  readonly rounds: number;
  readonly madeAt: Instant;
  sends: number;
  /** The last time. */
  sentAt: Instant;
  dueAt: Instant;
}

export interface RequestSignature {
  readonly credentials: RelayCredentials;
  readonly key: Uint8Array;
  readonly hasNonce: boolean;
}

export interface Channel {
  readonly number: number;
  readonly peer: SocketAddress;
  /** Last sending of a ChannelBind: it lives for ten minutes from then (RL-102). */
  sentAt: Instant;
  /** Response to the last successful ChannelBind. */
  boundAt: Instant | undefined;
  /** A ChannelBind is in flight. */
  isBinding: boolean;
  /** Data was sent or received on it since it was bound. */
  isUsed: boolean;
}

export interface RelayClientState {
  readonly options: RelayClientOptions;
  readonly log: Log;
  /** Control messages, at DEBUG (RL-120, PG-103). */
  readonly wire: Log;
  phase: RelayPhase;
  credentials: RelayCredentials;
  /** Wall clock minus monotonic clock. */
  unixOffsetMs: number;
  /** The newest one, for all requests (RL-93). */
  nonce: Uint8Array | undefined;
  rttMs: number | undefined;
  /** By transaction, in the order in which they were made. */
  readonly requests: Map<string, RelayRequest>;
  /** Host and server-reflexive candidates, by kind and family. */
  readonly shown: Map<string, RelayCandidate>;
  readonly channels: Map<number, Channel>;
  readonly channelOf: Map<string, Channel>;
  /** The number to try next for a new channel. */
  nextChannel: number;
  /** When the first of the channels that are used must be bound again. */
  rebindAt: Instant | undefined;
  /** Peers that wait for an allocation, by text (RL-99). */
  readonly buffered: Map<string, SocketAddress>;
  /** Until when a refused peer is left alone, by text (RL-97). */
  readonly refused: Map<string, Instant>;
  /** Answers 437 since the relay last took a Refresh or ChannelBind. */
  mismatches: number;
  retryMs: number;
  lastDataSentAt: Instant | undefined;
  lastReceivedAt: Instant | undefined;
  /** When a nuisance was last logged, by its name. */
  readonly nuisances: Map<string, Instant>;
  readonly transmits: RelayTransmit[];
  readonly events: RelayClientEvent[];
}

/** The key under which peers are kept. */
export function peerKey(peer: SocketAddress): string {
  return formatSocketAddress(peer);
}

export function activeSocketOf({ phase }: RelayClientState): SocketAddress | undefined {
  return "socket" in phase ? phase.socket : undefined;
}

export function unixTime(state: RelayClientState, now: Instant): UnixMs {
  return unixMs(now + state.unixOffsetMs);
}

/** A WARN that comes at most once a minute (RL-91, RL-100). */
export function isTimeToWarn(
  state: RelayClientState,
  now: Instant,
  nuisance: string,
  pauseMs: number,
): boolean {
  const last = state.nuisances.get(nuisance);
  if (last !== undefined && now - last < pauseMs) return false;
  state.nuisances.set(nuisance, now);
  return true;
}
