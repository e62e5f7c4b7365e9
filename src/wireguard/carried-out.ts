/** What follows when the plane has carried a command out (WG-27, WG-50). */
import type { Instant } from "../base/index.ts";
import type { PlaneCommand } from "../plane/index.ts";
import type { DeviceCore } from "./device-core.ts";
import { sealKeepalive } from "./keepalive.ts";
import { reschedule } from "./scheduling.ts";

export function handleCarriedOut(core: DeviceCore, now: Instant, command: PlaneCommand): void {
  if (command.kind === "install") {
    command.session.sendKey.fill(0);
    command.session.receiveKey.fill(0);
    noteInstalled(core, command.slot, command.session.generation);
  } else if (command.kind === "arm-watch") {
    // What happened between reading the block and arming the watch is seen now (WG-50).
    const peer = core.peers.bySlot(command.slot);
    if (peer !== undefined) reschedule(core, peer, now);
  }
}

/** From now on the session's counters can be taken; a keepalive may have waited for that (WG-45). */
function noteInstalled(core: DeviceCore, slot: number, generation: number): void {
  const peer = core.peers.bySlot(slot);
  const session = peer?.sessions.find((candidate) => candidate?.generation === generation);
  if (peer === undefined || session === undefined) return;
  const { keepaliveAt } = session;
  session.isInstalled = true;
  session.keepaliveAt = undefined;
  if (keepaliveAt !== undefined) sealKeepalive(core, peer, session, keepaliveAt);
}
