/** Peers that come and go, and the keys by which they are known. */
import { copyOf, equalBytes, type Instant, malformed, type Parsed, parsed, toBase64 } from "../base/index.ts";
import { forgetAgreement } from "./agreement.ts";
import { sendKeepaliveNow } from "./attempt.ts";
import { createHandshakeGuard } from "./cookie.ts";
import type { DeviceCore } from "./device-core.ts";
import type { AddPeerRefusal, PeerOptions, PeerRef } from "./device-face.ts";
import { isLowOrder } from "./low-order.ts";
import { createOwnIdentity, createRemoteIdentity, type RemoteIdentity } from "./noise.ts";
import { createPeer, type Peer } from "./peer.ts";
import { reschedule } from "./scheduling.ts";
import { forgetAttempt, retireAllSessions } from "./sessions.ts";

/** How much of its key names a peer in the log (WG-54). */
const LOG_KEY_CHARACTERS = 8;

export function shortName(publicKey: Uint8Array): string {
  return toBase64(publicKey).slice(0, LOG_KEY_CHARACTERS);
}

export function addPeer(
  core: DeviceCore,
  now: Instant,
  options: PeerOptions,
): Parsed<PeerRef, AddPeerRefusal> {
  const remote = createRemote(core, options.publicKey);
  if (!remote.ok) return remote;
  const ref = core.peers.allocate(now);
  if (ref === undefined) return malformed("full");
  const { publicKey, presharedKey } = options;
  const peer = createPeer({
    now,
    ref,
    options: { ...options, ...(presharedKey && { presharedKey: copyOf(presharedKey) }) },
    remote: remote.value,
    stamps: core.peers.stampsOf(publicKey),
    log: core.log.scope("wireguard", options.logFields ?? { peer: shortName(publicKey) }),
  });
  core.peers.add(peer);
  core.commands.push({ kind: "add-peer", ...ref });
  if (peer.keepaliveMs > 0) sendKeepaliveNow(core, peer, now);
  reschedule(core, peer, now);
  return parsed(ref);
}

export function removePeer(core: DeviceCore, now: Instant, peer: Peer): void {
  forgetAttempt(peer);
  retireAllSessions(core, peer);
  peer.cookie?.value.fill(0);
  peer.presharedKey?.fill(0);
  peer.remote.sharedStatic.fill(0);
  core.queue.set(peer, undefined);
  core.peers.remove(now, peer);
  core.commands.push({ kind: "remove-peer", slot: peer.ref.slot });
}

/**
 * WG-69: nothing secret stays. Peers are not taken out of the tables one by one, which takes seconds where there are
 * many: nobody looks there any more.
 */
export function erase(core: DeviceCore): void {
  core.own?.pair.erase();
  core.own = undefined;
  publishGuard(core);
  for (const peer of core.peers.all()) {
    forgetAttempt(peer);
    peer.attempt = { kind: "expired" };
    retireAllSessions(core, peer);
    peer.cookie?.value.fill(0);
    peer.presharedKey?.fill(0);
    peer.remote.sharedStatic.fill(0);
    peer.staged = [];
    core.queue.set(peer, undefined);
  }
}

/** WG-61: nothing that was agreed on with the old key stays. Key agreements are made anew when they are needed. */
export function setStaticKey(core: DeviceCore, now: Instant, key: Uint8Array | undefined): void {
  core.own?.pair.erase();
  core.own = key && createOwnIdentity(core.crypto, copyOf(key));
  publishGuard(core);
  for (const peer of [...core.peers.all()]) {
    forgetAttempt(peer);
    retireAllSessions(core, peer);
    peer.cookie = undefined;
    peer.lastMessage = undefined;
    peer.lastSessionWasOurs = false;
    if (core.own !== undefined && equalBytes(core.own.publicKey, peer.publicKey)) {
      removePeer(core, now, peer);
      continue;
    }
    forgetAgreement(peer);
    reschedule(core, peer, now);
  }
}

/** The plane judges handshake messages by our key from now on (PG-160). */
export function publishGuard(core: DeviceCore): void {
  const guard = core.own && createHandshakeGuard(core.random, core.own);
  core.commands.push({ kind: "set-guard", guard });
}

/** The peer's side of the key agreement; our own key and zero results are refused (WG-6, WG-53). */
function createRemote(
  core: DeviceCore,
  publicKey: Uint8Array,
): Parsed<RemoteIdentity, "own-key" | "zero-dh"> {
  if (isLowOrder(publicKey)) return malformed("zero-dh");
  const { own } = core;
  if (own !== undefined && equalBytes(own.publicKey, publicKey)) return malformed("own-key");
  const remote = createRemoteIdentity(core.crypto, own, copyOf(publicKey));
  return remote === undefined ? malformed("zero-dh") : parsed(remote);
}
