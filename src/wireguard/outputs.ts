/** What the device wants done, handed out one by one (SN-124). */
import type { Instant } from "../base/index.ts";
import type { PlaneCommand } from "../plane/index.ts";
import { KEEPALIVE_BYTES } from "./constants.ts";
import type { DeviceCore } from "./device-core.ts";
import type { PeerRef, WgTransmit } from "./device-face.ts";
import { encodeTransport } from "./messages.ts";
import { nonceOf } from "./primitives.ts";
import { reschedule } from "./scheduling.ts";

const NOTHING = new Uint8Array(0);

export function pollCommand(core: DeviceCore): PlaneCommand | undefined {
  if (core.carriedOut !== undefined) finishCommand(core, core.carriedOut);
  core.carriedOut = core.commands.shift();
  return core.carriedOut;
}

/** What becomes of a command once the caller has carried it out: it asks for the next one. */
function finishCommand(core: DeviceCore, command: PlaneCommand): void {
  if (command.kind === "install") {
    command.session.sendKey.fill(0);
    command.session.receiveKey.fill(0);
  } else if (command.kind === "arm-watch") {
    // What happened between reading the block and arming the watch is seen now (WG-50).
    const peer = core.peers.bySlot(command.slot);
    if (peer !== undefined) reschedule(core, peer, core.lastNow);
  }
}

export function pollTransmit(core: DeviceCore): WgTransmit | undefined {
  for (;;) {
    const next = core.transmits.shift();
    if (next === undefined) return undefined;
    const transmit =
      next.kind === "ready" ? next.transmit : sealKeepalive(core, next.peer, next.local, next.at);
    if (transmit !== undefined) return transmit;
  }
}

/** `undefined` when the session is gone by now, or its counter is used up (WG-45). */
function sealKeepalive(core: DeviceCore, ref: PeerRef, local: number, at: Instant): WgTransmit | undefined {
  const session = core.peers.find(ref)?.sessions.find((candidate) => candidate?.local === local);
  const counter = session && core.records.takeCounter(ref.slot, local);
  if (session === undefined || counter === undefined) return undefined;
  const sealed = core.crypto.seal(session.sendKey, nonceOf(counter), NOTHING, NOTHING);
  const datagram = encodeTransport({ receiver: session.remote, counter, sealed });
  core.records.noteSent(ref.slot, at, KEEPALIVE_BYTES);
  return { kind: "keepalive", peer: ref, datagram, isRetransmission: false };
}
