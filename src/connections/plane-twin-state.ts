/** What the twin is made of (SN-130): tables, queues and policy, and how the policy judges. */
import { assert, contains, equalIp, type IpAddress, type SocketAddress } from "../base/index.ts";
import type { DataPunt, PeerPermits, PlaneEvent, PolicyTables, RouteTarget } from "../plane/index.ts";
import type { TwinPeer } from "./plane-twin-peer.ts";

export interface TwinTransmit {
  readonly slot: number;
  readonly source?: IpAddress;
  readonly destination: SocketAddress;
  readonly bytes: Uint8Array;
}

export interface TwinState {
  readonly isPlain: boolean;
  readonly rekeyAfterMessages: bigint;
  readonly rejectAfterMessages: bigint;
  readonly peers: Map<number, TwinPeer>;
  readonly slotsById: Map<number, number>;
  readonly transmits: TwinTransmit[];
  /** For the TUN device. */
  readonly packets: { readonly slot: number; readonly packet: Uint8Array }[];
  readonly events: PlaneEvent[];
  readonly punts: DataPunt[];
  readonly dropped: Record<string, number>;
  policy: PolicyTables;
  /** Publications so far, and those behind whose punts everything was taken. */
  inForce: number;
  published: number;
}

export function drop(twin: TwinState, reason: string): void {
  twin.dropped[reason] = (twin.dropped[reason] ?? 0) + 1;
}

export function peerOf(twin: TwinState, slot: number): TwinPeer {
  const peer = twin.peers.get(slot);
  assert(peer !== undefined, `command for the free slot ${slot}`);
  return peer;
}

/** The longest prefix decides; of two equal ones the later. */
export function routeOf(twin: TwinState, address: IpAddress): RouteTarget | undefined {
  let best: { readonly bits: number; readonly target: RouteTarget } | undefined;
  for (const { prefix, target } of twin.policy.routes) {
    if (contains(prefix, address) && (best === undefined || prefix.bits >= best.bits)) {
      best = { bits: prefix.bits, target };
    }
  }
  return best?.target;
}

/** TN-20, TN-38: true where the policy names no own addresses. */
export function isOwn(twin: TwinState, address: IpAddress): boolean {
  return (
    twin.policy.ownAddresses === undefined || twin.policy.ownAddresses.some((own) => equalIp(own, address))
  );
}

export function permitsOf(twin: TwinState, slot: number): PeerPermits | undefined {
  return twin.policy.permits.find((permits) => permits.slot === slot);
}
