/** The peers of a device: rows, ids, keys, and the stamps that outlive a peer. */
import { createQueue, type Instant, type Random, randomBelow, toHex } from "../base/index.ts";
import { PEER_ID_REST_MS } from "./constants.ts";
import type { PeerRef } from "./device-face.ts";
import type { Peer, StampMemory } from "./peer.ts";

/** Stamps of removed peers that are kept, oldest forgotten first (WG-20, WG-71). */
const REMEMBERED_STAMPS_MAX = 4096;
/** The first key of a map is behind all that were deleted there: looked for once in a while, not each time. */
const FORGOTTEN_AT_ONCE = 1024;
/** A row is given to another peer only after that time: by then, what the rings carry is read. */
const SLOT_REST_MS = 1_000;
const PEER_IDS = 1 << 24;

export interface PeerTable {
  /** A free row and an unused random id (WG-12); `undefined` when the table is full. */
  allocate(now: Instant): PeerRef | undefined;
  add(peer: Peer): void;
  remove(now: Instant, peer: Peer): void;
  find(ref: PeerRef): Peer | undefined;
  bySlot(slot: number): Peer | undefined;
  byId(peerId: number): Peer | undefined;
  /** Of several peers with one key, the one added last (WG-14). */
  byKey(publicKey: Uint8Array): Peer | undefined;
  /** Shared by all peers, past and present, of that key. */
  stampsOf(publicKey: Uint8Array): StampMemory;
  all(): IterableIterator<Peer>;
}

export function createPeerTable(random: Random, peersMax: number): PeerTable {
  const slots: (Peer | undefined)[] = [];
  const freeSlots = createQueue<{ readonly slot: number; readonly since: Instant }>();
  const ids = new Map<number, Peer>();
  const restingIds = new Map<number, Instant>();
  const keys = new Map<string, Peer[]>();
  const remembered = new Map<string, StampMemory>();

  function allocateSlot(now: Instant): number | undefined {
    const oldest = freeSlots.first();
    const isRested = oldest !== undefined && now - oldest.since >= SLOT_REST_MS;
    if (isRested || slots.length >= peersMax) return freeSlots.shift()?.slot;
    slots.push(undefined);
    return slots.length - 1;
  }

  return {
    allocate(now) {
      const slot = allocateSlot(now);
      return slot === undefined ? undefined : { slot, peerId: drawId(now, random, ids, restingIds) };
    },
    add(peer) {
      slots[peer.ref.slot] = peer;
      ids.set(peer.ref.peerId, peer);
      const key = toHex(peer.publicKey);
      keys.set(key, [...(keys.get(key) ?? []), peer]);
      remembered.delete(key);
    },
    remove(now, peer) {
      slots[peer.ref.slot] = undefined;
      freeSlots.push({ slot: peer.ref.slot, since: now });
      ids.delete(peer.ref.peerId);
      restingIds.set(peer.ref.peerId, now);
      const key = toHex(peer.publicKey);
      const others = keys.get(key)?.filter((other) => other !== peer) ?? [];
      if (others.length > 0) {
        keys.set(key, others);
        return;
      }
      keys.delete(key);
      remembered.set(key, peer.stamps);
      if (remembered.size >= REMEMBERED_STAMPS_MAX + FORGOTTEN_AT_ONCE) forgetOldest(remembered);
    },
    find(ref) {
      const peer = slots[ref.slot];
      return peer?.ref.peerId === ref.peerId ? peer : undefined;
    },
    bySlot: (slot) => slots[slot],
    byId: (peerId) => ids.get(peerId),
    byKey: (publicKey) => keys.get(toHex(publicKey))?.at(-1),
    stampsOf(publicKey) {
      const key = toHex(publicKey);
      return keys.get(key)?.at(-1)?.stamps ?? remembered.get(key) ?? { received: undefined, sent: undefined };
    },
    all: () => ids.values(),
  };
}

function forgetOldest(remembered: Map<string, StampMemory>): void {
  for (const old of remembered.keys()) {
    if (remembered.size <= REMEMBERED_STAMPS_MAX) return;
    remembered.delete(old);
  }
}

/** WG-12: random, not zero, neither in use nor released a short while ago. */
function drawId(
  now: Instant,
  random: Random,
  inUse: ReadonlyMap<number, Peer>,
  resting: Map<number, Instant>,
): number {
  for (const [id, since] of resting) {
    if (now - since < PEER_ID_REST_MS) break;
    resting.delete(id);
  }
  for (;;) {
    const id = randomBelow(random, PEER_IDS);
    if (id !== 0 && !inUse.has(id) && !resting.has(id)) return id;
  }
}
