/**
 * The portal's memory: devices, gateways and authorisations, with a revision that tells which of it has
 * reached the disk (PT-71, PT-103, PT-115).
 */
import type { IpAddress, Random, UnixMs } from "../../base/index.ts";
import { randomBytes } from "../../base/index.ts";
import { PSK_BASE_BYTES } from "../derive.ts";
import { type AddressPool, createAddressPool, TUNNEL_V4, TUNNEL_V6 } from "./address-pool.ts";
import { type AuthorizationTable, createAuthorizationTable } from "./authorizations.ts";
import { randomId } from "./ids.ts";
import type { Rejection, StoredPeer, StoredState } from "./stored-state.ts";

export type PeerKind = "client" | "gateway";

/** What a peer says of itself when it connects (PT-11). */
export interface Introduction {
  readonly ownerId: string;
  readonly externalId: string;
  readonly name: string;
  readonly publicKey: Uint8Array;
  readonly version: string;
  readonly remote: IpAddress;
  readonly device: Readonly<Record<string, string>>;
}

/** Rejections are kept for the client's next `init`, but not for ever (PT-92, PT-140). */
const MAX_REJECTION_AGE_MS = 7 * 86_400_000;
const MAX_REJECTIONS = 10_000;

/** Identifiers that a verified device must keep (PT-71). */
const HARDWARE = ["device_serial", "device_uuid"];

export interface Store {
  find(kind: PeerKind, ownerId: string, externalId: string): StoredPeer | undefined;
  get(kind: PeerKind, id: string): StoredPeer | undefined;
  /** A new peer with an id, a secret and addresses; `undefined` when no address is left. */
  create(kind: PeerKind, introduction: Introduction): StoredPeer | undefined;
  /** Notes what a known peer says now. */
  update(kind: PeerKind, id: string, introduction: Introduction): StoredPeer | undefined;
  /** Devices that were verified anew after their hardware changed. */
  clearHardwareChange(isVerified: (externalId: string) => boolean): void;
  readonly authorizations: AuthorizationTable;
  noteRejection(rejection: Rejection): void;
  /** The rejections of a client; they are forgotten by it. */
  takeRejections(cid: string, wallNow: UnixMs): readonly Rejection[];
  /** Says that what changed must reach the disk; returns the revision that holds it. */
  commit(): number;
  readonly revision: number;
  snapshot(): StoredState;
}

export function createStore(initial: StoredState, random: Random): Store {
  const peers = {
    client: new Map(initial.devices.map((peer) => [peer.id, peer])),
    gateway: new Map(initial.gateways.map((peer) => [peer.id, peer])),
  };
  const idsByOwner = {
    client: new Map(initial.devices.map((peer) => [ownerKey(peer), peer.id])),
    gateway: new Map(initial.gateways.map((peer) => [ownerKey(peer), peer.id])),
  };
  const pools = { ipv4: createAddressPool(TUNNEL_V4), ipv6: createAddressPool(TUNNEL_V6) };
  for (const peer of [...initial.devices, ...initial.gateways]) {
    pools.ipv4.reserve(peer.ipv4);
    pools.ipv6.reserve(peer.ipv6);
  }
  const authorizations = createAuthorizationTable(initial.authorizations);
  let rejections = [...initial.rejections];
  let revision = 0;

  return {
    find(kind, ownerId, externalId) {
      const id = idsByOwner[kind].get(ownerKey({ ownerId, externalId }));
      return id === undefined ? undefined : peers[kind].get(id);
    },
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
      peers[kind].set(peer.id, peer);
      idsByOwner[kind].set(ownerKey(peer), peer.id);
      return peer;
    },
    update(kind, id, introduction) {
      const known = peers[kind].get(id);
      if (known === undefined) return undefined;
      const isChanged = HARDWARE.some((name) => {
        const before = known.device[name];
        return before !== undefined && introduction.device[name] !== before;
      });
      const peer: StoredPeer = {
        ...known,
        ...introduction,
        // A client keeps the name under which it was first seen (PT-71).
        name: kind === "client" ? known.name : introduction.name,
        isHardwareChanged: known.isHardwareChanged || isChanged,
      };
      peers[kind].set(id, peer);
      return peer;
    },
    clearHardwareChange(isVerified) {
      for (const peer of peers.client.values()) {
        if (!peer.isHardwareChanged || isVerified(peer.externalId)) continue;
        peers.client.set(peer.id, { ...peer, isHardwareChanged: false });
      }
    },
    authorizations,
    noteRejection(rejection) {
      rejections = rejections.filter(({ cid, rid }) => cid !== rejection.cid || rid !== rejection.rid);
      rejections.push(rejection);
      if (rejections.length > MAX_REJECTIONS) rejections.shift();
    },
    takeRejections(cid, wallNow) {
      const own = rejections.filter((rejection) => rejection.cid === cid);
      if (own.length > 0) rejections = rejections.filter((rejection) => rejection.cid !== cid);
      return own.filter(({ at }) => wallNow - at <= MAX_REJECTION_AGE_MS);
    },
    commit: () => ++revision,
    get revision() {
      return revision;
    },
    snapshot: () => ({
      devices: [...peers.client.values()],
      gateways: [...peers.gateway.values()],
      authorizations: [...authorizations.all()],
      rejections,
    }),
  };
}

function takeAddresses(pools: {
  readonly ipv4: AddressPool;
  readonly ipv6: AddressPool;
}): { readonly ipv4: IpAddress; readonly ipv6: IpAddress } | undefined {
  const ipv4 = pools.ipv4.take();
  const ipv6 = pools.ipv6.take();
  return ipv4 === undefined || ipv6 === undefined ? undefined : { ipv4, ipv6 };
}

function ownerKey({
  ownerId,
  externalId,
}: {
  readonly ownerId: string;
  readonly externalId: string;
}): string {
  return `${ownerId}|${externalId}`;
}
