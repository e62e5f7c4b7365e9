/** What machines read and stamp at once in shared memory (WG-41, WG-45, WG-49). */
import { NO_ACTIVITY, type PlaneRecords } from "../../src/plane/index.ts";
import { OFFSETS, type SharedMemory } from "../memory/index.ts";
import type { PeerTable } from "./peer-table.ts";

const { peer: PEER, session: SESSION } = OFFSETS;

export function createPlaneRecords(shared: SharedMemory, table: PeerTable): PlaneRecords {
  const load = (at: number) => Number(Atomics.load(shared.longs, at >> 3));
  const store = (at: number, value: number) =>
    Atomics.store(shared.longs, at >> 3, BigInt(Math.floor(value)));
  const add = (at: number, value: number) => Atomics.add(shared.longs, at >> 3, BigInt(value));

  // A machine asks about a peer as soon as it has chosen its slot, before the command that adds the
  // peer is carried out: nothing has happened there yet.
  return {
    activity(slot) {
      if (!table.has(slot)) return NO_ACTIVITY;
      const row = table.row(slot);
      return {
        sentAny: load(row + PEER.sentAny),
        sentData: load(row + PEER.sentData),
        recvAny: load(row + PEER.recvAny),
        recvData: load(row + PEER.recvData),
        unanswered: load(row + PEER.unanswered),
        unreplied: load(row + PEER.unreplied),
        txPackets: load(row + PEER.txPackets),
        txBytes: load(row + PEER.txBytes),
        rxPackets: load(row + PEER.rxPackets),
        rxBytes: load(row + PEER.rxBytes),
      };
    },
    takeCounter(slot, local) {
      const session = table.findSession(slot, local);
      if (session === undefined) return undefined;
      const limit = shared.longs[(session + SESSION.rejectLimit) >> 3] ?? 0n;
      const place = (session + SESSION.sendCounter) >> 3;
      if (Atomics.load(shared.longs, place) >= limit) return undefined;
      const counter = Atomics.add(shared.longs, place, 1n);
      // The egress worker may have taken the last ones in between.
      return counter < limit ? counter : undefined;
    },
    noteSent(slot, now, bytes) {
      if (!table.has(slot)) return;
      const row = table.row(slot);
      store(row + PEER.sentAny, now);
      store(row + PEER.unreplied, 0);
      add(row + PEER.txBytes, bytes);
    },
    noteReceived(slot, now, bytes) {
      if (!table.has(slot)) return;
      const row = table.row(slot);
      store(row + PEER.recvAny, now);
      store(row + PEER.unanswered, 0);
      add(row + PEER.rxBytes, bytes);
    },
    received(slot, local) {
      const session = table.findSession(slot, local);
      if (session === undefined) return undefined;
      return { packets: load(session + SESSION.received), highest: load(session + SESSION.last) };
    },
  };
}
