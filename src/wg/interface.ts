/**
 * One plain WireGuard interface as a pure machine: the device, and what plain mode adds to it —
 * endpoints that roam, allowed IPs, keepalives, and "unreachable" for packets that lead nowhere
 * (WG-57 to WG-62).
 */
import {
  copyOf,
  type Instant,
  type IpAddress,
  type Log,
  type Random,
  type SocketAddress,
  toHex,
  type UnixMs,
} from "../base/index.ts";
import { createTokenBucket, encodeRefusal, type TokenBucket } from "../packet/index.ts";
import type { DataPunt, PlaneCommand, PlaneEvent, PlaneRecords, Publication } from "../plane/index.ts";
import {
  createWgDevice,
  type HandshakeCrypto,
  isLowOrder,
  type WgDevice,
  type WgDropCounts,
  type WgPeerStats,
  type WgTransmit,
} from "../wireguard/index.ts";
import {
  createInterfacePeers,
  eraseAll,
  forgetDropped,
  forgetSource,
  type InterfacePeer,
  type InterfacePeers,
  moveTo,
  nextPath,
  noteSource,
  removePeer,
  setPeer,
  tablesOf,
} from "./interface-peer.ts";
import { finish, LINES_PER_STEP, PEERS_PER_LOOK, type Steps } from "./steps.ts";
import type { WgPeerStatus, WgSet } from "./uapi.ts";

/** ICMP errors per second and at once (WG-58). */
const REFUSALS_PER_SECOND = 10;
/** A smaller change of the time of day is not shown: the time of a handshake would not stand still. */
const CLOCK_JITTER_MS = 100;

export interface WgInterfaceOptions {
  readonly now: Instant;
  readonly unixMs: UnixMs;
  readonly random: Random;
  readonly records: PlaneRecords;
  readonly crypto: HandshakeCrypto;
  readonly log: Log;
  /** Rows of the plane's peer table (WG-57). */
  readonly peersMax: number;
}

/** What the interface wants to have done, in order. */
export type WgInterfaceCommand =
  | PlaneCommand
  | Publication
  /** A packet for the host itself, such as an ICMP error. */
  | { readonly kind: "write-tun"; readonly packet: Uint8Array };

export interface WgInterfaceTransmit {
  /** The fixed source address; absent: the system chooses. */
  readonly source?: IpAddress;
  readonly destination: SocketAddress;
  readonly bytes: Uint8Array;
}

/** There is no row for another peer (WG-57), or a key is safe with nobody (WG-6). */
export type WgSetRefusal = "no-room" | "low-order-key";

/** After every call the caller drains `pollCommand`, then `pollTransmit`, then reads `pollTimeout`. */
export interface WgInterface {
  handlePlaneEvent(now: Instant, event: PlaneEvent): void;
  handlePunt(now: Instant, punt: DataPunt): void;
  /** The time of day: stamps follow a clock that was put forward (WG-8). */
  handleWallClock(now: Instant, unix: UnixMs): void;
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
  pollCommand(): WgInterfaceCommand | undefined;
  /** The plane has carried out a command. */
  handleCarriedOut(now: Instant, command: PlaneCommand | Publication): void;
  pollTransmit(): WgInterfaceTransmit | undefined;
  /** Why a change cannot be made as a whole; `undefined`: it can. Changes nothing (WG-67). */
  refusalOf(change: WgSet): WgSetRefusal | undefined;
  /** The same in steps; nothing else is to be set meanwhile. */
  refusalInSteps(change: WgSet): Steps<WgSetRefusal | undefined>;
  /**
   * Applies a change; its port and mark are the program's. What `refusalOf` would have refused is left
   * out, with a warning: one bad peer of a file does not keep the others from working.
   *
   * @param holdsRoutes routes are published with a later change, see `partsOf`
   */
  set(now: Instant, change: WgSet, holdsRoutes?: { readonly holdsRoutes: boolean }): void;
  /** A resolved name; does nothing if the peer is gone or has an endpoint by now. */
  setEndpoint(now: Instant, publicKey: Uint8Array, endpoint: SocketAddress): void;
  privateKey(): Uint8Array | undefined;
  publicKey(): Uint8Array | undefined;
  peers(): readonly WgPeerStatus[];
  /** The same, a few at a time as the caller asks for them; one that has gone by then is left out (WG-67). */
  peersInPieces(): Iterable<readonly WgPeerStatus[]>;
  peerStats(publicKey: Uint8Array): WgPeerStats | undefined;
  drops(): Readonly<WgDropCounts>;
  /** Takes the device's events out; plain mode only counts and logs them. */
  drainEvents(): void;
  /** Overwrites the keys and forgets the peers; nothing else is to be asked then (WG-69). */
  erase(): void;
}

interface InterfaceState {
  readonly device: WgDevice;
  readonly peers: InterfacePeers;
  readonly packets: Uint8Array[];
  readonly refusals: TokenBucket;
  readonly peersMax: number;
  /** Unix time of instant 0, as the system's clock has it now. */
  unixEpoch: number;
  privateKey: Uint8Array | undefined;
}

export function createWgInterface(options: WgInterfaceOptions): WgInterface {
  const state = createState(options);
  const { device, peers } = state;
  return {
    refusalOf: (change) => finish(refusalInSteps(state, change)),
    refusalInSteps: (change) => refusalInSteps(state, change),
    set(now, change, { holdsRoutes } = { holdsRoutes: false }) {
      peers.holdsTables = holdsRoutes;
      if (change.privateKey !== undefined) setPrivateKey(state, now, change.privateKey.key);
      if (change.replacePeers) removeAll(state, now);
      for (const peer of change.peers) setPeer(peers, now, peer);
    },
    setEndpoint(now, publicKey, endpoint) {
      const peer = peers.byKey.get(toHex(publicKey));
      if (peer !== undefined && peer.endpoint === undefined) moveTo(peers, now, peer, endpoint, undefined);
    },
    privateKey: () => state.privateKey,
    publicKey: () => device.publicKey(),
    peers: () => [...peers.byKey.values()].map((peer) => statusOf(state, peer)),
    peersInPieces: () => peersInPieces(state),
    peerStats(publicKey) {
      const peer = peers.byKey.get(toHex(publicKey));
      return peer && device.stats(peer.ref);
    },
    drops: () => device.drops(),
    erase() {
      state.privateKey?.fill(0);
      state.privateKey = undefined;
      device.erase();
      eraseAll(peers);
    },
    handlePlaneEvent: (now, event) => handlePlaneEvent(state, now, event),
    handlePunt: (now, punt) => handlePunt(state, now, punt),
    handleCarriedOut(now, command) {
      if (command.kind !== "publish") device.handleCarriedOut(now, command);
    },
    handleWallClock(now, unix) {
      // Two clocks that are read one after the other differ by a little each time: that is no step.
      const epoch = unix - now;
      if (Math.abs(epoch - state.unixEpoch) > CLOCK_JITTER_MS) state.unixEpoch = epoch;
      device.handleWallClock(now, unix);
    },
    handleTimeout: (now) => device.handleTimeout(now),
    pollTimeout: () => device.pollTimeout(),
    pollCommand: () => pollCommand(state),
    pollTransmit: () => pollTransmit(state),
    drainEvents() {
      while (device.pollEvent() !== undefined);
    },
  };
}

function createState(options: WgInterfaceOptions): InterfaceState {
  const { now, unixMs, random, records, log, crypto, peersMax } = options;
  const device = createWgDevice({
    now,
    unixMs,
    random,
    records,
    log,
    crypto,
    peersMax,
  });
  return {
    device,
    peers: createInterfacePeers(device, log),
    packets: [],
    peersMax,
    refusals: createTokenBucket({ ratePerSecond: REFUSALS_PER_SECOND, burst: REFUSALS_PER_SECOND }),
    unixEpoch: unixMs - now,
    privateKey: undefined,
  };
}

function* refusalInSteps(
  { peers, peersMax }: InterfaceState,
  change: WgSet,
): Steps<WgSetRefusal | undefined> {
  const keys = new Set(change.replacePeers ? [] : peers.byKey.keys());
  for (const [i, { publicKey, remove, updateOnly }] of change.peers.entries()) {
    if (i > 0 && i % LINES_PER_STEP === 0) yield;
    const key = toHex(publicKey);
    if (remove) keys.delete(key);
    else if (!updateOnly && !keys.has(key)) {
      if (isLowOrder(publicKey)) return "low-order-key";
      keys.add(key);
    }
  }
  return keys.size > peersMax ? "no-room" : undefined;
}

function setPrivateKey(state: InterfaceState, now: Instant, key: Uint8Array | undefined): void {
  state.privateKey?.fill(0);
  state.privateKey = key && copyOf(key);
  state.device.setStaticKey(now, key);
  forgetDropped(state.peers);
}

function removeAll({ peers }: InterfaceState, now: Instant): void {
  for (const peer of [...peers.byKey.values()]) removePeer(peers, now, peer);
}

function handlePlaneEvent({ device, peers }: InterfaceState, now: Instant, event: PlaneEvent): void {
  if (event.kind === "roamed") {
    const peer = peers.bySlot.get(event.slot);
    if (peer !== undefined) noteSource(peers, now, peer, event);
    return;
  }
  if (event.kind !== "handshake" && event.kind !== "stun" && event.kind !== "other") {
    device.handlePlaneEvent(now, event);
    return;
  }
  // Whatever is no transport message goes through the checks of WG-22, which count what it is not.
  const outcome = device.handleHandshake(now, {
    datagram: event.bytes,
    source: event.from,
    ...(event.isJudged && { isJudged: true }),
  });
  if (outcome.kind !== "accepted" || outcome.message === "cookie-reply") return;
  const peer = peers.bySlot.get(outcome.peer.slot);
  if (peer !== undefined) noteSource(peers, now, peer, { from: event.from, local: event.local.address });
}

/** `first` and `control-event` do not occur without resources. */
function handlePunt(state: InterfaceState, now: Instant, punt: DataPunt): void {
  if (punt.reason === "no-session") {
    const peer = state.peers.bySlot.get(punt.slot);
    if (peer !== undefined) state.device.handlePunt(now, peer.ref, punt.packet);
  } else if (punt.reason === "refused" && state.refusals.take(now)) {
    const error = encodeRefusal(punt.packet, "host-unreachable");
    if (error !== undefined) state.packets.push(error);
  }
}

/** The device's own come first: a path or a route belongs to a peer that the plane knows. */
function pollCommand({ device, peers, packets }: InterfaceState): WgInterfaceCommand | undefined {
  const command = device.pollCommand() ?? nextPath(peers);
  if (command !== undefined) return command;
  if (peers.hasNewTables && !peers.holdsTables) {
    peers.hasNewTables = false;
    return { kind: "publish", tables: tablesOf(peers) };
  }
  const packet = packets.shift();
  return packet && { kind: "write-tun", packet };
}

function pollTransmit({ device, peers }: InterfaceState): WgInterfaceTransmit | undefined {
  for (let next = device.pollTransmit(); next !== undefined; next = device.pollTransmit()) {
    const datagram = address(peers, next);
    if (datagram !== undefined) return datagram;
  }
  return undefined;
}

/** Where a message of the device goes, and from which of our addresses. */
function address(peers: InterfacePeers, transmit: WgTransmit): WgInterfaceTransmit | undefined {
  if (transmit.kind === "cookie-reply") return { destination: transmit.to, bytes: transmit.datagram };
  const peer = peers.bySlot.get(transmit.peer.slot);
  if (peer?.endpoint === undefined) return undefined;
  if (transmit.isRetransmission) forgetSource(peers, peer);
  const { endpoint, source } = peer;
  return { destination: endpoint, bytes: transmit.datagram, ...(source && { source }) };
}

function* peersInPieces(state: InterfaceState): Iterable<readonly WgPeerStatus[]> {
  const { byKey } = state.peers;
  const all = [...byKey];
  for (let i = 0; i < all.length; i += PEERS_PER_LOOK) {
    const present = all.slice(i, i + PEERS_PER_LOOK).filter(([key, peer]) => byKey.get(key) === peer);
    yield present.map(([, peer]) => statusOf(state, peer));
  }
}

function statusOf({ device, unixEpoch }: InterfaceState, peer: InterfacePeer): WgPeerStatus {
  const { lastHandshake, txBytes, rxBytes } = device.stats(peer.ref);
  const { publicKey, presharedKey, endpoint, keepaliveSeconds, allowedIps } = peer;
  return {
    publicKey,
    presharedKey,
    endpoint,
    lastHandshakeUnixMs: lastHandshake === undefined ? 0 : unixEpoch + lastHandshake,
    txBytes,
    rxBytes,
    keepaliveSeconds,
    allowedIps: [...allowedIps.values()],
  };
}
