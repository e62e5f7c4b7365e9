/** One connection between our TCP and the kernel's: what each of them sent, received and heard of its end. */
import { ip, type SocketAddress } from "../../src/base/index.ts";
import type { TcpEvent } from "../../src/tcp/index.ts";
import { createNamespace } from "../system/own-namespace.ts";
import {
  type KernelPeer,
  openTcpTun,
  type PeerReport,
  pattern,
  startPeer,
  type TcpTun,
  type TcpTunOptions,
} from "./tcp-tun.ts";

export const KERNEL = { 4: "10.9.0.1", 6: "fd09::1" } as const;
export const OURS = { 4: "10.9.0.2", 6: "fd09::2" } as const;
export const PORT = 5_000;
export const ROLES = ["we listen", "we connect"] as const;
const CHUNK_BYTES = 1 << 18;

/** Our side. */
export interface Ours {
  id: number | undefined;
  received: number;
  isRight: boolean;
  sent: number;
  /** Kinds of events but data; of `closed` its reason. */
  readonly events: string[];
  isClosed: boolean;
  /** False: the application does not read. */
  isReading: boolean;
  unread: number;
}

export interface Exchange {
  readonly role: (typeof ROLES)[number];
  readonly family?: 4 | 6;
  /** What the kernel's side does (`tcp-peer.mjs`). */
  readonly order: Readonly<Record<string, unknown>>;
  /** Octets of the pattern, then our end; absent: we end when the kernel has. */
  readonly toSend?: number;
  readonly options?: TcpTunOptions;
  readonly withinMs?: number;
  /** At every turn. */
  readonly during?: (ours: Ours) => void;
  /** Default: both sides have said what became of it. */
  readonly isOver?: (ours: Ours) => boolean;
}

/** A namespace with the kernel in it, and a device for each exchange. */
export function createMeeting() {
  const namespace = createNamespace();
  namespace.run("ip", "link", "set", "lo", "up");
  let tun: TcpTun | undefined;
  let peer: KernelPeer | undefined;
  const open = (options: TcpTunOptions = {}): TcpTun => {
    tun = openTcpTun(namespace, options);
    return tun;
  };
  const start = (order: Readonly<Record<string, unknown>>): KernelPeer => {
    peer = startPeer(namespace, order);
    return peer;
  };
  return {
    open,
    start,
    tun(): TcpTun {
      if (tun === undefined) throw new Error("no device yet");
      return tun;
    },
    /** Opens in one of the roles, and turns until it is over. */
    async exchange(of: Exchange): Promise<{ ours: Ours; theirs: PeerReport | undefined }> {
      const { role, family = 4, order, withinMs = 60_000 } = of;
      const device = open(of.options);
      const { ours, hear } = application(device, of.toSend);
      const here: SocketAddress = { address: ip(OURS[family]), port: 0 };
      const end =
        role === "we listen" ? { connect: [OURS[family], PORT] } : { listen: [KERNEL[family], PORT] };
      const other = start({ ...order, ...end });
      await device.run(other.isReady, hear, 10_000);
      if (role === "we connect") {
        device.host.connect(device.now(), here, { address: ip(KERNEL[family]), port: PORT });
      }
      const isDone = (): boolean => {
        of.during?.(ours);
        return of.isOver === undefined ? ours.isClosed && other.report() !== undefined : of.isOver(ours);
      };
      await device.run(isDone, hear, withinMs);
      return { ours, theirs: other.report() };
    },
    close(): void {
      peer?.stop();
      tun?.close();
      namespace.close();
    },
  };
}

function application(
  tun: TcpTun,
  toSend: number | undefined,
): { readonly ours: Ours; readonly hear: (event: TcpEvent) => void } {
  const ours: Ours = {
    ...{
      id: undefined,
      received: 0,
      isRight: true,
      sent: 0,
      events: [],
      isClosed: false,
      isReading: true,
      unread: 0,
    },
  };
  const more = (id: number): void => {
    if (toSend === undefined) return;
    while (ours.sent < toSend) {
      const bytes = pattern.patternAt(ours.sent, Math.min(CHUNK_BYTES, toSend - ours.sent));
      const taken = tun.host.send(tun.now(), id, bytes);
      ours.sent += taken;
      if (taken < bytes.length) return;
    }
    tun.host.end(tun.now(), id);
  };
  const hear = (event: TcpEvent): void => {
    if (event.kind === "data") {
      ours.isRight &&= pattern.isPattern(ours.received, event.bytes);
      ours.received += event.bytes.length;
      if (ours.isReading) tun.host.take(tun.now(), event.id, event.bytes.length);
      else ours.unread += event.bytes.length;
      return;
    }
    if (event.kind === "writable") return more(event.id);
    ours.events.push(event.kind === "closed" ? event.reason : event.kind);
    if (event.kind === "closed") ours.isClosed = true;
    if (event.kind === "opened") {
      ours.id = event.id;
      more(event.id);
    }
    if (event.kind === "ended" && toSend === undefined) tun.host.end(tun.now(), event.id);
  };
  return { ours, hear };
}
