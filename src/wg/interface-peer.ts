/** The peers of a plain interface: endpoints that roam, allowed IPs, keys (WG-58 to WG-62). */
import {
  copyOf,
  createQueue,
  equalIp,
  equalSocketAddress,
  formatPrefix,
  formatSocketAddress,
  type Instant,
  type IpAddress,
  type Log,
  type Prefix,
  type Queue,
  type SocketAddress,
  toBase64,
  toHex,
} from "../base/index.ts";
import type { PathRecord, PlaneCommand, PolicyTables } from "../plane/index.ts";
import { type PeerRef, PLAIN_POLICY, type WgDevice } from "../wireguard/index.ts";
import type { WgPeerSet } from "./uapi.ts";

export interface InterfacePeer {
  readonly ref: PeerRef;
  readonly publicKey: Uint8Array;
  presharedKey: Uint8Array | undefined;
  keepaliveSeconds: number;
  endpoint: SocketAddress | undefined;
  /** Our address to which the peer sent last: the source of what we send (WG-62). */
  source: IpAddress | undefined;
  /** By their text, in the order in which they were added. */
  readonly allowedIps: Map<string, Prefix>;
  pathGeneration: number;
}

export interface InterfacePeers {
  readonly device: WgDevice;
  readonly log: Log;
  /** By public key in hexadecimal, in the order in which they were added. */
  readonly byKey: Map<string, InterfacePeer>;
  readonly bySlot: Map<number, InterfacePeer>;
  /** Who has a prefix, by its text. */
  readonly owners: Map<string, InterfacePeer>;
  /** Paths to be set, behind the device's own commands; those of peers that have gone are left out. */
  readonly paths: Queue<{ readonly peer: InterfacePeer; readonly command: SetPath }>;
  /** The routes have changed since they were published. */
  hasNewTables: boolean;
  /** They are published with a later change. */
  holdsTables: boolean;
}

type SetPath = Extract<PlaneCommand, { readonly kind: "set-path" }>;

export function createInterfacePeers(device: WgDevice, log: Log): InterfacePeers {
  return {
    device,
    log,
    byKey: new Map(),
    bySlot: new Map(),
    owners: new Map(),
    paths: createQueue(),
    hasNewTables: true,
    holdsTables: false,
  };
}

/** Carries one peer's part of a change out (WG-66). */
export function setPeer(peers: InterfacePeers, now: Instant, change: WgPeerSet): void {
  const { device } = peers;
  const known = peers.byKey.get(toHex(change.publicKey));
  if (change.remove) {
    if (known !== undefined) removePeer(peers, now, known);
    return;
  }
  const peer = known ?? (change.updateOnly ? undefined : addPeer(peers, now, change.publicKey));
  if (peer === undefined) return;
  if (change.presharedKey !== undefined) {
    peer.presharedKey = change.presharedKey.key;
    device.setPresharedKey(now, peer.ref, change.presharedKey.key);
  }
  if (change.endpoint !== undefined) moveTo(peers, now, peer, change.endpoint, undefined);
  if (change.replaceAllowedIps) {
    dropAllowedIps(peers, peer);
    peers.hasNewTables = true;
  }
  for (const { prefix, remove } of change.allowedIps) changeAllowedIp(peers, peer, prefix, remove);
  if (change.keepaliveSeconds !== undefined) {
    peer.keepaliveSeconds = change.keepaliveSeconds;
    device.setKeepalive(now, peer.ref, change.keepaliveSeconds * 1000);
  }
}

function addPeer(peers: InterfacePeers, now: Instant, publicKey: Uint8Array): InterfacePeer | undefined {
  const added = peers.device.addPeer(now, { publicKey, policy: PLAIN_POLICY, isReachable: false });
  if (!added.ok) {
    peers.log.warn?.("peer refused", { peer: shortName(publicKey), reason: added.reason });
    return undefined;
  }
  const peer: InterfacePeer = {
    ref: added.value,
    publicKey: copyOf(publicKey),
    presharedKey: undefined,
    keepaliveSeconds: 0,
    endpoint: undefined,
    source: undefined,
    allowedIps: new Map(),
    pathGeneration: 0,
  };
  peers.byKey.set(toHex(publicKey), peer);
  peers.bySlot.set(peer.ref.slot, peer);
  return peer;
}

export function removePeer(peers: InterfacePeers, now: Instant, peer: InterfacePeer): void {
  peers.device.removePeer(now, peer.ref);
  forgetPeer(peers, peer);
}

/** Forgets the peers that the device has dropped with a change of our key (WG-61). */
export function forgetDropped(peers: InterfacePeers): void {
  for (const peer of [...peers.byKey.values()]) {
    if (peers.device.peerBySlot(peer.ref.slot)?.peerId !== peer.ref.peerId) forgetPeer(peers, peer);
  }
}

function forgetPeer(peers: InterfacePeers, peer: InterfacePeer): void {
  const { slot } = peer.ref;
  peers.byKey.delete(toHex(peer.publicKey));
  peers.bySlot.delete(slot);
  peer.presharedKey?.fill(0);
  dropAllowedIps(peers, peer);
  peers.hasNewTables = true;
}

/** Forgets all peers at once, and what of theirs is secret. */
export function eraseAll(peers: InterfacePeers): void {
  for (const { presharedKey } of peers.byKey.values()) presharedKey?.fill(0);
  peers.byKey.clear();
  peers.bySlot.clear();
  peers.owners.clear();
  peers.paths.clear();
  peers.hasNewTables = true;
  peers.holdsTables = false;
}

/** The next path to be set, of a peer that is still there. */
export function nextPath({ paths, bySlot }: InterfacePeers): SetPath | undefined {
  for (let next = paths.shift(); next !== undefined; next = paths.shift()) {
    if (bySlot.get(next.command.slot) === next.peer) return next.command;
  }
  return undefined;
}

/** A prefix has one owner: adding it elsewhere moves it (WG-58). */
function changeAllowedIp(peers: InterfacePeers, peer: InterfacePeer, prefix: Prefix, remove: boolean): void {
  const { owners } = peers;
  const text = formatPrefix(prefix);
  const owner = owners.get(text);
  if (remove ? owner !== peer : owner === peer) return;
  peers.hasNewTables = true;
  owner?.allowedIps.delete(text);
  if (remove) {
    owners.delete(text);
    return;
  }
  owners.set(text, peer);
  peer.allowedIps.set(text, prefix);
}

function dropAllowedIps({ owners }: InterfacePeers, { allowedIps }: InterfacePeer): void {
  for (const text of allowedIps.keys()) owners.delete(text);
  allowedIps.clear();
}

/** The peer's endpoint from now on. `source`: where we were when we heard from there, if we did. */
export function moveTo(
  peers: InterfacePeers,
  now: Instant,
  peer: InterfacePeer,
  endpoint: SocketAddress,
  source: IpAddress | undefined,
): void {
  peer.endpoint = endpoint;
  peer.source = source;
  publishPath(peers, peer, endpoint);
  peers.device.setReachable(now, peer.ref, true);
}

/** WG-62: an authentic packet came from `from` to our address `local`. */
export function noteSource(
  peers: InterfacePeers,
  now: Instant,
  peer: InterfacePeer,
  { from, local }: { readonly from: SocketAddress; readonly local: IpAddress },
): void {
  const isHere = peer.endpoint !== undefined && equalSocketAddress(peer.endpoint, from);
  if (isHere && peer.source !== undefined && equalIp(peer.source, local)) return;
  if (!isHere) {
    const endpoint = formatSocketAddress(from);
    peers.log.debug?.("peer roamed", { peer: shortName(peer.publicKey), endpoint });
  }
  moveTo(peers, now, peer, from, local);
}

/** The address of ours may be the reason why nothing came back (WG-62). */
export function forgetSource(peers: InterfacePeers, peer: InterfacePeer): void {
  if (peer.source === undefined || peer.endpoint === undefined) return;
  peer.source = undefined;
  publishPath(peers, peer, peer.endpoint);
}

function publishPath(peers: InterfacePeers, peer: InterfacePeer, destination: SocketAddress): void {
  const path: PathRecord = {
    kind: "direct",
    destination,
    ...(peer.source && { source: peer.source }),
    headRoom: 0,
    isIdle: false,
    isBroken: false,
    generation: ++peer.pathGeneration,
  };
  peers.paths.push({ peer, command: { kind: "set-path", slot: peer.ref.slot, path } });
}

/** Destination → peer; in plain mode the same table judges inner sources (WG-58). */
export function tablesOf(peers: InterfacePeers): PolicyTables {
  const routes = [...peers.bySlot.values()].flatMap(({ ref, allowedIps }) =>
    [...allowedIps.values()].map((prefix) => ({ prefix, target: { kind: "peer", slot: ref.slot } as const })),
  );
  return { routes, permits: [] };
}

function shortName(publicKey: Uint8Array): string {
  return toBase64(publicKey).slice(0, 8);
}
