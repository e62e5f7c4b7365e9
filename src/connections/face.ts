/**
 * The face of the connections: what the layer above (client, gateway) and the shell say to it and hear from it.
 *
 * The machine is sans-IO (D-2). After every call the caller drains `pollCommand`, `pollTransmit`,
 * `pollEvent`, each until it returns `undefined`, in this order, then reads `pollTimeout` (SN-124).
 */
import type { HistogramValue, Instant, IpAddress, Log, SocketAddress, UnixMs } from "../base/index.ts";
import type { IceCredentials, PairReport } from "../ice/index.ts";
import type {
  PeerActivity,
  PeerPolicy,
  PlaneCommand,
  PlaneEvent,
  PlaneRecords,
  PolicyTables,
  Publication,
} from "../plane/index.ts";
import type { RelayState } from "../turn/index.ts";
import type { HandshakeCrypto } from "../wireguard/index.ts";
import type { Cause } from "./causes.ts";
import type { NatSight } from "./nat-sight.ts";

export type ConnectionRole = "client" | "gateway";

export interface ConnectionRequest {
  /** The remote peer: a client names gateways (`gid`), a gateway clients (`cid`). */
  readonly id: string;
  /** Static public key of the peer, 32 bytes. */
  readonly remoteKey: Uint8Array;
  /** 32 bytes. */
  readonly presharedKey: Uint8Array;
  readonly localCredentials: IceCredentials;
  readonly remoteCredentials: IceCredentials;
}

/**
 * What became of an upsert (SN-68, SN-69). `slot` is the peer's row in the plane: routes and permits
 * name it. A replacement has a new slot; the old one is removed by a command before it.
 */
export type UpsertOutcome =
  | { readonly kind: "created" | "replaced" | "reused"; readonly slot: number }
  /** Nothing was changed: neither a relay nor an address of our own is known. */
  | { readonly kind: "no-relays" }
  /** Nothing was changed: credentials or keys are not usable (SN-13), or there is no room. */
  | { readonly kind: "bad-credentials" };

/** Why a connection has failed (SN-90 to SN-93). */
export type FailReason =
  | "ice-timeout"
  | "no-remote-candidates"
  | "no-local-candidates"
  | "wireguard-expired"
  | "handshake-decrypt";

/** A relay as the portal lists it: both its addresses as one, at least one of them. */
export interface RelayEntry {
  readonly id: string;
  readonly v4?: SocketAddress;
  readonly v6?: SocketAddress;
  readonly username: string;
  readonly password: string;
  readonly realm: string;
  /** Where it takes TURN over streams, the best first (RL-207). */
  readonly streams?: readonly StreamPlace[];
}

export interface StreamPlace {
  readonly transport: "tls" | "tcp";
  /** One per family, at least one. */
  readonly addresses: readonly SocketAddress[];
  /** With TLS: for which the certificate must be valid. */
  readonly name?: string;
}

/** What the shell does for streams. `relay` is the id by which the portal lists it. */
export type StreamRequest =
  | { readonly kind: "open"; readonly relay: string; readonly place: StreamPlace }
  | { readonly kind: "close"; readonly relay: string };

/** What became of it. */
export type StreamNews =
  /** `socket`: the bridge's (RL-210). */
  | { readonly kind: "opened"; readonly relay: string; readonly socket: SocketAddress }
  /** It could not be opened, or it is over. Not told of one that was closed on request. */
  | { readonly kind: "ended"; readonly relay: string; readonly reason: string };

export interface RelayUpdate {
  readonly remove: readonly string[];
  readonly add: readonly RelayEntry[];
}

/** A datagram as the shell received it. `local` is its true destination, never the wildcard (SN-16). */
export interface Datagram {
  readonly local: SocketAddress;
  readonly from: SocketAddress;
  readonly bytes: Uint8Array;
  /** Of a handshake message: the plane has judged it (PG-160). */
  readonly isJudged?: boolean;
  /** The plane has taken it out of channel data of that relay (SN-128). */
  readonly relayed?: { readonly relay: SocketAddress; readonly channel: number };
}

/** A datagram to send, from exactly `source` where it is given (SN-84, PG-61). ECN: Not-ECT. */
export interface ConnectionTransmit {
  readonly source?: IpAddress;
  readonly destination: SocketAddress;
  readonly bytes: Uint8Array;
  /** It goes whole or not at all: with DF, never in fragments (PG-43, SN-151). */
  readonly isWhole?: boolean;
}

/** For the layer above, in the order in which things happened. */
export type ConnectionEvent =
  /** Candidate text (SN-28) for the peer: collect per id while draining, send as one list. */
  | { readonly kind: "candidate-added"; readonly id: string; readonly candidate: string }
  | { readonly kind: "candidate-removed"; readonly id: string; readonly candidate: string }
  /** The first handshake is done (SN-105); raised once per connection. */
  | { readonly kind: "connection-established"; readonly id: string }
  /**
   * The connection is gone. A client forgets the gateway, and the next packet asks for access again; a
   * gateway keeps grants and peer state (SN-94).
   */
  | {
      readonly kind: "connection-failed";
      readonly id: string;
      readonly reason: FailReason;
      /** No data had passed for so long that it was idle. */
      readonly wasIdle: boolean;
      /** Until then somebody may wait for an answer, without sending anything (TN-106). */
      readonly awaitedUntil: Instant | undefined;
    }
  /** Closed by us or by a reset. */
  | { readonly kind: "connection-closed"; readonly id: string }
  /** A relay has answered for the first time since it was listed. */
  | { readonly kind: "relay-answered"; readonly relay: string }
  /** There were relays, and now there is none (SN-113). */
  | { readonly kind: "relays-exhausted" };

/** What the plane and the host shall do, in order. */
export type ConnectionCommand = PlaneCommand | Publication | WriteTun;

/** A packet for the host itself, such as an ICMP error (TN-89, SN-152). */
export interface WriteTun {
  readonly kind: "write-tun";
  readonly packet: Uint8Array;
}

export interface RouteOpening {
  readonly tables: PolicyTables;
  /** What waited for the route, in its order. */
  readonly packets: readonly Uint8Array[];
}

/** What became of a packet given to `sendPacket` or `handlePunt` (SN-96). */
export type SendOutcome = "queued" | "buffered" | "unknown-connection" | "tx-not-ready";

/** What became of a datagram (SN §5.7). `counter` names the reason of a drop. */
export type DatagramOutcome =
  | { readonly kind: "consumed" }
  | { readonly kind: "dropped"; readonly counter: ConnectionCounter }
  /** Neither STUN nor WireGuard: counted as `unknown_format`; the caller may report it. */
  | { readonly kind: "unknown-format" };

export type ConnectionCounter =
  | "stun_malformed"
  | "stun_bad_fingerprint"
  | "stun_bad_integrity"
  | "stun_unmatched"
  | "stun_unknown_interface"
  | "stun_role_conflict"
  | "unknown_format"
  | "unknown_connection"
  | "wg_rejected"
  | "candidate_skipped"
  | "candidate_over_limit"
  | "candidate_unknown_connection"
  | "late_relay_stun"
  | "late_channel_data"
  | "channel_unknown"
  | "tx_no_channel"
  | "tx_no_relay"
  | "ip_buffer_overflow"
  | "wg_buffer_overflow"
  | "tx_not_ready";

/** Which deadline `pollTimeout` names, for logs (SN-125). */
export type ConnectionTimeout =
  | "queued"
  | "ice"
  | "mtu"
  | "grace"
  | "candidates"
  | "idle"
  | "farewell"
  | "relay"
  | "stream"
  | "wireguard";

export type ConnectionState = "connecting" | "connected" | "idle";

/** What became of a connection, for those who watch (PG-112). Nothing depends on it. */
export interface ConnectionChange {
  readonly id: string;
  readonly state: ConnectionState | "failed" | "closed";
  readonly path: PathRoute | "none";
  readonly reason?: string;
  /** Of the first path: since the wish for the connection. */
  readonly tookMs?: number;
}

/** What became of a relay, for those who watch (PG-112). */
export interface RelayChange {
  /** As the portal lists it. */
  readonly id: string;
  readonly state: RelayState;
}

export interface ConnectionStats {
  readonly id: string;
  readonly slot: number;
  /** Upper 24 bits of its session indices (SN-67). */
  readonly connectionIndex: number;
  readonly state: ConnectionState;
  readonly path?: {
    readonly kind: PathKind;
    readonly route: PathRoute;
    readonly source: SocketAddress;
    readonly destination: SocketAddress;
    /** Largest IP packets, in bytes, that it carries whole: outside, up to what is needed, and inside. */
    readonly mtu: { readonly outside: number; readonly inside: number };
  };
  /** Round trip of the last answered check on the selected pair. */
  readonly rttMs?: number;
  /** STUN to the peer, directly and through relays (SN-136). */
  readonly stunBytesSent: number;
  readonly stunBytesRelayed: number;
  /** What was dropped of this connection alone: of its peer's checks, its candidates, its waiting packets. */
  readonly drops: Readonly<Partial<Record<ConnectionCounter, number>>>;
  /** The relay whose addresses it offers. */
  readonly relay?: string;
  readonly bufferedPackets: number;
  /** Instant of the last completed handshake. */
  readonly lastHandshake?: Instant;
  readonly createdAt: Instant;
  /** WireGuard sessions that are not retired. */
  readonly sessions: number;
  /** What the plane has counted and stamped of the peer. */
  readonly activity: PeerActivity;
}

/** As people are told: whether a relay carries it, and whether our own relay is reached by a stream. */
export type PathRoute = "direct" | "relayed" | "relayed-tls" | "relayed-tcp";

/** From us to the peer, each directly or through a relay (SN-83). */
export type PathKind = "peer-to-peer" | "peer-to-relay" | "relay-to-peer" | "relay-to-relay";

/** Why a connection goes as it does, or does not go (PG-190). */
export interface Explanation {
  readonly id: string;
  readonly state: ConnectionState | "failed";
  /** When it was made, or when it failed. */
  readonly since: Instant;
  readonly path: PathRoute | "none";
  readonly cause: Cause;
  /** One sentence that says why. */
  readonly sentence: string;
  /** What can be done; absent: nothing has to be. */
  readonly remedy?: string;
  /** Whether any datagram of the peer has arrived. */
  readonly hasUdpPassed: boolean;
  /** Of addresses that each end has told. */
  readonly ownFamilies: readonly (4 | 6)[];
  readonly peerFamilies: readonly (4 | 6)[];
  readonly ownNat: NatSight;
  readonly peerNat: NatSight;
  /** Best first, then those that were given up. */
  readonly pairs: readonly PairReport[];
  readonly relay?: RelayStats;
}

export interface ConnectionsStats {
  readonly counters: Readonly<Record<ConnectionCounter, number>>;
  readonly failures: Readonly<Record<FailReason, number>>;
  /** How WireGuard's handshakes ended. */
  readonly handshakes: Readonly<Record<"established" | "expired" | "undecryptable", number>>;
  /** How long ours took, from the first initiation on. */
  readonly handshakeMs: HistogramValue;
  readonly connections: readonly ConnectionStats[];
  readonly relays: readonly RelayStats[];
  /** Control bytes sent to all relays (SN-136). */
  readonly relayBytesSent: number;
}

export interface RelayStats {
  /** As the portal lists it. */
  readonly id: string;
  readonly transport: "udp" | "tls" | "tcp";
  readonly state: RelayState;
  /** The relay's socket in use, else the first that is listed. */
  readonly address: SocketAddress;
  readonly rttMs?: number;
}

/** All connections of one process (SN-66). Made by `createConnections`. */
export interface Connections {
  /** Static public key, 32 bytes; new after every `reset`. */
  publicKey(): Uint8Array;

  /** Creates, replaces or reuses the connection to a peer (SN-68, SN-69, SN-72). */
  upsertConnection(now: Instant, request: ConnectionRequest): UpsertOutcome;
  /** Whether an upsert would find the connection as it is asked for (SN-68). */
  wouldReuse(request: ConnectionRequest): boolean;
  /** Removes silently: no event, no goodbye (SN-108). Unknown ids are ignored. */
  removeConnection(now: Instant, removal: { readonly id: string; readonly reason: string }): void;
  /** Sends `goodbye` through the tunnel, best effort, and removes the connection (SN-106). */
  closeConnection(now: Instant, closing: { readonly id: string; readonly goodbye: Uint8Array }): void;
  closeAll(now: Instant, goodbye: Uint8Array): void;
  /** Network reset: a new key, no connections, no own addresses (SN-115). */
  reset(now: Instant): void;

  /** Each element is candidate text (SN-29); a faulty one is skipped and counted (SN-30). */
  addRemoteCandidates(now: Instant, id: string, candidates: readonly unknown[]): void;
  removeRemoteCandidates(now: Instant, id: string, candidates: readonly unknown[]): void;
  /** The texts to signal again after the portal was away, in SN-21 order. */
  localCandidates(id: string): readonly string[];
  /** The whole list of own addresses, each with the port of our socket of its family (SN-137). */
  updateHostAddresses(now: Instant, addresses: readonly SocketAddress[]): void;
  /** Relays that go and that come, as one step; those in neither list are asked whether they live (SN-109). */
  updateRelays(now: Instant, update: RelayUpdate): void;
  /** How a stream that `pollStream` asked for fares (RL-208). */
  handleStream(now: Instant, news: StreamNews): void;

  /** One datagram, or punt of kind `handshake`, `stun` or `other` (SN §5.7). */
  handleDatagram(now: Instant, datagram: Datagram): DatagramOutcome;
  handlePlaneEvent(now: Instant, event: PlaneEvent): void;
  /** A `no-session` punt of the plane: staged, or buffered until there is a path (SN-96, WG-18). */
  handlePunt(now: Instant, slot: number, packet: Uint8Array): SendOutcome;
  /** The plane has carried out a command, at once or, for a publication, when it is complete (SN-139). */
  handleCarriedOut(now: Instant, command: PlaneCommand | Publication): void;
  /** A packet of ours for the peer, behind all packets given before it. The machine keeps `packet`. */
  sendPacket(now: Instant, id: string, packet: Uint8Array): SendOutcome;

  /** The peer may be gone: its path is looked at, at once and fast (SN-142). */
  checkPath(now: Instant, id: string): void;
  /** This process stood still: each path is checked once, at once, and nothing else changes (SN-153). */
  checkAllPaths(now: Instant): void;
  /** New policy tables, in the order of all commands. */
  publish(now: Instant, tables: PolicyTables): void;
  /** What the peer in that slot may, by itself, in the same order; absent: nothing of its own any more. */
  setPolicy(now: Instant, slot: number, policy: PeerPolicy | undefined): void;
  /**
   * New policy tables by which packets go to the connection `id`, behind those that waited for them. The
   * machine keeps every packet of the peer in its order (SN-139).
   */
  openRoute(now: Instant, id: string, opening: RouteOpening): void;

  /** The time of day, for WireGuard's stamps (WG-8). It causes nothing by itself. */
  handleWallClock(now: Instant, unix: UnixMs): void;
  handleTimeout(now: Instant): void;
  /** Strictly after the last `now`, except that queued outputs are due at once (SN-121). */
  pollTimeout(): Instant | undefined;
  timeoutReason(): ConnectionTimeout | undefined;
  /** Carried out before the next is asked for; then `handleCarriedOut` says so. */
  pollCommand(): ConnectionCommand | undefined;
  pollTransmit(): ConnectionTransmit | undefined;
  pollEvent(): ConnectionEvent | undefined;
  /** Streams to open and close; none without `streams` in the options. */
  pollStream(): StreamRequest | undefined;

  /** Of every connection, and of those that have failed since and were not made anew. */
  explanations(): readonly Explanation[];
  /** The oldest change that nobody has taken; the newest 1,024 wait. */
  pollChange(): ConnectionChange | undefined;
  /** The same of relays. */
  pollRelayChange(): RelayChange | undefined;
  slotOf(id: string): number | undefined;
  connectionOf(slot: number): string | undefined;
  /** The largest packet that the path of this peer carries whole; `undefined`: there is no path (TN-108). */
  mtuOf(slot: number): number | undefined;
  /** The path of a connection; `undefined`: there is none. */
  pathShown(id: string): ConnectionStats["path"];
  stats(): ConnectionsStats;
}

/** How datagrams leave: to a peer, or to a relay, from an address of ours or whatever the kernel chooses. */
export interface PathWay {
  readonly source?: IpAddress;
  readonly destination: SocketAddress;
}

export interface ConnectionsOptions {
  readonly role: ConnectionRole;
  /** What is read of the plane: shared memory in production, the twin's records in tests. */
  readonly records: PlaneRecords;
  /**
   * The largest IP packet, in bytes, that the host's kernel would send whole from `source` to `destination` by
   * what it knows now; `undefined`: it does not say. Absent: nobody is asked (SN-150).
   */
  readonly pathMtu?: (way: PathWay) => number | undefined;
  /**
   * The kernel learns nothing from an ICMP error that is written to the TUN device: there is no such device, or the
   * sockets are bound to an interface (SN-152). So without `pathMtu`, too. Default false.
   */
  readonly isKernelDeaf?: boolean;
  /** Handshake cryptography (D-18). */
  readonly crypto: HandshakeCrypto;
  /** Rows of the plane's peer table; a connection more is refused. Default `TUNNEL_PEERS_MAX` of the role. */
  readonly connectionsMax?: number;
  /** 32 bytes from the system's generator: the source of all randomness of this machine (SN-66). */
  readonly seed: Uint8Array;
  readonly now: Instant;
  /** Wall clock at `now`, for WireGuard's time stamps (WG-8). */
  readonly unixNow: UnixMs;
  /** Which streams to relays may be opened where UDP does not pass. Absent: none (RL-207). */
  readonly streams?: "tls" | "tls-and-tcp";
  /** What relays are told of us, in SOFTWARE (RL-85). Default "postern". */
  readonly software?: string;
  readonly log?: Log;
}
