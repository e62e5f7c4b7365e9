/**
 * The network of an end without a kernel (PG-122): what a TUN device's host would do with packets from the tunnel,
 * and the packets of its sockets. A pure machine; after every input the caller drains `pollPacket`, `pollEvent`.
 */
import type { Instant, IpAddress, Random, SocketAddress } from "../base/index.ts";
import type { Refusal } from "../packet/index.ts";
import type { CloseReason, ConnectError } from "../tcp/index.ts";

/** Why nobody was reached (PG-124). */
export type Unreached = ConnectError;

export type TcpEnd = CloseReason;

export type StackEvent =
  /** A router's: somebody wants a connection to `local`. It waits for `decide`. */
  | {
      readonly kind: "tcp-asked";
      readonly asked: number;
      readonly local: SocketAddress;
      readonly remote: SocketAddress;
    }
  /** What was asked is not wanted any more. */
  | { readonly kind: "tcp-forgotten"; readonly asked: number }
  | {
      readonly kind: "tcp-opened";
      readonly id: number;
      readonly local: SocketAddress;
      readonly remote: SocketAddress;
      /** Of a router's connections: what was asked. */
      readonly asked?: number;
    }
  /** `bytes` may lie in what was handed in last, if that was lent. */
  | { readonly kind: "tcp-data"; readonly id: number; readonly bytes: Uint8Array }
  | { readonly kind: "tcp-writable"; readonly id: number }
  | { readonly kind: "tcp-ended"; readonly id: number }
  | { readonly kind: "tcp-closed"; readonly id: number; readonly reason: TcpEnd }
  | {
      readonly kind: "datagram";
      readonly local: SocketAddress;
      readonly remote: SocketAddress;
      readonly bytes: Uint8Array<ArrayBuffer>;
      /** The packet, for a refusal; a router's only. */
      readonly packet?: Uint8Array;
    }
  /** A router's: an echo request to `local`; `packet` answers it when `echo` turns it round. */
  | { readonly kind: "echo-asked"; readonly local: IpAddress; readonly packet: Uint8Array<ArrayBuffer> }
  | { readonly kind: "echoed"; readonly ping: number }
  /** What was sent to `remote` by UDP, or as an echo request, met with an ICMP error. */
  | {
      readonly kind: "datagram-unreached";
      readonly local: SocketAddress;
      readonly remote: SocketAddress;
      readonly reason: Unreached;
    }
  | { readonly kind: "echo-unreached"; readonly ping: number; readonly reason: Unreached };

export interface StackOptions {
  readonly random: Random;
  /** A gateway's: packets to any address are for somebody behind it. */
  readonly isRouter: boolean;
}

export interface Stack {
  /** Our addresses in the tunnel. */
  configure(addresses: readonly IpAddress[]): void;
  /** A validated packet from the tunnel (TN-3), which becomes the stack's. */
  handlePacket(now: Instant, packet: Uint8Array): void;
  /** The same of TCP, with its virtio_net_hdr; it may be a super-frame. */
  handleTcpFrame(now: Instant, frame: Uint8Array): void;

  /** Opens a connection from one of our addresses; `undefined`: we have none of that family, or no port. */
  connect(now: Instant, remote: SocketAddress): number | undefined;
  /** Takes as much as the send buffer has room for, which it says; later `tcp-writable` tells of more. */
  send(now: Instant, id: number, bytes: Uint8Array): number;
  /** So many octets were taken by the application. */
  take(now: Instant, id: number, octets: number): void;
  end(now: Instant, id: number): void;
  /** Asks a silent peer whether it is still there; `undefined`: no more. */
  keepAlive(now: Instant, id: number, idleMs: number | undefined): void;
  abort(now: Instant, id: number): void;
  /** What becomes of `tcp-asked`. */
  decide(now: Instant, asked: number, answer: "accept" | "refuse" | Refusal): void;
  /** Takes connections to a port of ours, in both families: `tcp-opened` without `asked`. */
  listenTcp(port: number): void;
  /** Those that are open stay. */
  ignoreTcp(port: number): void;

  /** A port of ours for UDP, the same in both families; `undefined`: none is left. */
  bindUdp(port?: number): number | undefined;
  releaseUdp(port: number): void;
  /** In fragments, if it does not fit into a packet; `too-big`: it would not fit into 64 KiB. */
  sendUdp(local: SocketAddress, remote: SocketAddress, bytes: Uint8Array): "sent" | "too-big";
  /** An echo request; its number comes back by `echoed`. */
  ping(remote: IpAddress): number | undefined;
  forgetPing(ping: number): void;
  /** Answers an `echo-asked`. */
  echo(packet: Uint8Array): void;
  /** Answers a router's packet by an ICMP error. */
  refuse(packet: Uint8Array, refusal: Refusal): void;

  /** Our address of a family. */
  addressOf(family: 4 | 6): IpAddress | undefined;
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
  /** Writes the next frame with its virtio_net_hdr, up to 64 KiB of payload; returns its length, or 0 for none. */
  pollFrame(into: Uint8Array): number;
  /** The next packet, for those who have no plane. */
  pollPacket(): Uint8Array<ArrayBuffer> | undefined;
  pollEvent(): StackEvent | undefined;
  counters(): Readonly<Record<StackCounter, number>>;
}

export type StackCounter =
  | "stack_drop_malformed"
  | "stack_drop_protocol"
  | "stack_drop_fragment"
  | "stack_drop_asked_full";
