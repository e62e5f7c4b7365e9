/**
 * The hash from peer id to slot, written by control and read by the ingress worker at any time (WG-14).
 * `assembly/table/session.ts` says how it is searched.
 */
import { assert } from "../../src/base/index.ts";
import type { SharedMemory } from "../memory/index.ts";

/** An id that no peer has, so that a probe goes on past a removed entry. */
const REMOVED = 0xffff_ffffn << 32n;

export interface PeerIndex {
  readonly address: number;
  readonly mask: number;
  insert(peerId: number, slot: number): void;
  remove(peerId: number): void;
}

/** At most a quarter of the entries is ever in use, so probes are short. */
export function createPeerIndex(shared: SharedMemory, capacity: number): PeerIndex {
  const entries = 2 ** Math.ceil(Math.log2(capacity * 4));
  const address = shared.allocate(entries * 8);
  const mask = entries - 1;
  const place = (i: number) => (address >> 3) + (i & mask);

  /** The place of the entry, or of the first one that is free. */
  function find(matches: (entry: bigint) => boolean, peerId: number): number | undefined {
    for (let i = 0; i <= mask; i++) {
      const at = place(peerId + i);
      const entry = Atomics.load(shared.longs, at);
      if (matches(entry)) return at;
      if (entry === 0n) return undefined;
    }
    return undefined;
  }

  return {
    address,
    mask,
    insert(peerId, slot) {
      const isTaken = find((entry) => entry >> 32n === BigInt(peerId), peerId) !== undefined;
      assert(!isTaken, "a peer id is used once");
      const at = find((entry) => entry === 0n || entry === REMOVED, peerId);
      assert(at !== undefined, "the hash has room for every slot");
      // One store of both halves: a reader never sees the id with another's slot.
      Atomics.store(shared.longs, at, (BigInt(peerId) << 32n) | BigInt(slot));
    },
    remove(peerId) {
      const at = find((entry) => entry >> 32n === BigInt(peerId), peerId);
      if (at === undefined) return;
      Atomics.store(shared.longs, at, REMOVED);
      // Removed entries before a free one end no probe early any more: give them back, else a table that
      // has seen many peers would be searched in full for every unknown id.
      let i = at - (address >> 3);
      if (Atomics.load(shared.longs, place(i + 1)) !== 0n) return;
      while (Atomics.load(shared.longs, place(i)) === REMOVED) {
        Atomics.store(shared.longs, place(i), 0n);
        i--;
      }
    },
  };
}
