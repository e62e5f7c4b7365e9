/**
 * One plain WireGuard interface as a pure machine: the device, and what plain mode adds to it —
 * endpoints that roam, allowed IPs, keepalives, and "unreachable" for packets that lead nowhere
 * (WG-57 to WG-62).
 */
import {
  copyOf,
  equalIp,
  equalPrefix,
  equalSocketAddress,
  formatSocketAddress,
  type Instant,
  type IpAddress,
  type Log,
  type PathRecord,
  type PlaneCommand,
  type PlaneEvent,
  type PlaneRecords,
  type PolicyTables,
  type Prefix,
  type Random,
  type SocketAddress,
  toBase64,
  toHex,
  type UnixMs,
} from "../../base/index.ts";
import { createTokenBucket, encodeRefusal } from "../../packet/index.ts";
import {
  createWgDevice,
  type HandshakeCrypto,
  type PeerRef,
  PLAIN_POLICY,
  type WgDropCounts,
  type WgPeerStats,
  type WgTransmit,
} from "../../wireguard/index.ts";
import type { ShellCommand, ShellMachine, ShellTransmit } from "../shell/index.ts";
import type { WgPeerSet, WgPeerStatus, WgSet } from "./uapi.ts";

/** ICMP errors per second and at once (WG-58). */
const REFUSALS_PER_SECOND = 10;

export interface WgInterfaceOptions {
  readonly now: Instant;
  readonly unixMs: UnixMs;
  readonly random: Random;
  readonly records: PlaneRecords;
  readonly crypto?: HandshakeCrypto;
  readonly log: Log;
  readonly peersMax?: number;
}

export interface WgInterface extends ShellMachine {
  /** Applies a whole change; its port and mark are the program's (WG-67). */
  set(now: Instant, change: WgSet): void;
  /** A resolved name; does nothing if the peer is gone or has an endpoint by now. */
  setEndpoint(now: Instant, publicKey: Uint8Array, endpoint: SocketAddress): void;
  privateKey(): Uint8Array | undefined;
  publicKey(): Uint8Array | undefined;
  peers(): readonly WgPeerStatus[];
  peerStats(publicKey: Uint8Array): WgPeerStats | undefined;
  drops(): Readonly<WgDropCounts>;
  /** Takes the device's events out; plain mode only counts and logs them. */
  drainEvents(): void;
  /** Overwrites the keys it holds (WG-69). */
  erase(now: Instant): void;
}

interface InterfacePeer {
  readonly ref: PeerRef;
  readonly publicKey: Uint8Array;
  presharedKey: Uint8Array | undefined;
  keepaliveSeconds: number;
  endpoint: SocketAddress | undefined;
  /** Our address to which the peer sent last: the source of what we send (WG-62). */
  source: IpAddress | undefined;
  allowedIps: Prefix[];
  pathGeneration: number;
}

export function createWgInterface(options: WgInterfaceOptions): WgInterface {
  const { log, now: startedAt } = options;
  const unixEpoch = options.unixMs - startedAt;
  const device = createWgDevice({
    now: startedAt,
    unixMs: options.unixMs,
    random: options.random,
    records: options.records,
    log,
    ...(options.crypto && { crypto: options.crypto }),
    ...(options.peersMax !== undefined && { peersMax: options.peersMax }),
  });
  const peers = new Map<string, InterfacePeer>();
  const bySlot = new Map<number, InterfacePeer>();
  let paths: PlaneCommand[] = [];
  const packets: Uint8Array[] = [];
  const refusals = createTokenBucket({ ratePerSecond: REFUSALS_PER_SECOND, burst: REFUSALS_PER_SECOND });
  let privateKey: Uint8Array | undefined;
  let hasNewTables = true;

  function setPrivateKey(now: Instant, key: Uint8Array | undefined): void {
    privateKey?.fill(0);
    privateKey = key && copyOf(key);
    device.setStaticKey(now, key);
    // The device drops the peer that has our own new key, and ones that give no secret with it.
    for (const [name, peer] of [...peers]) {
      if (device.peerBySlot(peer.ref.slot)?.peerId !== peer.ref.peerId) forget(name, peer);
    }
  }

  function forget(name: string, peer: InterfacePeer): void {
    peers.delete(name);
    bySlot.delete(peer.ref.slot);
    paths = paths.filter((command) => command.slot !== peer.ref.slot);
    peer.presharedKey?.fill(0);
    hasNewTables = true;
  }

  function removePeer(now: Instant, name: string, peer: InterfacePeer): void {
    device.removePeer(now, peer.ref);
    forget(name, peer);
  }

  function addPeer(now: Instant, { publicKey }: WgPeerSet): InterfacePeer | undefined {
    const added = device.addPeer(now, { publicKey, policy: PLAIN_POLICY, isReachable: false });
    if (!added.ok) {
      log.warn?.("peer refused", { peer: toBase64(publicKey).slice(0, 8), reason: added.reason });
      return undefined;
    }
    const peer: InterfacePeer = {
      ref: added.value,
      publicKey: copyOf(publicKey),
      presharedKey: undefined,
      keepaliveSeconds: 0,
      endpoint: undefined,
      source: undefined,
      allowedIps: [],
      pathGeneration: 0,
    };
    peers.set(toHex(publicKey), peer);
    bySlot.set(peer.ref.slot, peer);
    return peer;
  }

  function setPeer(now: Instant, change: WgPeerSet): void {
    const name = toHex(change.publicKey);
    const known = peers.get(name);
    if (change.remove) {
      if (known !== undefined) removePeer(now, name, known);
      return;
    }
    const peer = known ?? (change.updateOnly ? undefined : addPeer(now, change));
    if (peer === undefined) return;
    if (change.presharedKey !== undefined) {
      peer.presharedKey = change.presharedKey.key;
      device.setPresharedKey(now, peer.ref, change.presharedKey.key);
    }
    if (change.endpoint !== undefined) moveTo(now, peer, change.endpoint, undefined);
    if (change.replaceAllowedIps) {
      peer.allowedIps = [];
      hasNewTables = true;
    }
    for (const { prefix, remove } of change.allowedIps) changeAllowedIp(peer, prefix, remove);
    if (change.keepaliveSeconds !== undefined) {
      peer.keepaliveSeconds = change.keepaliveSeconds;
      device.setKeepalive(now, peer.ref, change.keepaliveSeconds * 1000);
    }
  }

  /** A prefix has one owner: adding it elsewhere moves it (WG-58). */
  function changeAllowedIp(peer: InterfacePeer, prefix: Prefix, remove: boolean): void {
    hasNewTables = true;
    const owners = remove ? [peer] : peers.values();
    for (const owner of owners) {
      owner.allowedIps = owner.allowedIps.filter((own) => !equalPrefix(own, prefix));
    }
    if (!remove) peer.allowedIps.push(prefix);
  }

  /** The peer's path from now on. `source` is where we were when we heard of it, if we did. */
  function moveTo(
    now: Instant,
    peer: InterfacePeer,
    endpoint: SocketAddress,
    source: IpAddress | undefined,
  ): void {
    peer.endpoint = endpoint;
    peer.source = source;
    publishPath(peer, endpoint);
    device.setReachable(now, peer.ref, true);
  }

  function publishPath(peer: InterfacePeer, destination: SocketAddress): void {
    const path: PathRecord = {
      kind: "direct",
      destination,
      ...(peer.source && { source: peer.source }),
      headRoom: 0,
      isIdle: false,
      isBroken: false,
      generation: ++peer.pathGeneration,
    };
    paths.push({ kind: "set-path", slot: peer.ref.slot, path });
  }

  /** WG-62: an authentic packet came from `from` to our address `local`. */
  function noteSource(now: Instant, peer: InterfacePeer, from: SocketAddress, local: IpAddress): void {
    const isHere = peer.endpoint !== undefined && equalSocketAddress(peer.endpoint, from);
    if (isHere && peer.source !== undefined && equalIp(peer.source, local)) return;
    if (!isHere) log.debug?.("peer roamed", { peer: nameOf(peer), endpoint: formatSocketAddress(from) });
    moveTo(now, peer, from, local);
  }

  function destinationOf(transmit: WgTransmit): ShellTransmit | undefined {
    if (transmit.kind === "cookie-reply") return { destination: transmit.to, bytes: transmit.datagram };
    const peer = bySlot.get(transmit.peer.slot);
    if (peer?.endpoint === undefined) return undefined;
    if (transmit.isRetransmission && peer.source !== undefined) {
      // The address may be the reason why nothing came back (WG-62).
      peer.source = undefined;
      publishPath(peer, peer.endpoint);
    }
    const { endpoint, source } = peer;
    return { destination: endpoint, bytes: transmit.datagram, ...(source && { source }) };
  }

  function handlePlaneEvent(now: Instant, event: PlaneEvent): void {
    if (event.kind === "roamed") {
      const peer = bySlot.get(event.slot);
      if (peer !== undefined) noteSource(now, peer, event.from, event.local);
      return;
    }
    if (event.kind !== "handshake" && event.kind !== "stun" && event.kind !== "other") {
      device.handlePlaneEvent(now, event);
      return;
    }
    // Whatever is no transport message goes through the checks of WG-22, which count what it is not.
    const outcome = device.handleHandshake(now, { datagram: event.bytes, source: event.from });
    if (outcome.kind !== "accepted" || outcome.message === "cookie-reply") return;
    const peer = bySlot.get(outcome.peer.slot);
    if (peer !== undefined) noteSource(now, peer, event.from, event.local.address);
  }

  function refuse(now: Instant, packet: Uint8Array): void {
    if (!refusals.take(now)) return;
    const error = encodeRefusal(packet, "host-unreachable");
    if (error !== undefined) packets.push(error);
  }

  function toStatus(peer: InterfacePeer): WgPeerStatus {
    const { lastHandshake, txBytes, rxBytes } = device.stats(peer.ref);
    const { publicKey, presharedKey, endpoint, keepaliveSeconds } = peer;
    return {
      publicKey,
      presharedKey,
      endpoint,
      lastHandshakeUnixMs: lastHandshake === undefined ? 0 : unixEpoch + lastHandshake,
      txBytes,
      rxBytes,
      keepaliveSeconds,
      allowedIps: peer.allowedIps,
    };
  }

  return {
    set(now, change) {
      if (change.privateKey !== undefined) setPrivateKey(now, change.privateKey.key);
      if (change.replacePeers) for (const [name, peer] of [...peers]) removePeer(now, name, peer);
      for (const peer of change.peers) setPeer(now, peer);
    },
    setEndpoint(now, publicKey, endpoint) {
      const peer = peers.get(toHex(publicKey));
      if (peer !== undefined && peer.endpoint === undefined) moveTo(now, peer, endpoint, undefined);
    },
    privateKey: () => privateKey,
    publicKey: () => device.publicKey(),
    peers: () => [...peers.values()].map(toStatus),
    peerStats(publicKey) {
      const peer = peers.get(toHex(publicKey));
      return peer && device.stats(peer.ref);
    },
    drops: () => device.drops(),
    erase(now) {
      for (const [name, peer] of [...peers]) removePeer(now, name, peer);
      setPrivateKey(now, undefined);
    },
    handlePlaneEvent,
    handlePunt(now, punt) {
      if (punt.reason === "no-session") {
        const peer = bySlot.get(punt.slot);
        if (peer !== undefined) device.handleStaged(now, peer.ref, punt.packet);
      } else if (punt.reason === "refused") {
        refuse(now, punt.packet);
      }
      // `first` and `control-event` do not occur without resources.
    },
    handleTimeout: (now) => device.handleTimeout(now),
    pollTimeout: () => device.pollTimeout(),
    pollCommand(): ShellCommand | undefined {
      // The device's own come first: a path or a route belongs to a peer that the plane knows.
      const command = device.pollCommand() ?? paths.shift();
      if (command !== undefined) return command;
      if (hasNewTables) {
        hasNewTables = false;
        return { kind: "publish", tables: tablesOf(bySlot.values()) };
      }
      const packet = packets.shift();
      return packet && { kind: "write-tun", packet };
    },
    pollTransmit() {
      for (let next = device.pollTransmit(); next !== undefined; next = device.pollTransmit()) {
        const datagram = destinationOf(next);
        if (datagram !== undefined) return datagram;
      }
      return undefined;
    },
    drainEvents() {
      while (device.pollEvent() !== undefined);
    },
  };
}

function tablesOf(peers: Iterable<InterfacePeer>): PolicyTables {
  const routes = [...peers].flatMap(({ ref, allowedIps }) =>
    allowedIps.map((prefix) => ({ prefix, target: { kind: "peer", slot: ref.slot } as const })),
  );
  return { routes, permits: [] };
}

function nameOf(peer: InterfacePeer): string {
  return toBase64(peer.publicKey).slice(0, 8);
}
