/** Our own candidates: what each agent is offered, in which order, and what the peer hears of it (SN-70). */
import { equalSocketAddress, type SocketAddress } from "../base/index.ts";
import { ICE, type LocalAddress } from "../ice/index.ts";
import type { RelayCandidate } from "../turn/index.ts";
import { noteActivity } from "./path.ts";
import type { Connection, ConnectionsState, Relay } from "./state.ts";
import { bindChannel } from "./way.ts";

/** Gives the agent all that it may offer; each that is new to it is signalled (SN-70, SN-137). */
export function seed(state: ConnectionsState, connection: Connection): void {
  for (const local of ownCandidates(state, connection)) addLocal(state, connection, local);
}

/** Without news for the agent nothing happens: the peer has heard of it (SN-25). */
export function addLocal(state: ConnectionsState, connection: Connection, local: LocalAddress): void {
  const candidate = ICE.addLocal(connection.agent, state.now, local);
  if (candidate === undefined) return;
  state.events.push({ kind: "candidate-added", id: connection.id, candidate });
  noteActivity(state, connection, "own candidate");
}

export function toHostCandidate(address: SocketAddress): LocalAddress {
  return { kind: "host", address, base: address };
}

/** Host and reflexive ones of everybody, relayed ones of the connection's relay, best first. */
function ownCandidates(state: ConnectionsState, { relay }: Connection): readonly LocalAddress[] {
  const shown = [...state.relays.values()].flatMap(offersOf);
  const lent = (relay?.isGone === false ? offersOf(relay) : []).filter(({ kind }) => kind === "relay");
  return [
    ...ranked([...state.hostAddresses.map(toHostCandidate), ...shown.filter(({ kind }) => kind === "host")]),
    ...ranked(shown.filter(({ kind }) => kind === "srflx")),
    ...ranked(lent),
  ];
}

/** Descending priority: the k-th IPv6 address before the k-th IPv4 one (SN-18, SN-21). */
function ranked(candidates: readonly LocalAddress[]): readonly LocalAddress[] {
  const distinct = candidates.filter(
    ({ address }, i) => candidates.findIndex((other) => equalSocketAddress(other.address, address)) === i,
  );
  const v6 = distinct.filter(({ address }) => address.address.length === 16);
  const v4 = distinct.filter(({ address }) => address.address.length === 4);
  const places = [...v6.map((local, k) => ({ local, k })), ...v4.map((local, k) => ({ local, k }))];
  return places.sort((a, b) => a.k - b.k).map(({ local }) => local);
}

export function offersOf(relay: Relay): readonly LocalAddress[] {
  return relay.client.candidates().flatMap((candidate) => toOffer(relay, candidate) ?? []);
}

/** Behind a stream a relay sees the bridge, not us: only what it lends counts (RL-210). */
export function toOffer({ stream }: Relay, candidate: RelayCandidate): LocalAddress | undefined {
  if (stream === undefined) return candidate;
  return candidate.kind === "relay" ? { ...candidate, isByStream: true } : undefined;
}

/** Channels to what the peer told of itself, before the first check needs one (SN-87). */
export function bindToRemotes(state: ConnectionsState, { agent, relay }: Connection): void {
  for (const { kind, address } of ICE.remoteCandidates(agent)) {
    // A host candidate is of little use through a relay: on demand.
    if (kind !== "host") bindChannel(state, { relay, destination: address });
  }
}
