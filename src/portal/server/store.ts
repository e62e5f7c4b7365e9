/**
 * The portal's memory: devices, gateways and authorisations, with a revision that tells which of it has
 * reached the disk (PT-71, PT-103, PT-115).
 */
import type { IpAddress, Random, UnixMs } from "../../base/index.ts";
import { ip, randomBytes, TUNNEL_V4, TUNNEL_V6 } from "../../base/index.ts";
import { PSK_BASE_BYTES } from "../derive.ts";
import { type AddressPool, createAddressPool } from "./address-pool.ts";
import { type AuthorizationTable, createAuthorizationTable } from "./authorizations.ts";
import { createChangeLog } from "./change-log.ts";
import { randomId } from "./ids.ts";
import { createPeerTable, type PeerTable } from "./peer-table.ts";
import { createRejectionTable, type RejectionTable } from "./rejections.ts";
import type { StateChange, StoredPeer, StoredState } from "./stored-state.ts";

export type PeerKind = "client" | "gateway";

/** What a peer says of itself when it connects (PT-11), by which token, and when. */
export interface Introduction {
  readonly ownerId: string;
  readonly tokenHash: string;
  readonly externalId: string;
  readonly name: string;
  readonly publicKey: Uint8Array;
  readonly version: string;
  readonly remote: IpAddress;
  readonly device: Readonly<Record<string, string>>;
  readonly seenAt: UnixMs;
}

/** Identifiers that a verified device must keep (PT-71). */
const HARDWARE = ["device_serial", "device_uuid"];

export interface Store {
  readonly peers: Readonly<Record<PeerKind, PeerTable>>;
  find(kind: PeerKind, ownerId: string, externalId: string): StoredPeer | undefined;
  get(kind: PeerKind, id: string): StoredPeer | undefined;
  /** A new peer with an id, a secret and addresses; `undefined` when no address is left. */
  create(kind: PeerKind, introduction: Introduction): StoredPeer | undefined;
  /** Notes what a known peer says now. */
  update(kind: PeerKind, id: string, introduction: Introduction): StoredPeer | undefined;
  /** Forgets a peer; its addresses are free again. Its authorisations are the caller's to end. */
  remove(kind: PeerKind, id: string): void;
  noteSeen(kind: PeerKind, id: string, at: UnixMs): void;
  /** Devices that were verified anew after their hardware changed. */
  clearHardwareChange(isVerified: (externalId: string) => boolean): void;
  readonly authorizations: AuthorizationTable;
  readonly rejections: RejectionTable;
  /** Says that what changed must reach the disk; returns the revision that holds it. */
  commit(): number;
  readonly revision: number;
  /** What changed since the last call. */
  takeChanges(): readonly StateChange[];
  /** Changes that did not reach the disk; what became of them since is what counts. */
  returnChanges(changes: readonly StateChange[]): void;
  /** Every record, one after the other. Records may change while they are being read. */
  snapshot(): Iterable<StateChange>;
}

export function createStore(initial: StoredState, random: Random): Store {
  const changes = createChangeLog();
  const peers = {
    client: createPeerTable(initial.devices, (id) => changes.note("device", id)),
    gateway: createPeerTable(initial.gateways, (id) => changes.note("gateway", id)),
  };
  const pools = { ipv4: createAddressPool(TUNNEL_V4), ipv6: createAddressPool(TUNNEL_V6) };
  for (const peer of [...initial.devices, ...initial.gateways]) {
    pools.ipv4.reserve(ip(peer.ipv4));
    pools.ipv6.reserve(ip(peer.ipv6));
  }
  const authorizations = createAuthorizationTable(initial.authorizations, (key) =>
    changes.note("authorization", key),
  );
  const rejections = createRejectionTable(initial.rejections, (key) => changes.note("rejection", key));
  const tables = {
    device: peers.client,
    gateway: peers.gateway,
    authorization: authorizations,
    rejection: rejections,
  };
  let revision = 0;
  return {
    peers,
    find: (kind, ownerId, externalId) => peers[kind].find(ownerId, externalId),
    get: (kind, id) => peers[kind].get(id),
    create(kind, introduction) {
      const addresses = takeAddresses(pools);
      if (addresses === undefined) return undefined;
      const peer: StoredPeer = {
        ...introduction,
        ...addresses,
        id: randomId(random),
        pskBase: randomBytes(random, PSK_BASE_BYTES),
        isHardwareChanged: false,
      };
      peers[kind].put(peer);
      return peer;
    },
    update(kind, id, introduction) {
      const known = peers[kind].get(id);
      if (known === undefined) return undefined;
      const peer = updated(kind, known, introduction);
      peers[kind].put(peer);
      return peer;
    },
    remove(kind, id) {
      const known = peers[kind].get(id);
      if (known === undefined) return;
      peers[kind].remove(id);
      pools.ipv4.release(known.ipv4);
      pools.ipv6.release(known.ipv6);
    },
    noteSeen(kind, id, at) {
      const known = peers[kind].get(id);
      if (known !== undefined) peers[kind].put({ ...known, seenAt: at });
    },
    clearHardwareChange: (isVerified) => clearHardwareChange(peers.client, isVerified),
    authorizations,
    rejections,
    commit: () => ++revision,
    get revision() {
      return revision;
    },
    takeChanges: () => changes.take(tables),
    returnChanges: (failed) => changes.giveBack(failed),
    snapshot: () => changes.everything(tables),
  };
}

function updated(kind: PeerKind, known: StoredPeer, introduction: Introduction): StoredPeer {
  const isChanged = HARDWARE.some((name) => {
    const before = known.device[name];
    return before !== undefined && introduction.device[name] !== before;
  });
  return {
    ...known,
    ...introduction,
    // A client keeps the name under which it was first seen (PT-71).
    name: kind === "client" ? known.name : introduction.name,
    isHardwareChanged: known.isHardwareChanged || isChanged,
  };
}

function clearHardwareChange(devices: PeerTable, isVerified: (externalId: string) => boolean): void {
  for (const peer of devices.all()) {
    if (!peer.isHardwareChanged || isVerified(peer.externalId)) continue;
    const known = devices.get(peer.id);
    if (known !== undefined) devices.put({ ...known, isHardwareChanged: false });
  }
}

function takeAddresses(pools: {
  readonly ipv4: AddressPool;
  readonly ipv6: AddressPool;
}): { readonly ipv4: IpAddress; readonly ipv6: IpAddress } | undefined {
  const ipv4 = pools.ipv4.take();
  const ipv6 = pools.ipv6.take();
  return ipv4 === undefined || ipv6 === undefined ? undefined : { ipv4, ipv6 };
}
