/** Two planes back to back, in process: what one seals the other opens. */
import {
  createPlane,
  createPlaneMemory,
  type Plane,
  type PlaneMode,
  type PlaneOptions,
  type PlaneSend,
} from "../../../bindings/plane/index.ts";
import {
  concatBytes,
  createSeededRandom,
  type Instant,
  instant,
  ip,
  prefix,
  type SocketAddress,
} from "../../../src/base/index.ts";
import type { PathRecord, PolicyTables, SessionKeys } from "../../../src/plane/index.ts";
import { compileVariant, type VARIANTS } from "../crypto/modules.ts";

/** The variants, compiled once; those but `turbofan` make one-time keys in advance or differ in batches. */
const modules = new Map<string, WebAssembly.Module>();

export type TestPlaneOptions = Partial<Omit<PlaneOptions, "memory" | "module">> & {
  readonly variant?: (typeof VARIANTS)[number];
};

/** A plane whose memory the test sees. */
export function testPlane({ variant = "turbofan", ...options }: TestPlaneOptions = {}): Plane & {
  readonly memory: WebAssembly.Memory;
} {
  const module = modules.get(variant) ?? compileVariant(variant);
  modules.set(variant, module);
  const { memory } = createPlaneMemory();
  const flows = { random: createSeededRandom(1), capacity: 4096 };
  const given = { memory, module, mode: "plain", mtu: 1420, maxPeers: 16, flows, ...options } as const;
  return { memory, ...createPlane(given) };
}

export const NOW: Instant = instant(1_000_000);
export const A: SocketAddress = { address: ip("192.0.2.1"), port: 51820 };
export const B: SocketAddress = { address: ip("192.0.2.2"), port: 51821 };
/** Inner networks behind the two ends. */
export const NET_A = { v4: ip("10.1.0.1"), v6: ip("fd01::1") };
export const NET_B = { v4: ip("10.2.0.1"), v6: ip("fd02::1") };
export const PEER_A = 0x0a0a0a;
export const PEER_B = 0x0b0b0b;
export const SLOT = 3;

export function directPath(destination: SocketAddress, changes: Partial<PathRecord> = {}): PathRecord {
  return {
    kind: "direct",
    destination,
    headRoom: 0,
    isIdle: false,
    isBroken: false,
    generation: 1,
    ...changes,
  };
}

/** Session `number` between the two ends, as the initiator A sees it or as B does. */
export function sessionKeys(side: "a" | "b", number = 1, changes: Partial<SessionKeys> = {}): SessionKeys {
  const isA = side === "a";
  const toB = new Uint8Array(32).fill(number);
  const toA = new Uint8Array(32).fill(128 + number);
  const indexA = (PEER_B * 256 + number) >>> 0;
  const indexB = (PEER_A * 256 + number) >>> 0;
  return {
    local: isA ? indexA : indexB,
    remote: isA ? indexB : indexA,
    generation: number,
    isInitiator: isA,
    sendKey: isA ? toB : toA,
    receiveKey: isA ? toA : toB,
    sendUntil: instant(NOW + 170_000),
    recvUntil: instant(NOW + 180_000),
    ...changes,
  };
}

export const POLICIES: Record<"a" | "b", PolicyTables> = {
  a: {
    routes: [
      { prefix: prefix("10.2.0.0/16"), target: { kind: "peer", slot: SLOT } },
      { prefix: prefix("fd02::/16"), target: { kind: "peer", slot: SLOT } },
    ],
    permits: [],
  },
  b: {
    routes: [
      { prefix: prefix("10.1.0.0/16"), target: { kind: "peer", slot: SLOT } },
      { prefix: prefix("fd01::/16"), target: { kind: "peer", slot: SLOT } },
    ],
    permits: [],
  },
};

export interface Pair {
  readonly a: Plane;
  readonly b: Plane;
}

export interface PairOptions extends TestPlaneOptions {
  /** The path of both ends is relayed through this relay. */
  readonly relay?: { readonly address: SocketAddress; readonly channel: number };
  readonly modes?: { readonly a: PlaneMode; readonly b: PlaneMode };
  readonly session?: Partial<SessionKeys>;
  readonly sessionB?: Partial<SessionKeys>;
}

/** Both ends with one peer in `SLOT`, a path, a session and routes; A may send at once. */
export function createPair({ relay, session, sessionB, ...options }: PairOptions = {}): Pair {
  const a = testPlane(options);
  const b = testPlane(options);
  const path = (to: SocketAddress): PathRecord =>
    relay === undefined
      ? directPath(to)
      : directPath(relay.address, { kind: "relayed", channel: relay.channel, headRoom: 4 });
  if (relay !== undefined) {
    for (const plane of [a, b]) plane.execute({ kind: "set-relays", relays: [relay.address] });
  }
  a.execute({ kind: "add-peer", slot: SLOT, peerId: PEER_B });
  b.execute({ kind: "add-peer", slot: SLOT, peerId: PEER_A });
  a.execute({ kind: "set-path", slot: SLOT, path: path(B) });
  b.execute({ kind: "set-path", slot: SLOT, path: path(A) });
  install(a, "a", 1, session);
  install(b, "b", 1, sessionB ?? session);
  a.execute({ kind: "set-current", slot: SLOT, local: sessionKeys("a", 1).local });
  a.publish(POLICIES.a);
  b.publish(POLICIES.b);
  return { a, b };
}

export function install(plane: Plane, side: "a" | "b", number: number, changes?: Partial<SessionKeys>): void {
  const session = sessionKeys(side, number, changes);
  plane.execute({ kind: "install", slot: SLOT, peerId: side === "a" ? PEER_B : PEER_A, session });
}

/** A frame without offload: a zero virtio_net_hdr and the packet. */
export function plainFrame(packet: Uint8Array): Uint8Array<ArrayBuffer> {
  return concatBytes(new Uint8Array(10), packet);
}

/** Everything that a frame becomes, the open send included. */
export function sendAll(plane: Plane, frame: Uint8Array, now: Instant = NOW): readonly PlaneSend[] {
  return [...plane.drive.egress(now, frame), ...plane.drive.flushEgress(now)];
}

/** Everything that comes out of the other end, the frame under construction included. */
export function receiveAll(
  plane: Plane,
  sends: readonly PlaneSend[],
  {
    now = NOW,
    from = A,
    ecn,
  }: { readonly now?: Instant; readonly from?: SocketAddress; readonly ecn?: number } = {},
): readonly Uint8Array[] {
  const frames = sends.flatMap((send) => [
    ...plane.drive.ingress(now, {
      from,
      local: B.address,
      ecn: ecn ?? send.ecn,
      bytes: send.bytes,
      segmentBytes: send.segmentBytes,
    }),
  ]);
  return [...frames, ...plane.drive.flushIngress(now)];
}

/** A datagram by itself, as `recvmsg` without UDP_GRO brings it. */
export function receiveOne(
  plane: Plane,
  bytes: Uint8Array,
  now: Instant = NOW,
  from = A,
): readonly Uint8Array[] {
  return [...plane.drive.ingress(now, { from, local: B.address, bytes }), ...plane.drive.flushIngress(now)];
}

/** A STUN header: the cheapest datagram that control gets without limit (PG-51). */
export const STUN_HEADER = Uint8Array.from([0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, ...new Uint8Array(12)]);

/** The datagrams of a send. */
export function datagramsOf({ bytes, segmentBytes }: PlaneSend): readonly Uint8Array[] {
  const datagrams: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += segmentBytes) datagrams.push(bytes.slice(at, at + segmentBytes));
  return datagrams;
}
