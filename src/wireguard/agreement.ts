/**
 * What we and a peer agree on by our static keys alone, DH(Si, Sr). It is made when the peer is added, since its first
 * handshake should not wait. After a change of our own key it is made with the next handshake: for 65,536 peers at once it
 * would take ten seconds, in which nobody is served (WG-61, WG-67).
 */
import { assert } from "../base/index.ts";
import type { DeviceCore } from "./device-core.ts";
import { createRemoteIdentity, type RemoteIdentity } from "./noise.ts";
import type { Peer } from "./peer.ts";

export function forgetAgreement(peer: Peer): void {
  peer.remote.sharedStatic.fill(0);
  peer.isAgreementOld = true;
}

/** The peer's side of the key agreement with our key as it is now. */
export function agreedRemote(core: DeviceCore, peer: Peer): RemoteIdentity {
  if (!peer.isAgreementOld) return peer.remote;
  const remote = createRemoteIdentity(core.crypto, core.own, peer.publicKey);
  assert(remote !== undefined, "a key with zero DH is refused when its peer is added (WG-6)");
  peer.remote = remote;
  peer.isAgreementOld = false;
  return remote;
}
