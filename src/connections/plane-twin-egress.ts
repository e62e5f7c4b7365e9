/** The twin's way from the TUN device to the sockets (WG-45, WG-46). */
import { contains, copyOf, type Instant } from "../base/index.ts";
import {
  addressesOf,
  noteSent,
  padded,
  sealMessage,
  type TwinPeer,
  type TwinSession,
} from "./plane-twin-peer.ts";
import { drop, isOwn, permitsOf, routeOf, type TwinState } from "./plane-twin-state.ts";

const HELD_MAX = 128;

/** WG-45: `undefined` at the limit. */
export function takeCounter(twin: TwinState, peer: TwinPeer, session: TwinSession): bigint | undefined {
  const { slot } = peer;
  const { generation } = session;
  if (session.sendCounter >= twin.rejectAfterMessages) {
    twin.events.push({ kind: "counter", slot, generation, limit: "reject" });
    return undefined;
  }
  if (session.sendCounter >= twin.rekeyAfterMessages && !session.isLimitReported) {
    session.isLimitReported = true;
    twin.events.push({ kind: "counter", slot, generation, limit: "rekey" });
  }
  return session.sendCounter++;
}

/** WG-46 behind the hold word; `false`: there is no usable session or path. */
function sealTo(twin: TwinState, peer: TwinPeer, now: Instant, packet: Uint8Array): boolean {
  const session = peer.current;
  const destination = peer.path?.destination;
  const hasPath = destination !== undefined && peer.path?.isBroken === false;
  const isUsable = session !== undefined && now < session.sendUntil && hasPath;
  const counter = isUsable ? takeCounter(twin, peer, session) : undefined;
  if (!isUsable || counter === undefined) return false;
  const plaintext = twin.isPlain ? padded(packet) : packet;
  const bytes = sealMessage(session, counter, plaintext);
  twin.events.push(...noteSent(peer, now, bytes.length, true));
  const source = peer.path?.source;
  twin.transmits.push({ slot: peer.slot, destination, bytes, ...(source && { source }) });
  return true;
}

function puntForSession(twin: TwinState, peer: TwinPeer, packet: Uint8Array): void {
  peer.isHeld = true;
  if (peer.punted - peer.taken >= HELD_MAX) {
    drop(twin, "wg_no_session");
    return;
  }
  peer.punted++;
  twin.punts.push({ reason: "no-session", slot: peer.slot, packet: copyOf(packet) });
}

/** A packet from the TUN device. */
export function sendPacket(twin: TwinState, now: Instant, packet: Uint8Array): void {
  const addresses = addressesOf(packet);
  if (addresses === undefined) return drop(twin, "ip-length");
  if (!isOwn(twin, addresses.source)) return drop(twin, "bad-source");
  const target = routeOf(twin, addresses.destination);
  if (target === undefined) {
    if (twin.isPlain) twin.punts.push({ reason: "refused", packet: copyOf(packet) });
    return drop(twin, twin.isPlain ? "wg_no_route" : "unknown-resource");
  }
  if (target.kind === "drop") return drop(twin, target.reason);
  if (target.kind !== "peer") {
    twin.punts.push({ reason: target.kind === "punt" ? "first" : "refused", packet: copyOf(packet) });
    return;
  }
  const peer = twin.peers.get(target.slot);
  if (peer === undefined) return drop(twin, "wg_no_route");
  const allowed = permitsOf(twin, target.slot)?.egressSources;
  if (allowed !== undefined && !allowed.some((prefix) => contains(prefix, addresses.source))) {
    return drop(twin, "not-allowed");
  }
  sendToPeer(twin, peer, now, packet);
}

function sendToPeer(twin: TwinState, peer: TwinPeer, now: Instant, packet: Uint8Array): void {
  const { slot } = peer;
  if (twin.isPlain && peer.path?.destination === undefined) {
    twin.punts.push({ reason: "refused", slot, packet: copyOf(packet) });
    drop(twin, "wg_no_endpoint");
    return;
  }
  if (peer.isHeld || !sealTo(twin, peer, now, packet)) puntForSession(twin, peer, packet);
}

/** What control has settled goes ahead of the hold word, and comes to control no second time (TN-85). */
export function inject(twin: TwinState, peer: TwinPeer, now: Instant, packet: Uint8Array): void {
  if (!sealTo(twin, peer, now, packet)) drop(twin, "inject-stale");
}
