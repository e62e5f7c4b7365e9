/** A change in parts that follow each other, so that tens of thousands of new peers do not take one turn (WG-67). */
import { PEERS_PER_STEP } from "./steps.ts";
import type { WgPeerSet, WgSet } from "./uapi.ts";

export interface WgSetPart {
  readonly change: WgSet;
  /**
   * Routes wait for a later part: making all tables anew for each would cost more than the peers. A part that
   * takes peers away never waits, since a route must not lead to whoever has their place next.
   */
  readonly holdsRoutes: boolean;
}

export function* partsOf(change: WgSet): Generator<WgSetPart, void> {
  let part: WgPeerSet[] = [];
  let rest: WgSet = { ...change, peers: [] };
  for (const [i, peer] of change.peers.entries()) {
    part.push(peer);
    if (part.length < PEERS_PER_STEP || i === change.peers.length - 1) continue;
    const removes = rest.replacePeers || part.some(({ remove }) => remove);
    yield { change: { ...rest, peers: part }, holdsRoutes: !removes };
    part = [];
    rest = { replacePeers: false, peers: [] };
  }
  yield { change: { ...rest, peers: part }, holdsRoutes: false };
}
