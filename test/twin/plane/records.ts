/** What machines read and stamp at once (WG-41, WG-45, WG-49): the twin of `bindings/table/records.ts`. */
import { NO_ACTIVITY, type PlaneRecords } from "../../../src/plane/index.ts";
import { sessionOf } from "./peer.ts";
import type { TwinState } from "./state.ts";

export function createRecords({ peers, settings }: TwinState): PlaneRecords {
  const findSession = (slot: number, local: number) => {
    const peer = peers.get(slot);
    return peer && sessionOf(peer, local);
  };
  return {
    activity: (slot) => ({ ...(peers.get(slot)?.activity ?? NO_ACTIVITY) }),
    takeCounter(slot, local) {
      const session = findSession(slot, local);
      if (session === undefined || session.sendCounter >= settings.rejectAfterMessages) return undefined;
      return session.sendCounter++;
    },
    noteSent(slot, now, bytes) {
      const activity = peers.get(slot)?.activity;
      if (activity === undefined) return;
      activity.sentAny = now;
      activity.unreplied = 0;
      activity.txBytes += bytes;
    },
    noteReceived(slot, now, bytes) {
      const activity = peers.get(slot)?.activity;
      if (activity === undefined) return;
      activity.recvAny = now;
      activity.unanswered = 0;
      activity.rxBytes += bytes;
    },
    received(slot, local) {
      const window = findSession(slot, local)?.window;
      return window && { packets: window.accepted(), highest: Number(window.highest()) };
    },
  };
}
