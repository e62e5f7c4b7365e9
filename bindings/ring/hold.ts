/**
 * The hold word of a peer: while it is set, its packets go to control instead of out (WG-46, D-10).
 *
 * The machines decide the order of packets (`src/connections/routes.ts`, `src/wireguard/sessions.ts`). This
 * file makes the decision safe against a worker that punts meanwhile: a release names how many punts of the
 * peer have been handled, and fails if there were more. Nothing is lost: the machine releases again when
 * it has handled the rest. The worker gives the hold word another value with every punt, so that
 * clearing it fails when a packet was punted at the same moment (`assembly/batch/egress.ts`).
 */

import { OFFSETS, type SharedMemory } from "../memory/index.ts";
import type { PeerTable } from "../table/index.ts";

const { peer: PEER } = OFFSETS;

export interface Holds {
  /** A peer begins its life in the slot: its punts are counted from here. */
  begin(slot: number): void;
  hold(slot: number): void;
  release(slot: number, handled: number): void;
  /** Control takes a punt `no-session` of the slot out of the ring. */
  handOut(slot: number): void;
}

export function createHolds(shared: SharedMemory, table: PeerTable): Holds {
  /** Punts of the slot's earlier peers: some may still be in the ring, so the row counts on. */
  const earlier = new Map<number, number>();

  const place = (slot: number, field: number) => (table.anyRow(slot) + field) >> 2;
  const punted = (slot: number) => Atomics.load(shared.words, place(slot, PEER.punted));

  return {
    begin(slot) {
      earlier.set(slot, punted(slot));
    },
    hold(slot) {
      // Any value will do that no punt leaves behind: those are odd.
      Atomics.store(shared.words, (table.row(slot) + PEER.hold) >> 2, 2);
    },
    release(slot, handled) {
      const hold = (table.row(slot) + PEER.hold) >> 2;
      const held = Atomics.load(shared.words, hold);
      if ((punted(slot) - (earlier.get(slot) ?? 0)) >>> 0 !== handled >>> 0) return;
      Atomics.compareExchange(shared.words, hold, held, 0);
    },
    handOut(slot) {
      Atomics.add(shared.words, place(slot, PEER.taken), 1);
    },
  };
}
