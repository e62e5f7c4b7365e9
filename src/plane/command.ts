/**
 * What control tells the packet plane. `bindings/plane/plane.ts` carries the commands out on shared memory;
 * machines know only these types. The plane's twin in `test/twin/plane` obeys the same commands (SN-130).
 */
import type { Instant, IpAddress, SocketAddress } from "../base/index.ts";
import type { PeerPolicy, PolicyTables } from "./policy.ts";

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

/** What the plane checks handshake messages to us with, and makes cookies from (WG-22, WG-33). Copied. */
export interface HandshakeGuard {
  /** HASH(label of mac1 and our public key), 32 bytes. */
  readonly mac1Key: Uint8Array;
  /** HASH(label of cookies and our public key), 32 bytes. */
  readonly cookieKey: Uint8Array;
  /** 32 random bytes, from which the secrets of all periods are made. */
  readonly secret: Uint8Array;
  /** 16 random bytes: the beginning of the nonces of cookie replies. */
  readonly nonce: Uint8Array;
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
  /** Largest IP packet, in bytes, that the path carries in one datagram as a whole; absent: no limit (TN-108). */
  readonly mtu?: number;
  /** What is longer, and whose sender cannot be told, goes to control as without session; it is cut up there (TN-121). */
  readonly isCutInside?: boolean;
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
  | { readonly kind: "arm-watch" | "hold"; readonly slot: number }
  /**
   * Clears the hold word, unless more packets of the peer were punted as `no-session` than control has
   * handled: those must go first (WG-46).
   */
  | {
      readonly kind: "release";
      readonly slot: number;
      /** `no-session` punts of this peer that control has handled, since `add-peer`. */
      readonly handled: number;
    }
  | { readonly kind: "set-path"; readonly slot: number; readonly path: PathRecord }
  /** Absent: the peer has nothing but what tables say. It ends with the peer, too. Takes effect at once. */
  | { readonly kind: "set-policy"; readonly slot: number; readonly policy?: PeerPolicy }
  | { readonly kind: "remove-peer"; readonly slot: number }
  /** Without a guard, because there is no key, handshake messages are not checked. */
  | { readonly kind: "set-guard"; readonly guard: HandshakeGuard | undefined }
  /** Who sent from there has proved to be a peer: handshakes from there have its share of control's time (PG-160). */
  | { readonly kind: "know-source"; readonly source: SocketAddress }
  /** The sockets of all relays in use, from which channel data is unwrapped (SN-128). Copied. */
  | { readonly kind: "set-relays"; readonly relays: readonly SocketAddress[] }
  | { readonly kind: "inject"; readonly slot: number; readonly packets: readonly Uint8Array[] };

/**
 * New policy tables. It is carried out when no worker judges by earlier ones any more, and control has
 * taken every packet that was punted by them.
 */
export interface Publication {
  readonly kind: "publish";
  readonly tables: PolicyTables;
}
