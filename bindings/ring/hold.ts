/**
 * When a peer's packets may pass again after some of them went to control (WG-46, D-10).
 *
 * A release takes effect only when every packet that was punted for the peer has been handled: those still
 * in the ring, and those that control has taken and is working on, go first. What control does with one
 * batch of punts it does in one go, so a batch counts as handled when the next one is taken, or as soon as
 * the running script is done. A release that comes too early needs no repetition: what is left in the ring
 * makes control release again.
 *
 * The worker gives the hold word another value with every punt, so that clearing it fails when a packet was
 * punted meanwhile (`assembly/batch/egress.ts`).
 */
import { OFFSETS } from "../memory/layout.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import type { PeerTable } from "../table/peer-table.ts";

const { peer: PEER } = OFFSETS;

export interface Holds {
  hold(slot: number): void;
  release(slot: number): void;
  /** Control takes a punt `no-session` of the slot. */
  handOut(slot: number): void;
  /** All that was taken has been handled. */
  settle(): void;
}

export function createHolds(shared: SharedMemory, table: PeerTable): Holds {
  /** Punts in control's hands, by slot. */
  const inHand = new Map<number, number>();
  const wanted = new Set<number>();

  const place = (slot: number, field: number) => (table.anyRow(slot) + field) >> 2;

  function clear(slot: number): void {
    const { words } = shared;
    const held = Atomics.load(words, place(slot, PEER.hold));
    const punted = Atomics.load(words, place(slot, PEER.punted));
    if (punted !== Atomics.load(words, place(slot, PEER.taken))) return;
    Atomics.compareExchange(words, place(slot, PEER.hold), held, 0);
  }

  function settle(): void {
    for (const [slot, punts] of inHand) Atomics.add(shared.words, place(slot, PEER.taken), punts);
    inHand.clear();
    for (const slot of wanted) clear(slot);
    wanted.clear();
  }

  return {
    settle,
    hold(slot) {
      wanted.delete(slot);
      // Any value will do that no punt leaves behind: those are odd.
      Atomics.store(shared.words, (table.row(slot) + PEER.hold) >> 2, 2);
    },
    release(slot) {
      table.row(slot);
      if (inHand.size === 0) clear(slot);
      else wanted.add(slot);
    },
    handOut(slot) {
      if (inHand.size === 0) queueMicrotask(settle);
      inHand.set(slot, (inHand.get(slot) ?? 0) + 1);
    },
  };
}
