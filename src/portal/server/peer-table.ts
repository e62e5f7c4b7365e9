/**
 * The devices, or the gateways, that the portal remembers (PT-71), found by id, by owner, and by the
 * token against whose quota they count (PT-77).
 */
import { pack, unpack } from "./packed-peer.ts";
import type { PackedPeer, PeerFacts, StoredPeer } from "./stored-state.ts";

export interface PeerTable {
  get(id: string): StoredPeer | undefined;
  find(ownerId: string, externalId: string): StoredPeer | undefined;
  /** Adds a peer, or replaces what is known of it. */
  put(peer: StoredPeer): void;
  remove(id: string): void;
  all(): Iterable<PeerFacts>;
  countOfToken(tokenHash: string): number;
  /** Ids. */
  ofToken(tokenHash: string): Iterable<string>;
  facts(id: string): PeerFacts | undefined;
  packed(id: string): PackedPeer | undefined;
  /** Each at least once, also when peers are used or changed meanwhile. */
  allPacked(): Iterable<PackedPeer>;
}

/** @param onChange called with the id of every peer that changes */
export function createPeerTable(initial: readonly PackedPeer[], onChange: (id: string) => void): PeerTable {
  /** As they were read; a peer that somebody asks for moves to the other table. */
  const asRead = new Map<string, PackedPeer>();
  const inUse = new Map<string, StoredPeer>();
  const index = createPeerIndex();

  function get(id: string): StoredPeer | undefined {
    const packed = asRead.get(id);
    if (packed === undefined) return inUse.get(id);
    const peer = unpack(packed);
    asRead.delete(id);
    inUse.set(id, peer);
    return peer;
  }

  const facts = (id: string): PeerFacts | undefined => asRead.get(id) ?? inUse.get(id);

  for (const peer of initial) {
    asRead.set(peer.id, peer);
    index.add(peer);
  }
  return {
    get,
    find(ownerId, externalId) {
      const id = index.find(ownerId, externalId);
      return id === undefined ? undefined : get(id);
    },
    put(peer) {
      const known = facts(peer.id);
      if (known !== undefined) index.remove(known);
      asRead.delete(peer.id);
      inUse.set(peer.id, peer);
      index.add(peer);
      onChange(peer.id);
    },
    remove(id) {
      const known = facts(id);
      if (known === undefined) return;
      index.remove(known);
      asRead.delete(id);
      inUse.delete(id);
      onChange(id);
    },
    *all() {
      yield* asRead.values();
      yield* inUse.values();
    },
    countOfToken: (tokenHash) => index.ofToken(tokenHash).size,
    ofToken: (tokenHash) => index.ofToken(tokenHash),
    facts,
    packed(id) {
      const peer = inUse.get(id);
      return peer === undefined ? asRead.get(id) : pack(peer);
    },
    *allPacked() {
      yield* asRead.values();
      for (const peer of inUse.values()) yield pack(peer);
    },
  };
}

interface PeerIndex {
  add(peer: PeerFacts): void;
  remove(peer: PeerFacts): void;
  find(ownerId: string, externalId: string): string | undefined;
  ofToken(tokenHash: string): ReadonlySet<string>;
}

const NONE: ReadonlySet<string> = new Set();

function createPeerIndex(): PeerIndex {
  const idsByOwner = new Map<string, string>();
  const idsByToken = new Map<string, Set<string>>();
  return {
    add({ id, ownerId, externalId, tokenHash }) {
      idsByOwner.set(ownerKey(ownerId, externalId), id);
      const ids = idsByToken.get(tokenHash);
      if (ids === undefined) idsByToken.set(tokenHash, new Set([id]));
      else ids.add(id);
    },
    remove({ id, ownerId, externalId, tokenHash }) {
      idsByOwner.delete(ownerKey(ownerId, externalId));
      const ids = idsByToken.get(tokenHash);
      ids?.delete(id);
      if (ids?.size === 0) idsByToken.delete(tokenHash);
    },
    find: (ownerId, externalId) => idsByOwner.get(ownerKey(ownerId, externalId)),
    ofToken: (tokenHash) => idsByToken.get(tokenHash) ?? NONE,
  };
}

function ownerKey(ownerId: string, externalId: string): string {
  return `${ownerId}|${externalId}`;
}
