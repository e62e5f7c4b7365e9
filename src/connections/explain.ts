/** Why each connection goes as it does: a pure look at what the agent has seen (PG-190, PG-191). */
import { unreachable } from "../base/index.ts";
import { ICE, type PairReport } from "../ice/index.ts";
import { CAUSES, type Cause, type CauseFacts } from "./causes.ts";
import { routeOf } from "./changes.ts";
import type { Explanation, FailReason, RelayStats } from "./face.ts";
import { type NatSight, ownNat, peerNat } from "./nat-sight.ts";
import type { Connection, ConnectionsState } from "./state.ts";
import { relayStats } from "./stats.ts";

/** Failed connections that are remembered; the oldest is forgotten. */
const FAILED_MAX = 64;
/** Longer than a pair lives without an answer (SN-60). */
const SEARCH_MS = 18_000;

/** What decides the cause. Everything is known of a living connection and of one that fails. */
export interface Circumstances {
  readonly state: Explanation["state"];
  readonly path: Explanation["path"];
  readonly failure: FailReason | undefined;
  readonly hadPath: boolean;
  readonly hasOwnAddress: boolean;
  readonly pairs: readonly PairReport[];
  /** Families of own addresses, and of the peer's. A relay's address is neither's own. */
  readonly ownFamilies: ReadonlySet<4 | 6>;
  readonly peerFamilies: ReadonlySet<4 | 6>;
  /** Whether the peer has told any address, be it a relay's. */
  readonly hasPeerAddress: boolean;
  readonly isRefusing: boolean;
  readonly ownNat: NatSight;
  readonly peerNat: NatSight;
  /** Why relays are not reached by stream either; `undefined`: one is, or UDP reaches them. */
  readonly streamFailure: string | undefined;
  readonly ageMs: number;
}

export function explainAll(state: ConnectionsState): readonly Explanation[] {
  const living = [...state.byId.values()].map((connection) => explain(state, connection));
  const failed = [...state.failed.values()].filter(({ id }) => !state.byId.has(id));
  return [...living, ...failed];
}

/** Called while the agent still knows its pairs. */
export function rememberFailure(state: ConnectionsState, connection: Connection, reason: FailReason): void {
  const { failed } = state;
  failed.delete(connection.id);
  failed.set(connection.id, explain(state, connection, reason));
  const [oldest] = failed.keys();
  if (failed.size > FAILED_MAX && oldest !== undefined) failed.delete(oldest);
}

function explain(state: ConnectionsState, connection: Connection, failure?: FailReason): Explanation {
  const seen = circumstancesOf(state, connection, failure);
  const [relay] = connection.relay === undefined ? [] : relayStats(connection.relay);
  const cause = causeOf(seen);
  const before = state.failed.get(connection.id);
  // Who tries again at once would always be told that paths are being looked for.
  if (cause === "searching" && before !== undefined) {
    return { ...before, state: seen.state, since: connection.createdAt };
  }
  return {
    id: connection.id,
    state: seen.state,
    since: failure === undefined ? connection.createdAt : state.now,
    path: seen.path,
    cause,
    ...wordsFor(cause, factsOf(seen, relay)),
    hasUdpPassed: seen.pairs.some(isAlive),
    ownFamilies: [...seen.ownFamilies].sort(),
    peerFamilies: [...seen.peerFamilies].sort(),
    ownNat: seen.ownNat,
    peerNat: seen.peerNat,
    pairs: seen.pairs,
    ...(relay && { relay }),
  };
}

function circumstancesOf(
  state: ConnectionsState,
  { agent, phase, createdAt }: Connection,
  failure: FailReason | undefined,
): Circumstances {
  const pairs = ICE.pairs(agent);
  const told = ICE.remoteCandidates(agent);
  const own = pairs.filter(({ localKind }) => localKind !== "relay").map(({ base }) => base);
  const peer = [
    ...told.filter(({ kind }) => kind !== "relay").map(({ address }) => address),
    ...pairs.filter(({ remoteKind }) => remoteKind !== "relay").map(({ remote }) => remote),
  ];
  const isOver = failure !== undefined;
  // Behind a stream a relay sees the bridge, not us.
  const byUdp = [...state.relays.values()].filter(({ stream }) => stream === undefined);
  return {
    state: isOver ? "failed" : phase.kind,
    path: isOver || phase.kind === "connecting" ? "none" : routeOf(phase.path),
    failure,
    hadPath: phase.kind !== "connecting",
    hasOwnAddress: ICE.hasHadLocal(agent),
    pairs,
    ownFamilies: familiesOf([...state.hostAddresses, ...own]),
    peerFamilies: familiesOf(peer),
    hasPeerAddress: told.length > 0 || pairs.length > 0,
    isRefusing: ICE.refusal(agent) === "bad-integrity" || ICE.refusal(agent) === "unknown-username",
    ownNat: ownNat(byUdp.map(({ client }) => client.candidates())),
    peerNat: peerNat(told),
    streamFailure: state.streams.hasWarned ? state.streams.lastFailure : undefined,
    ageMs: state.now - createdAt,
  };
}

function familiesOf(sockets: readonly { readonly address: Uint8Array }[]): ReadonlySet<4 | 6> {
  return new Set(sockets.map(({ address }) => (address.length === 4 ? 4 : 6)));
}

/** Whether something of the peer has come in on the pair. */
function isAlive({ heardAt, lastAnsweredAt, errorCode }: PairReport): boolean {
  return heardAt !== undefined || lastAnsweredAt !== undefined || errorCode !== undefined;
}

export function isDirect({ localKind, remoteKind }: PairReport): boolean {
  return localKind !== "relay" && remoteKind !== "relay";
}

/** The first that holds, from what is certain to what is likely. */
export function causeOf(seen: Circumstances): Cause {
  switch (seen.path) {
    case "direct":
      return "direct";
    case "relayed":
      return causeOfRelayed(seen);
    case "relayed-tls":
    case "relayed-tcp":
      return "relayed-stream";
    case "none":
      return causeOfNone(seen);
    default:
      return unreachable(seen.path);
  }
}

function causeOfRelayed({ pairs, ageMs, ownNat, peerNat }: Circumstances): Cause {
  const direct = pairs.filter(isDirect);
  if (direct.length === 0) return "relayed-no-pair";
  if (direct.some(({ state }) => state === "checking") && ageMs < SEARCH_MS) return "relayed-for-now";
  if (direct.some(isAlive)) return "relayed-one-way";
  if (ownNat.mapping === "differs") {
    return peerNat.mapping === "differs" ? "relayed-both-remap" : "relayed-own-remaps";
  }
  return peerNat.mapping === "differs" ? "relayed-peer-remaps" : "relayed-not-heard";
}

function causeOfNone(seen: Circumstances): Cause {
  const { failure, pairs, hasOwnAddress, hasPeerAddress, hadPath, isRefusing } = seen;
  if (failure === "handshake-decrypt") return "handshake-keys";
  if (failure === "wireguard-expired") return "handshake-silent";
  if (failure === "ice-timeout" && hadPath) return "path-died";
  if (!hasOwnAddress) return "no-own-address";
  if (pairs.length === 0 && failure === undefined && seen.ageMs < SEARCH_MS && !hasPeerAddress) {
    return "searching";
  }
  if (!hasPeerAddress) return "peer-is-mute";
  if (pairs.length === 0) return "no-common-family";
  if (pairs.some(({ errorCode }) => errorCode !== undefined)) return "answered-by-error";
  if (isRefusing) return "checks-refused";
  if (failure === undefined && seen.ageMs < SEARCH_MS) return "searching";
  if (pairs.some(isAlive)) return "one-way";
  return seen.streamFailure === undefined ? "not-heard" : "nothing-passes";
}

function factsOf(
  { pairs, ownFamilies, peerFamilies, streamFailure, ageMs }: Circumstances,
  relay: RelayStats | undefined,
): CauseFacts {
  const errorCode = pairs.find((pair) => pair.errorCode !== undefined)?.errorCode;
  return {
    directPairs: pairs.filter(isDirect).length,
    ownFamilies: formatFamilies(ownFamilies),
    peerFamilies: formatFamilies(peerFamilies),
    ...(errorCode !== undefined && { errorCode }),
    ...(streamFailure !== undefined && { streamFailure }),
    ...(relay && { relay: relay.id, transport: relay.transport.toUpperCase() }),
    ...(relay?.rttMs !== undefined && { rttMs: Math.round(relay.rttMs) }),
    ageS: Math.round(ageMs / 1000),
  };
}

function formatFamilies(families: ReadonlySet<4 | 6>): string {
  const names = [...families].sort().map((family) => `IPv${family}`);
  return names.length === 0 ? "no own address" : names.join(" and ");
}

function wordsFor(cause: Cause, facts: CauseFacts): Pick<Explanation, "sentence" | "remedy"> {
  const text = CAUSES[cause];
  const sentence = text.sentence(facts);
  return "remedy" in text ? { sentence, remedy: text.remedy } : { sentence };
}
