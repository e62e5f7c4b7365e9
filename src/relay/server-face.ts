/** How the relay's machine is driven (RL-74), and what it tells. */
import type { Instant, IpAddress, Log, Prefix, Random, SocketAddress, UnixMs } from "../base/index.ts";
import type { PortResult, RelayCommand } from "../plane/index.ts";

export interface TurnServerOptions {
  readonly now: Instant;
  readonly unixMs: UnixMs;
  readonly random: Random;
  readonly log: Log;
  /** What clients and peers see; at least one is there (RL-63). */
  readonly publicIp4?: IpAddress;
  readonly publicIp6?: IpAddress;
  readonly listenPort: number;
  /** Allocation ports, both ends included. */
  readonly ports: { readonly lowest: number; readonly highest: number };
  readonly realm: string;
  /** RL-6: the text from which the portal makes passwords. */
  readonly stampSecret: string;
  readonly policy: {
    readonly privatePeers: "auto" | "allow" | "deny";
    readonly deniedPeers: readonly Prefix[];
    readonly allowLoopbackPeers: boolean;
  };
  readonly limits: RelayLimits;
}

export interface RelayLimits {
  readonly allocationsMax: number;
  /** 0: no limit (RL-17). */
  readonly allocationsPerUser: number;
  readonly bindingsMax: number;
  readonly bindingsPerAllocation: number;
}

/** Why a datagram for control had no effect; the metric's name has `relay_` in front. */
export type RelayDrop =
  | "bad_source"
  | "malformed"
  | "not_request"
  | "send_indication"
  | "rate"
  | "unknown_method";

export interface RelayTransmit {
  readonly to: SocketAddress;
  /** The address of ours that was asked (RL-50); absent: the system chooses. */
  readonly from?: IpAddress;
  readonly datagram: Uint8Array;
}

export interface RelayStats {
  readonly allocations: number;
  /** Allocations whose sockets are being bound. */
  readonly pending: number;
  readonly reservations: number;
  readonly boundChannels: number;
  readonly coolingChannels: number;
  /** By `method success` or `method code`. */
  readonly responses: ReadonlyMap<string, number>;
  readonly drops: ReadonlyMap<RelayDrop, number>;
}

/** After every call the caller drains `pollCommand`, then `pollTransmit`, then reads `pollTimeout`. */
export interface TurnServer {
  /** A datagram of the listening sockets that is no ChannelData (RL-12). It is borrowed. */
  handleClient(now: Instant, input: ClientDatagram): void;
  /** How a `bind-port` ended: at once in production, at will in tests (RL-20). */
  handlePortBound(now: Instant, answer: { readonly token: number; readonly result: PortResult }): void;
  /** The time of day, by which credentials expire and nonces age. */
  handleWallClock(now: Instant, unix: UnixMs): void;
  /** A client of a stream cannot come back: what it had goes (RL-202). */
  handleStreamEnd(now: Instant, client: SocketAddress): void;
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
  pollCommand(): RelayCommand | undefined;
  pollTransmit(): RelayTransmit | undefined;
  /** From now on no allocations are made; what is there goes on (RL-73). */
  startDrain(now: Instant): void;
  stats(): RelayStats;
}

export interface ClientDatagram {
  readonly datagram: Uint8Array;
  readonly client: SocketAddress;
  readonly local?: IpAddress;
}
