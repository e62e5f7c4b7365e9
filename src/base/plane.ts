/**
 * What control and the packet plane say to each other. `bindings/plane.ts` carries the commands out
 * on shared memory and hands the events up; machines know only these types. The twin in
 * `src/connections/plane-twin.ts` obeys the same commands in TypeScript (SN-130).
 */
import type { Instant } from "./instant.ts";
import type { IpAddress, SocketAddress } from "./ip.ts";
import type { Prefix } from "./prefix.ts";

/** One WireGuard session as the plane needs it (WG-44). Keys are 32 bytes and are copied. */
export interface SessionKeys {
  /** Receiver index of packets to us: peer id << 8 | session number (WG-11). */
  readonly local: number;
  /** Receiver index of packets to the peer. */
  readonly remote: number;
  /** Rises per peer; the newest confirmed session sends (WG-16). */
  readonly generation: number;
  readonly isInitiator: boolean;
  readonly sendKey: Uint8Array;
  readonly receiveKey: Uint8Array;
  readonly sendUntil: Instant;
  readonly recvUntil: Instant;
}

/** How datagrams to a peer travel (SN-127). */
export interface PathRecord {
  readonly kind: "none" | "direct" | "relayed";
  /** Where datagrams are sent: the peer, or the relay. Absent exactly for kind `none`. */
  readonly destination?: SocketAddress;
  /** The fixed source address; absent: the kernel chooses. */
  readonly source?: IpAddress;
  /** TURN channel number of a relayed path. */
  readonly channel?: number;
  /** Bytes kept free in front of each message: 0 direct, 4 for channel data (D-7). */
  readonly headRoom: 0 | 4;
  /** The first data packet clears the flag and raises `wake` (SN-129). */
  readonly isIdle: boolean;
  /** Nothing is sent while the path is broken; packets are punted as without session. */
  readonly isBroken: boolean;
  readonly generation: number;
}

/** `slot` is the dense row of the peer in the plane's peer table; control assigns it. */
export type PlaneCommand =
  | { readonly kind: "add-peer"; readonly slot: number; readonly peerId: number }
  | {
      readonly kind: "install";
      readonly slot: number;
      readonly peerId: number;
      readonly session: SessionKeys;
    }
  | { readonly kind: "retire" | "set-current"; readonly slot: number; readonly local: number }
  | { readonly kind: "arm-watch" | "hold" | "release"; readonly slot: number }
  | { readonly kind: "set-path"; readonly slot: number; readonly path: PathRecord }
  | { readonly kind: "remove-peer"; readonly slot: number }
  | { readonly kind: "inject"; readonly slot: number; readonly packets: readonly Uint8Array[] };

/** What the control rings carry up (WG-51). Byte arrays are copies and belong to the receiver. */
export type PlaneEvent =
  | {
      readonly kind: "handshake" | "stun" | "other";
      readonly bytes: Uint8Array;
      readonly from: SocketAddress;
      /** The address on which it arrived; its port is the socket's. */
      readonly local: SocketAddress;
      readonly relayed?: { readonly relay: SocketAddress; readonly channel: number };
    }
  | { readonly kind: "activity" | "wake"; readonly slot: number }
  | { readonly kind: "confirmed"; readonly slot: number; readonly generation: number }
  | {
      readonly kind: "counter";
      readonly slot: number;
      readonly generation: number;
      readonly limit: "rekey" | "reject";
    }
  | {
      readonly kind: "roamed";
      readonly slot: number;
      readonly from: SocketAddress;
      readonly local: IpAddress;
    };

/** What the data rings carry up: packets that wait for a decision, in their order (TN-78). */
export type DataPunt =
  | { readonly reason: "no-session"; readonly slot: number; readonly packet: Uint8Array }
  | { readonly reason: "first"; readonly packet: Uint8Array }
  | { readonly reason: "refused"; readonly slot?: number; readonly packet: Uint8Array }
  | { readonly reason: "control-event"; readonly slot: number; readonly packet: Uint8Array };

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

/** What becomes of a packet whose destination lies in a route's prefix. */
export type RouteTarget =
  | { readonly kind: "peer"; readonly slot: number }
  /** Hand it to control as punt `first` (TN-28). */
  | { readonly kind: "punt" }
  /** Hand it to control as punt `refused`: it answers with ICMP (TN-12). */
  | { readonly kind: "refuse" }
  /** Drop it under this reason of `bindings/reasons.ts`, e.g. `not-a-peer` (TN-62). */
  | { readonly kind: "drop"; readonly reason: string };

export interface Route {
  readonly prefix: Prefix;
  readonly target: RouteTarget;
}

/**
 * What one peer's packets may be, besides its route (first-light policy).
 * Ingress: inner source in `sources` and inner destination in `destinations`.
 * Egress: inner source in `egressSources`. `undefined` means that this check does not apply.
 */
export interface PeerPermits {
  readonly slot: number;
  readonly sources: readonly Prefix[];
  readonly destinations?: readonly Prefix[];
  readonly egressSources?: readonly Prefix[];
  /** What happens to a packet with a wrong destination: `refused` punt, or a counted drop. */
  readonly refuseDestination: boolean;
}

/** The whole policy; it is built aside and published with one pointer swap (WG-58). */
export interface PolicyTables {
  /**
   * Our own tunnel addresses. On a client the source of every packet from the TUN device must be one
   * of them (`bad-source`, TN-20), and the destination of every packet from a gateway
   * (`bad-destination`, TN-38). Absent: neither is checked (`postern wg`, gateway).
   */
  readonly ownAddresses?: readonly IpAddress[];
  readonly routes: readonly Route[];
  readonly permits: readonly PeerPermits[];
}
