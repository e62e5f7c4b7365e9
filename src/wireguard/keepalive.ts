/** Keepalives: empty transport messages, sealed by control itself (WG-19, WG-41, WG-45). */

import type { Instant } from "../base/index.ts";
import { KEEPALIVE_BYTES } from "./constants.ts";
import type { DeviceCore } from "./device-core.ts";
import { encodeTransport } from "./messages.ts";
import { NOTHING } from "./noise.ts";
import type { Peer, Session } from "./peer.ts";
import { nonceOf } from "./primitives.ts";

/**
 * A keepalive on that session. It takes its counter from the session's record, so it waits until the plane
 * has installed that (`handleCarriedOut`).
 */
export function queueKeepalive(core: DeviceCore, peer: Peer, now: Instant, session: Session): void {
  peer.sentAt = now;
  if (session.isInstalled) sealKeepalive(core, peer, session, now);
  else session.keepaliveAt = now;
}

/** Sends nothing when the session's counter is used up (WG-45). */
export function sealKeepalive(core: DeviceCore, peer: Peer, session: Session, at: Instant): void {
  const counter = core.records.takeCounter(peer.ref.slot, session.local);
  if (counter === undefined) return;
  const sealed = core.crypto.seal(session.sendKey, nonceOf(counter), NOTHING, NOTHING);
  const datagram = encodeTransport({ receiver: session.remote, counter, sealed });
  core.records.noteSent(peer.ref.slot, at, KEEPALIVE_BYTES);
  core.transmits.push({ kind: "keepalive", peer: peer.ref, datagram, isRetransmission: false });
}
