/**
 * The relay's module: what it exports. `bindings/relay/relay-plane.ts` drives it. A module of its own, since
 * a relay encrypts nothing, and who carries tunnels relays nothing.
 */

export { constantsEnd, layoutHash } from "../module";
export { relayClientLoop, relayClientTurn, relayPeerLoop, relayPeerTurn } from "./loop";
export { relayLink, relayUnlink } from "./table";
