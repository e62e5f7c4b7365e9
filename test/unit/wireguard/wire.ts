/**
 * Two or more WireGuard devices, each on a packet plane, joined by a wire in virtual time.
 *
 *   client ── device ── plane ──┐            ┌── plane ── device ── gateway
 *                               └── wire ────┘   (latency, loss by choice, a transcript)
 */
import {
  concatBytes,
  createSeededRandom,
  formatSocketAddress,
  type Instant,
  instant,
  ip,
  prefix,
  randomBytes,
  type SocketAddress,
  toPrefix,
  unixMs,
} from "../../../src/base/index.ts";
import type { PathRecord } from "../../../src/plane/index.ts";
import { createNodeCrypto } from "../../../src/program/crypto-node.ts";
import {
  CLIENT_POLICY,
  createWgDevice,
  GATEWAY_POLICY,
  type HandshakeCrypto,
  type HandshakeOutcome,
  type PeerRef,
  PLAIN_POLICY,
  type WgDevice,
  type WgEvent,
  type WgPolicy,
} from "../../../src/wireguard/index.ts";
import { finite, nextTurn } from "../../lib/bounds.ts";
import { DEFAULT_PLANE, type DrivenPlaneOptions } from "../../twin/driven-plane.ts";
import { createPolledPlane, type PolledPlane } from "../../twin/polled-plane.ts";

const nodeCrypto = createNodeCrypto();
/** As in the programs, but repeatable: new pairs come from the seed, too (D-2). */
export const crypto: HandshakeCrypto = {
  ...nodeCrypto,
  ephemeral: (random) => nodeCrypto.keyPair(randomBytes(random, 32)),
};
export const START = instant(1_000_000);
const UNIX_START = Date.UTC(2026, 0, 1);
const MESSAGE_KINDS = ["", "initiation", "response", "cookie-reply", "data"] as const;

export interface WireLine {
  /** Milliseconds since the start of the test. */
  readonly at: number;
  readonly from: string;
  readonly kind: string;
}

export interface EndOptions {
  readonly name: string;
  readonly address: string;
  readonly policy?: WgPolicy;
  readonly mode?: DrivenPlaneOptions["mode"];
  readonly limits?: DrivenPlaneOptions["limits"];
  readonly handshakeLimit?: number;
  readonly peersMax?: number;
}

export interface End {
  readonly name: string;
  readonly address: SocketAddress;
  /** The end's address in the tunnel. */
  readonly inner: Uint8Array;
  readonly device: WgDevice;
  readonly plane: PolledPlane;
  readonly events: WgEvent[];
  readonly received: string[];
  readonly outcomes: HandshakeOutcome[];
  readonly policy: WgPolicy;
  /** Sessions in the plane now, and the most at any time. */
  liveSessions: number;
  mostSessions: number;
  privateKey: Uint8Array;
  publicKey: Uint8Array;
}

interface Flight {
  readonly arrives: number;
  readonly from: End;
  readonly source: SocketAddress;
  readonly to: SocketAddress;
  readonly bytes: Uint8Array;
}

export interface World {
  now: Instant;
  /** Milliseconds from one end to the other. */
  latencyMs: number;
  /** Whether a datagram is lost. */
  loses: (line: WireLine, bytes: Uint8Array) => boolean;
  readonly transcript: WireLine[];
  readonly flights: Flight[];
  readonly ends: End[];
  /** Besides at their deadlines, looks at all machines every so many milliseconds. */
  tickMs: number | undefined;
  seed: number;
}

export function createWorld(seed = 1): World {
  return {
    now: START,
    latencyMs: 5,
    loses: () => false,
    transcript: [],
    flights: [],
    ends: [],
    tickMs: undefined,
    seed,
  };
}

export function addEnd(world: World, options: EndOptions): End {
  const random = createSeededRandom(world.seed + 977 * world.ends.length);
  const privateKey = randomBytes(random, 32);
  const policy = options.policy ?? PLAIN_POLICY;
  const { limits } = options;
  const plane = createPolledPlane(DEFAULT_PLANE, {
    mode: options.mode ?? "plain",
    ...(limits && { limits }),
  });
  const device = createWgDevice({
    now: world.now,
    unixMs: unixMs(UNIX_START + (world.now - START)),
    staticKey: privateKey,
    random,
    records: plane.records,
    crypto,
    ...(options.handshakeLimit !== undefined && { handshakeLimit: options.handshakeLimit }),
    ...(options.peersMax !== undefined && { peersMax: options.peersMax }),
  });
  const address = { address: ip(options.address), port: 51820 };
  const end: End = {
    name: options.name,
    address,
    inner: ip(`10.0.0.${world.ends.length + 1}`),
    device,
    plane,
    events: [],
    received: [],
    outcomes: [],
    policy,
    liveSessions: 0,
    mostSessions: 0,
    privateKey,
    publicKey: device.publicKey() ?? new Uint8Array(0),
  };
  world.ends.push(end);
  return end;
}

export interface JoinOptions {
  readonly presharedKey?: Uint8Array;
  readonly keepaliveMs?: number;
  readonly isReachable?: boolean;
}

/** Makes `to` a peer of `from`, with a path to it and a route for its inner address. */
export function addPeer(world: World, from: End, to: End, options: JoinOptions = {}): PeerRef {
  const added = from.device.addPeer(world.now, {
    publicKey: to.publicKey,
    policy: from.policy,
    ...options,
  });
  if (!added.ok) throw new Error(added.reason);
  route(from, to, added.value);
  settle(world);
  from.plane.execute(world.now, {
    kind: "set-path",
    slot: added.value.slot,
    path: directPath(to.address),
  });
  settle(world);
  return added.value;
}

const routes = new WeakMap<End, { readonly to: End; readonly peer: PeerRef }[]>();

function route(from: End, to: End, peer: PeerRef): void {
  const list = [...(routes.get(from) ?? []).filter((entry) => entry.to !== to), { to, peer }];
  routes.set(from, list);
  from.plane.publish({
    routes: list.map((entry) => ({
      prefix: toPrefix(entry.to.inner, 32),
      target: { kind: "peer", slot: entry.peer.slot },
    })),
    permits: list.map((entry) => ({
      slot: entry.peer.slot,
      sources: [prefix("0.0.0.0/0")],
      refuseDestination: false,
    })),
  });
}

export function directPath(destination: SocketAddress): PathRecord {
  return { kind: "direct", destination, headRoom: 0, isIdle: false, isBroken: false, generation: 1 };
}

/** Joins two ends both ways. */
export function join(world: World, a: End, b: End, options: JoinOptions = {}): { ab: PeerRef; ba: PeerRef } {
  const ba = addPeer(world, b, a, options);
  const ab = addPeer(world, a, b, options);
  return { ab, ba };
}

/** Two ends that know each other: `plain` peers, or a client and its gateway. */
export function pair(policies: "plain" | "tunnel" = "plain", options: JoinOptions & { seed?: number } = {}) {
  const world = createWorld(options.seed);
  const isTunnel = policies === "tunnel";
  const a = addEnd(world, {
    name: "a",
    address: "192.0.2.1",
    ...(isTunnel && { policy: CLIENT_POLICY, mode: "client" as const }),
  });
  const b = addEnd(world, {
    name: "b",
    address: "192.0.2.2",
    ...(isTunnel && { policy: GATEWAY_POLICY, mode: "gateway" as const }),
  });
  return { world, a, b, ...join(world, a, b, options) };
}

/** An IPv4/UDP packet whose payload is `text`. */
export function packetOf(from: End, to: End, text: string): Uint8Array {
  const payload = new TextEncoder().encode(text);
  const header = new Uint8Array(28);
  const view = new DataView(header.buffer);
  view.setUint8(0, 0x45);
  view.setUint16(2, 28 + payload.length);
  view.setUint8(8, 64);
  view.setUint8(9, 17);
  header.set(from.inner, 12);
  header.set(to.inner, 16);
  view.setUint16(20, 4000);
  view.setUint16(22, 4000);
  view.setUint16(24, 8 + payload.length);
  return concatBytes(header, payload);
}

export function send(world: World, from: End, to: End, text: string): void {
  from.plane.sendPacket(world.now, packetOf(from, to, text));
  settle(world);
}

/** Drains every end until nothing more comes, in the order of SN-124. */
export function settle(world: World): void {
  for (let quiet = false; !quiet; ) {
    quiet = true;
    for (const end of world.ends) if (drain(world, end)) quiet = false;
  }
}

function drain(world: World, end: End): boolean {
  const { device, plane } = end;
  const { now } = world;
  let didAnything = false;
  for (let event = plane.pollEvent(); event !== undefined; event = plane.pollEvent()) {
    didAnything = true;
    if (event.kind === "handshake") {
      end.outcomes.push(device.handleHandshake(now, { datagram: event.bytes, source: event.from }));
    } else {
      device.handlePlaneEvent(now, event);
    }
  }
  for (let punt = plane.pollPunt(); punt !== undefined; punt = plane.pollPunt()) {
    didAnything = true;
    const peer = punt.reason === "no-session" ? device.peerBySlot(punt.slot) : undefined;
    if (peer !== undefined) device.handlePunt(now, peer, punt.packet);
  }
  for (let command = device.pollCommand(); command !== undefined; command = device.pollCommand()) {
    didAnything = true;
    plane.execute(now, command);
    device.handleCarriedOut(now, command);
    if (command.kind === "install") end.liveSessions++;
    if (command.kind === "retire") end.liveSessions--;
    end.mostSessions = Math.max(end.mostSessions, end.liveSessions);
  }
  for (let transmit = device.pollTransmit(); transmit !== undefined; transmit = device.pollTransmit()) {
    didAnything = true;
    const to = transmit.kind === "cookie-reply" ? transmit.to : pathOf(world, end, transmit.peer);
    if (to !== undefined) launch(world, end, to, transmit.datagram);
  }
  for (let sealed = plane.pollTransmit(); sealed !== undefined; sealed = plane.pollTransmit()) {
    didAnything = true;
    launch(world, end, sealed.destination, sealed.bytes);
  }
  for (let event = device.pollEvent(); event !== undefined; event = device.pollEvent()) {
    didAnything = true;
    end.events.push(event);
  }
  for (let got = plane.pollPacket(); got !== undefined; got = plane.pollPacket()) {
    didAnything = true;
    end.received.push(new TextDecoder().decode(got.subarray(28)));
  }
  return didAnything;
}

function pathOf(_world: World, end: End, peer: PeerRef): SocketAddress | undefined {
  return (routes.get(end) ?? []).find((entry) => entry.peer.slot === peer.slot)?.to.address;
}

function launch(world: World, from: End, to: SocketAddress, bytes: Uint8Array): void {
  const named = MESSAGE_KINDS[bytes[0] ?? 0] ?? "other";
  const kind = named === "data" && bytes.length === 32 ? "keepalive" : named;
  const line = { at: world.now - START, from: from.name, kind };
  world.transcript.push(line);
  if (world.loses(line, bytes)) return;
  const flight = { arrives: world.now + world.latencyMs, from, source: from.address, to, bytes };
  world.flights.push(flight);
}

/** Lets time pass, doing everything on the way at its instant. */
export function advance(world: World, durationMs: number): void {
  const end = finite(world.now + durationMs, "the end of a wait");
  settle(world);
  let turns = 0;
  for (;;) {
    const next = nextWake(world);
    if (next === undefined || next > end) break;
    turns = next > world.now ? 0 : nextTurn(turns, `at ${next}`);
    wakeAt(world, next);
  }
  world.now = instant(end);
  for (const { device } of world.ends) {
    const due = device.pollTimeout();
    if (due !== undefined && due <= world.now) device.handleTimeout(world.now);
  }
  settle(world);
}

/** Everybody was suspended until `at`, and looks at the clock once. */
export function sleepUntil(world: World, at: number): void {
  world.now = instant(at);
  for (const { device } of world.ends) device.handleTimeout(world.now);
  settle(world);
}

function nextWake(world: World): number | undefined {
  const deadlines = world.flights.map((flight) => flight.arrives);
  if (world.tickMs !== undefined) {
    deadlines.push((Math.floor((world.now - START) / world.tickMs) + 1) * world.tickMs + START);
  }
  for (const { device } of world.ends) {
    const due = device.pollTimeout();
    if (due !== undefined) deadlines.push(finite(due, "a device's deadline"));
  }
  const next = Math.min(...deadlines);
  return Number.isFinite(next) ? next : undefined;
}

function wakeAt(world: World, at: number): void {
  if (at < world.now) throw new Error(`a wake-up in the past: ${at} at ${world.now}`);
  world.now = instant(at);
  const landed = world.flights.filter((flight) => flight.arrives <= at);
  for (const flight of landed) world.flights.splice(world.flights.indexOf(flight), 1);
  for (const { to, source, bytes } of landed) {
    const target = world.ends.find((end) => formatSocketAddress(end.address) === formatSocketAddress(to));
    target?.plane.handleDatagram(world.now, { bytes, from: source, local: target.address });
    settle(world);
  }
  for (const { device } of world.ends) {
    // Makes the machine read its peers' activity anew: what it finds must not have been overlooked.
    for (let slot = 0; world.tickMs !== undefined && slot < world.ends.length; slot++) {
      const peer = device.peerBySlot(slot);
      if (peer !== undefined) device.setPathSuspect(world.now, peer, false);
    }
    device.handleTimeout(world.now);
    const due = device.pollTimeout();
    if (due !== undefined && due <= world.now)
      throw new Error(`still due at ${at}: ${device.timeoutReason()}`);
  }
  settle(world);
}

export function kindsFrom(world: World, from: End, kind?: string): readonly WireLine[] {
  return world.transcript.filter(
    (line) => line.from === from.name && (kind === undefined || line.kind === kind),
  );
}

export function eventKinds(end: End): readonly string[] {
  return end.events.map((event) => event.kind);
}

/** Lets time pass until `at` milliseconds after the start. */
export function until(world: World, at: number): void {
  advance(world, START + at - world.now);
}

/** A client and gateway with a session and no data. */
export function tunnel() {
  const made = pair("tunnel");
  made.a.device.initiate(made.world.now, made.ab);
  until(made.world, 100);
  return made;
}

export function initiationsAfter(world: World, at: number): readonly number[] {
  return world.transcript.filter((line) => line.kind === "initiation" && line.at > at).map((line) => line.at);
}
