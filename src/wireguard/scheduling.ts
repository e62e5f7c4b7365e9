/** Keeps every peer's deadline up to date: after each input that concerns it, and when it is due. */
import type { Instant } from "../base/index.ts";
import type { DeviceCore } from "./device-core.ts";
import type { PeerRef } from "./device-face.ts";
import type { Peer } from "./peer.ts";
import { fireTriggers, nextDeadline } from "./timers.ts";

/** Runs `change` on a peer, if it is there, and brings its deadline up to date. */
export function withPeer(core: DeviceCore, now: Instant, ref: PeerRef, change: (peer: Peer) => void): void {
  const peer = core.peers.find(ref);
  if (peer === undefined) return;
  change(peer);
  reschedule(core, peer, now);
}

export function reschedule(core: DeviceCore, peer: Peer, now: Instant): void {
  core.lastNow = now;
  const { deadline, needsWatch } = nextDeadline(core, peer, now);
  if (needsWatch && !peer.isWatchArmed) {
    peer.isWatchArmed = true;
    core.commands.push({ kind: "arm-watch", slot: peer.ref.slot });
  }
  peer.dueReason = deadline?.reason ?? "";
  core.queue.set(peer, deadline?.at as Instant | undefined);
}

/** Does all that is due, peer by peer (WG-42). */
export function handleTimeout(core: DeviceCore, now: Instant): void {
  core.lastNow = now;
  for (;;) {
    const peer = core.queue.first();
    if (peer?.dueAt === undefined || peer.dueAt > now) return;
    fireTriggers(core, peer, now);
    reschedule(core, peer, now);
    // All that was due is done; a deadline that remains would be a defect, not a reason to spin.
    if (peer.dueAt !== undefined && peer.dueAt <= now) core.queue.set(peer, (now + 1) as Instant);
  }
}

/** The next deadline of any peer, never before the last input (WG-40). */
export function pollTimeout(core: DeviceCore): Instant | undefined {
  const dueAt = core.queue.first()?.dueAt;
  return dueAt === undefined ? undefined : (Math.max(dueAt, core.lastNow) as Instant);
}
