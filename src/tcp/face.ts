/** The TCP of a host without a kernel, as its users see it (PG-126). */
import type { Instant, IpAddress, Random, SocketAddress } from "../base/index.ts";
import type { TcpProfile } from "./profile.ts";

export type TcpEvent =
  /** In either role, when the handshake is done. */
  | {
      readonly kind: "opened";
      readonly id: number;
      readonly local: SocketAddress;
      readonly remote: SocketAddress;
    }
  /** Part of a packet that was handed in; the application's to keep. `take` says when it is done with it. */
  | { readonly kind: "data"; readonly id: number; readonly bytes: Uint8Array }
  /** `send` takes more again. */
  | { readonly kind: "writable"; readonly id: number }
  /** The peer has no more to say. */
  | { readonly kind: "ended"; readonly id: number }
  /** An ICMP error about an open connection, which goes on (RFC 5461 §4). */
  | { readonly kind: "soft-error"; readonly id: number; readonly error: ConnectError }
  /** Nothing more comes of it. Whether something lingers in TIME-WAIT is nobody else's affair. */
  | { readonly kind: "closed"; readonly id: number; readonly reason: CloseReason };

/** How an attempt can fail at once (PG-124). */
export type ConnectError = "prohibited" | "refused" | "unreachable";

/** `refused`: a reset answered the SYN, too. */
export type CloseReason = "done" | "reset" | "timeout" | ConnectError;

/** What becomes of a SYN: `ignore` says nothing, so that the peer tries again. */
export type Admission = "accept" | "refuse" | "ignore";

export interface TcpHostOptions {
  readonly random: Random;
  /** Of the packets that are sent, IP header included; default 1,280. */
  readonly mtu?: number;
  /** Default `FULL_PROFILE`. */
  readonly profile?: TcpProfile;
  readonly admit: (local: SocketAddress, remote: SocketAddress) => Admission;
}

export interface ConnectOptions {
  /** How long the handshake may take; absent: as long as SYN is repeated. */
  readonly timeoutMs?: number;
  readonly keepAliveMs?: number;
}

/**
 * A pure machine. After every input the caller drains `pollEvent` and `pollFrame` (or `pollPacket`), and obeys
 * `pollTimeout`. Segments are made when they are polled: whoever answers events first saves acknowledgements.
 */
export interface TcpHost {
  /**
   * A frame as the plane or a TUN device gives it: `virtio_net_hdr`, then a TCP/IP packet of up to 64 KiB. Its
   * checksum is verified unless the header says that this has been done or left to do. Any octets may come; what is
   * no TCP segment is counted and dropped.
   *
   * The frame is the machine's from here on: events and the queue of what came out of order are parts of it.
   */
  handleFrame(now: Instant, frame: Uint8Array): void;
  /** A bare packet, which becomes the machine's; its checksum is trusted, since it may be unfinished. */
  handlePacket(now: Instant, packet: Uint8Array): void;
  /** An ICMP error in an IP packet. @returns whether it is about a segment that is under way here */
  handleIcmp(now: Instant, packet: Uint8Array): boolean;
  /**
   * Writes the next frame into `into`, which has room for `FRAME_BYTES_MAX`: with up to 64 KiB of payload, the
   * size to split it at, and a checksum that is to be completed. @returns its length; 0: there is none
   */
  pollFrame(into: Uint8Array): number;
  /** The next packet, complete and no longer than the MTU, for those who have no plane. */
  pollPacket(): Uint8Array<ArrayBuffer> | undefined;

  /** With local port 0: from a random free one (RFC 6056). @returns `undefined` if there are too many already */
  connect(
    now: Instant,
    local: SocketAddress,
    remote: SocketAddress,
    options?: ConnectOptions,
  ): number | undefined;
  /**
   * Queues what the send buffer has room for. The octets are borrowed until they are acknowledged: nobody may change
   * them. @returns how many were taken; if not all, `writable` tells when there is room again
   */
  send(now: Instant, id: number, bytes: Uint8Array): number;
  /** The application has taken so many octets: the window opens again. */
  take(now: Instant, id: number, octets: number): void;
  /** No more is sent; what is queued still is, and reading goes on. */
  end(now: Instant, id: number): void;
  /** Resets the connection. */
  abort(now: Instant, id: number): void;
  /** Asks a silent peer from time to time whether it is still there; `undefined`: no more. */
  keepAlive(now: Instant, id: number, idleMs: number | undefined): void;

  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
  pollEvent(): TcpEvent | undefined;
  /** How many there are to a local address, opening and lingering ones included. */
  countAt(local: IpAddress): number;
  count(): number;
  counters(): TcpCounters;
}

/** What was dropped, and why; and what was sent again. */
export type TcpCounter =
  | "not_tcp"
  | "tcp_header"
  | "tcp_option"
  | "tcp_checksum"
  | "challenge_limit"
  | "old_timestamp"
  | "no_timestamp"
  | "out_of_order_full"
  | "half_open_limit"
  | "connection_limit"
  | "reply_limit"
  | "time_wait_reused"
  | "segments_in"
  | "segments_out"
  | "retransmitted";

export type TcpCounters = Readonly<Record<TcpCounter, number>>;
