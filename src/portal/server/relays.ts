/**
 * Relays: who is there, who was given which, and what is said when they come and go (PT-88, PT-89).
 *
 *     relay joins or goes ──▶ 1 s of quiet ──▶ peers that are concerned, in groups over 1 s
 *     peer joins ──▶ its `init` names two      └▶ `relays_presence`: what is gone, and the whole new choice
 */
import {
  after,
  earliest,
  formatSocketAddress,
  type Instant,
  toBase64,
  type UnixMs,
  unixMs,
} from "../../base/index.ts";
import { deriveRelayCredentials, deriveRelayId } from "../derive.ts";
import { CLOSE_REPLACED, type RelayEntry, type RelayJoin } from "../protocol/index.ts";
import { type Core, pushToClient, pushToGateway } from "./core.ts";
import type { Location } from "./model.ts";
import { chooseRelays, RELAYS_PER_PEER } from "./relay-choice.ts";
import type { PeerSocket } from "./sockets.ts";

export interface Relays {
  /** A relay has joined, or joined again. @returns the older socket of the same relay, which is closed */
  handleJoined(now: Instant, socket: PeerSocket, join: RelayJoin): PeerSocket | undefined;
  /** The socket of a relay, client or gateway has ended. */
  handleGone(now: Instant, socket: PeerSocket): void;
  /** What a peer's `init` lists; it counts as given from now on. */
  give(now: Instant, socket: PeerSocket): readonly RelayEntry[];
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
}

/** Relays that flap, or come together after a restart, are told of once (PT-89). */
const QUIET_MS = 1_000;
/** Peers are told in groups, so that all of them do not ask their new relays at once. */
const GROUPS = 20;
const GROUP_MS = 50;
const RENEW_BEFORE_MS = 24 * 3_600_000;
const LIFETIME_MS = 90 * RENEW_BEFORE_MS;

interface PresentRelay {
  readonly id: string;
  readonly socket: PeerSocket;
  readonly join: RelayJoin;
  readonly location?: Location;
}

/** What a peer was told. */
interface Given {
  /** Where each relay was, by its id: the same secret at another place is to be asked there. */
  readonly places: ReadonlyMap<string, string>;
  /** When it gets new credentials, a day before those it has expire. */
  readonly renewAt: Instant | undefined;
}

interface State {
  readonly core: Core;
  readonly present: Map<string, PresentRelay>;
  readonly given: Map<PeerSocket, Given>;
  /** Who is to be told, oldest first. */
  readonly waiting: Set<PeerSocket>;
  groupSize: number;
  /** When the relays have rested. */
  lookAt: Instant | undefined;
  /** When the next group is told. */
  groupAt: Instant | undefined;
  renewAt: Instant | undefined;
}

export function createRelays(core: Core): Relays {
  const state: State = {
    core,
    present: new Map(),
    given: new Map(),
    waiting: new Set(),
    groupSize: 0,
    lookAt: undefined,
    groupAt: undefined,
    renewAt: undefined,
  };
  return {
    handleJoined: (now, socket, join) => handleJoined(state, now, socket, join),
    handleGone: (now, socket) => handleGone(state, now, socket),
    give: (now, socket) => give(state, now, socket),
    handleTimeout: (now) => handleTimeout(state, now),
    pollTimeout: () => earliest(state.lookAt, state.groupAt, state.renewAt),
  };
}

function handleJoined(
  state: State,
  now: Instant,
  socket: PeerSocket,
  join: RelayJoin,
): PeerSocket | undefined {
  const { core, present } = state;
  const id = deriveRelayId(join.stampSecret);
  // It may have joined before with another secret.
  if (relayOf(state, socket)?.id !== id) handleGone(state, now, socket);
  const older = present.get(id)?.socket;
  const location = core.model.tokens.get(socket.token.hash)?.location;
  present.set(id, { id, socket, join, ...(location === undefined ? {} : { location }) });
  state.lookAt ??= after(now, QUIET_MS);
  if (older === undefined || older === socket) return undefined;
  core.sockets.close(older, CLOSE_REPLACED, "replaced");
  return older;
}

function handleGone(state: State, now: Instant, socket: PeerSocket): void {
  state.given.delete(socket);
  state.waiting.delete(socket);
  const relay = relayOf(state, socket);
  if (relay === undefined) return;
  state.present.delete(relay.id);
  state.lookAt ??= after(now, QUIET_MS);
}

function relayOf({ present }: State, socket: PeerSocket): PresentRelay | undefined {
  if (socket.kind !== "relay") return undefined;
  for (const relay of present.values()) if (relay.socket === socket) return relay;
  return undefined;
}

function give(state: State, now: Instant, socket: PeerSocket): readonly RelayEntry[] {
  const { core, present, given } = state;
  const kept = new Set(given.get(socket)?.places.keys());
  const chosen = chooseRelays([...present.values()], locationOf(core, socket), kept, core.random);
  const peer = socket.kind === "relay" ? undefined : core.store.get(socket.kind, socket.peerId);
  if (peer === undefined) return [];
  const { expiresAt, isOurs } = expiryFor(core, now, socket);
  const renewAt = isOurs && chosen.length > 0 ? after(now, LIFETIME_MS - RENEW_BEFORE_MS) : undefined;
  given.set(socket, { places: new Map(chosen.map((relay) => [relay.id, placeOf(relay)])), renewAt });
  state.renewAt = earliest(state.renewAt, renewAt);
  const key = toBase64(peer.publicKey);
  return chosen.flatMap((relay) => entriesOf(relay, expiresAt, key));
}

/** Clients lose a relay with their token at the latest; `isOurs`: the limit is that of the credentials. */
function expiryFor(
  { clock }: Core,
  now: Instant,
  { kind, token }: PeerSocket,
): { readonly expiresAt: UnixMs; readonly isOurs: boolean } {
  const limit = unixMs(clock.wallNow(now) + LIFETIME_MS);
  const isEarlier = kind === "client" && token.expiresAt !== undefined && token.expiresAt < limit;
  return isEarlier ? { expiresAt: token.expiresAt, isOurs: false } : { expiresAt: limit, isOurs: true };
}

/** One entry per address. */
function entriesOf(
  { id, socket, join }: PresentRelay,
  expiresAt: UnixMs,
  key: string,
): readonly RelayEntry[] {
  const expiresS = Math.floor(expiresAt / 1000);
  const credentials = deriveRelayCredentials(expiresS, join.stampSecret, key);
  return (socket.relayAddresses ?? []).map((address) => ({
    id,
    address,
    ...credentials,
    expiresAt: unixMs(expiresS * 1000),
    ...(join.tls && { tls: { address: { ...address, port: join.tls.port }, name: join.tls.name } }),
    ...(join.tcp && { tcp: { address: { ...address, port: join.tcp.port } } }),
  }));
}

/** Gateways stand at their site; where clients are, nobody says (PT-118). */
function locationOf({ store, model }: Core, { kind, peerId }: PeerSocket): Location | undefined {
  const gateway = kind === "gateway" ? store.get("gateway", peerId) : undefined;
  return gateway === undefined ? undefined : model.sites.get(gateway.ownerId)?.location;
}

function handleTimeout(state: State, now: Instant): void {
  if (isDue(state.lookAt, now)) {
    state.lookAt = undefined;
    for (const [socket, given] of state.given) if (isConcerned(state, given)) state.waiting.add(socket);
    begin(state, now);
  }
  if (isDue(state.renewAt, now)) {
    state.renewAt = undefined;
    for (const [socket, { renewAt }] of state.given) {
      if (isDue(renewAt, now)) state.waiting.add(socket);
      else state.renewAt = earliest(state.renewAt, renewAt);
    }
    begin(state, now);
  }
  if (isDue(state.groupAt, now)) tellGroup(state, now);
}

function isDue(at: Instant | undefined, now: Instant): boolean {
  return at !== undefined && now >= at;
}

/** Whether a relay of the peer is gone, or it has fewer than it might. */
function isConcerned({ present }: State, { places }: Given): boolean {
  const isShort = places.size < Math.min(RELAYS_PER_PEER, present.size);
  return isShort || goneOf(present, places).length > 0;
}

/** Ids of the relays that are not there any more, or not where they were. */
function goneOf(
  present: ReadonlyMap<string, PresentRelay>,
  places: ReadonlyMap<string, string>,
): readonly string[] {
  return [...places].flatMap(([id, place]) => {
    const relay = present.get(id);
    return relay !== undefined && placeOf(relay) === place ? [] : [id];
  });
}

function placeOf({ socket, join }: PresentRelay): string {
  return JSON.stringify([(socket.relayAddresses ?? []).map(formatSocketAddress), join.tls, join.tcp]);
}

function begin(state: State, now: Instant): void {
  if (state.waiting.size === 0) return;
  state.groupSize = Math.ceil(state.waiting.size / GROUPS);
  state.groupAt ??= now;
}

function tellGroup(state: State, now: Instant): void {
  let left = state.groupSize;
  for (const socket of state.waiting) {
    if (left-- === 0) break;
    state.waiting.delete(socket);
    tell(state, now, socket);
  }
  state.groupAt = state.waiting.size === 0 ? undefined : after(now, GROUP_MS);
}

function tell(state: State, now: Instant, socket: PeerSocket): void {
  const { core, present } = state;
  const disconnectedIds = goneOf(present, state.given.get(socket)?.places ?? new Map());
  const message = { kind: "relays-presence", disconnectedIds, connected: give(state, now, socket) } as const;
  if (socket.kind === "client") pushToClient(core, socket, message);
  else pushToGateway(core, socket, message);
}
