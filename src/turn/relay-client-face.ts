/** The face of a relay client (RL-119): the TURN client for one relay, as connections drive it. */
import type { Instant, IpAddress, Log, Random, SocketAddress, UnixMs } from "../base/index.ts";
import type { TurnMessage } from "./message.ts";

/** `strict`: relays announced by our portal. `rfc`: other TURN servers (RL-90). */
export type RelayDialect = "strict" | "rfc";

/** The relay's sockets: at least one. */
export interface RelayServers {
  readonly v4?: SocketAddress;
  readonly v6?: SocketAddress;
}

export interface RelayCredentials {
  readonly username: string;
  readonly password: string;
}

export interface RelayClientOptions {
  readonly servers: RelayServers;
  readonly credentials: RelayCredentials;
  readonly realm: string;
  readonly dialect: RelayDialect;
  /** Value of SOFTWARE. */
  readonly software: string;
  /** For transaction ids. */
  readonly random: Random;
  readonly now: Instant;
  /** Wall clock at `now`: credentials expire by it (RL-118). */
  readonly unixNow: UnixMs;
  /** Loopback addresses may be relayed addresses: for tests (RL-107). */
  readonly acceptsLoopback?: boolean;
  /** Carries the relay's id. */
  readonly log?: Log;
}

/** A candidate that the relay showed or allocated. */
export interface RelayCandidate {
  readonly kind: "host" | "srflx" | "relay";
  readonly address: SocketAddress;
  /** For `srflx` the host address behind it; otherwise the address itself. */
  readonly base: SocketAddress;
  /** The relay's socket that showed or allocated it. */
  readonly relay: IpAddress;
}

export type RelayClientEvent =
  | { readonly kind: "added"; readonly candidate: RelayCandidate }
  /** Relayed candidates only (RL-108). */
  | { readonly kind: "invalidated"; readonly candidate: RelayCandidate }
  /** The relay refuses to relay to that peer (RL-97). */
  | { readonly kind: "channel-failed"; readonly peer: SocketAddress };

/** Why a relay client does nothing more (RL-80). */
export type RelayFreeReason = "no-response" | "auth" | "realm" | "protocol";

export type RelayState = "probing" | "allocating" | "active" | "suspended" | "freed" | "closed";

/** To be sent from any local address of that family. */
export interface RelayTransmit {
  readonly to: SocketAddress;
  readonly datagram: Uint8Array;
}

export interface RelayClient {
  readonly servers: RelayServers;
  state(): RelayState;
  activeSocket(): SocketAddress | undefined;
  /** Smoothed round-trip time (RL-84). */
  rttMs(): number | undefined;
  /** Since when the active socket has sent nothing, while an answer is awaited from it. */
  silentSince(): Instant | undefined;
  /** Shown only after its events were taken (RL-81). */
  freeReason(): RelayFreeReason | undefined;
  /** Host, server-reflexive, relayed: at most one each per family. */
  candidates(): readonly RelayCandidate[];
  ownsRelayed(address: SocketAddress): boolean;
  /** Our address on the relay, of the family whose addresses have so many bytes. */
  relayed(addressBytes: number): SocketAddress | undefined;

  /** `message` is only read during the call. @returns whether it answers one of our requests */
  handleStun(now: Instant, answer: RelayAnswer): boolean;
  /** Idempotent and silent; queued until there is an allocation (RL-99). */
  bindChannel(now: Instant, peer: SocketAddress): void;
  /** The channel to that peer: bound, else in flight (RL-101). */
  channelTo(now: Instant, peer: SocketAddress): number | undefined;
  /** Whose data comes on that channel; notes that it came (RL-102, RL-103). */
  peerOf(now: Instant, channel: number): SocketAddress | undefined;
  noteChannelDataSent(now: Instant, channel: number): void;
  /** Asks whether the relay is there, with a request that gives up no sooner than others (RL-208). */
  checkAlive(now: Instant): void;
  /** One request with a deadline of 1 s: is the relay still there? (RL-89) */
  refresh(now: Instant): void;
  /**
   * Whether the allocation is still ours, and what the relay sees of us: a Binding request and the Refresh that
   * would be due later, with their repeats; silence says nothing. A NAT that has forgotten us made our socket another (RL-121).
   */
  verify(now: Instant): void;
  /** After a network reset: all is forgotten but the credentials (RL-116). */
  restart(now: Instant): void;
  renew(now: Instant, credentials: RelayCredentials): void;
  /** Withdraws the candidates and asks the relay, once, to delete the allocation, be it still being made (RL-113). */
  close(now: Instant): void;

  /** The time of day; it causes nothing by itself. */
  handleWallClock(now: Instant, unix: UnixMs): void;
  handleTimeout(now: Instant): void;
  /** Strictly after the last `now`. */
  pollTimeout(): Instant | undefined;
  pollTransmit(): RelayTransmit | undefined;
  pollEvent(): RelayClientEvent | undefined;
}

export interface RelayAnswer {
  readonly from: SocketAddress;
  /** The address on which it arrived: a host candidate (RL-107). */
  readonly local: SocketAddress;
  readonly message: TurnMessage;
}
