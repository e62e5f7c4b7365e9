/**
 * Fragments that come to control: what became of the first of each datagram, and later ones that wait for it (TN-112).
 *
 * A pure machine, with bounds per peer and for all of them. Nothing is put together: each later fragment goes as its
 * first one went.
 */
import { after, copyOf, earliest, type Instant } from "../base/index.ts";
import type { FragmentOf } from "../packet/index.ts";
import {
  DATAGRAM_TTL_MS,
  DATAGRAMS_KNOWN,
  DATAGRAMS_PER_PEER,
  FRAGMENT_BYTES_PER_PEER,
  FRAGMENT_BYTES_WAITING,
  FRAGMENT_WAIT_MS,
  FRAGMENTS_PER_PEER,
  FRAGMENTS_WAITING,
} from "./constants.ts";

export interface Fragments<Fate> {
  /**
   * The first fragment was decided.
   * @param owner whose packet it is
   * @returns the later ones that have waited for it, in the order in which they came
   */
  decide(now: Instant, owner: string, fragment: FragmentOf, fate: Fate): readonly Uint8Array[];
  /** What became of the first fragment; `undefined`: nobody knows. */
  fateOf(now: Instant, fragment: FragmentOf): Fate | undefined;
  /** Keeps a copy of a later one until its first comes. @returns whether there is room */
  keep(now: Instant, owner: string, fragment: FragmentOf, packet: Uint8Array): boolean;
  /** What was decided for the owner's datagrams holds no more; all of them without one. */
  forget(owner?: string): void;
  /** @returns how many have waited in vain */
  handleTimeout(now: Instant): number;
  pollTimeout(): Instant | undefined;
}

interface Known<Fate> {
  readonly owner: string;
  readonly at: Instant;
  readonly fate: Fate;
}

interface Waiting {
  readonly owner: string;
  readonly since: Instant;
  readonly packets: Uint8Array[];
}

interface Load {
  count: number;
  bytes: number;
}

interface State<Fate> {
  /** By datagram, the oldest first. */
  readonly known: Map<string, Known<Fate>>;
  readonly knownOf: Map<string, Set<string>>;
  readonly waiting: Map<string, Waiting>;
  readonly loadOf: Map<string, Load>;
  readonly load: Load;
}

export function createFragments<Fate>(): Fragments<Fate> {
  const state: State<Fate> = {
    known: new Map(),
    knownOf: new Map(),
    waiting: new Map(),
    loadOf: new Map(),
    load: { count: 0, bytes: 0 },
  };
  return {
    decide(now, owner, { datagram }, fate) {
      know(state, datagram, { owner, at: now, fate });
      return take(state, datagram);
    },
    fateOf(now, { datagram }) {
      const known = state.known.get(datagram);
      return known !== undefined && now < after(known.at, DATAGRAM_TTL_MS) ? known.fate : undefined;
    },
    keep: (now, owner, { datagram }, packet) =>
      keep(state, { owner, since: now, packets: [packet] }, datagram),
    forget(owner) {
      for (const datagram of owner === undefined ? state.known.keys() : (state.knownOf.get(owner) ?? [])) {
        drop(state, datagram);
      }
    },
    handleTimeout(now) {
      let lost = 0;
      for (const [datagram, { since }] of state.waiting) {
        if (now < after(since, FRAGMENT_WAIT_MS)) break;
        lost += take(state, datagram).length;
      }
      return lost;
    },
    pollTimeout() {
      const [oldest] = state.waiting.values();
      return earliest(oldest && after(oldest.since, FRAGMENT_WAIT_MS));
    },
  };
}

function know<Fate>(state: State<Fate>, datagram: string, known: Known<Fate>): void {
  drop(state, datagram);
  const ofOwner = state.knownOf.get(known.owner) ?? new Set();
  state.knownOf.set(known.owner, ofOwner.add(datagram));
  state.known.set(datagram, known);
  const [oldestOfOwner] = ofOwner;
  if (ofOwner.size > DATAGRAMS_PER_PEER && oldestOfOwner !== undefined) drop(state, oldestOfOwner);
  const [oldest] = state.known.keys();
  if (state.known.size > DATAGRAMS_KNOWN && oldest !== undefined) drop(state, oldest);
}

function drop<Fate>({ known, knownOf }: State<Fate>, datagram: string): void {
  const owner = known.get(datagram)?.owner;
  if (owner === undefined) return;
  known.delete(datagram);
  const ofOwner = knownOf.get(owner);
  if (ofOwner?.delete(datagram) && ofOwner.size === 0) knownOf.delete(owner);
}

function keep<Fate>(state: State<Fate>, { owner, since, packets }: Waiting, datagram: string): boolean {
  const bytes = packets.reduce((sum, { length }) => sum + length, 0);
  const ofOwner = state.loadOf.get(owner) ?? { count: 0, bytes: 0 };
  const isFull =
    state.load.count >= FRAGMENTS_WAITING ||
    state.load.bytes + bytes > FRAGMENT_BYTES_WAITING ||
    ofOwner.count >= FRAGMENTS_PER_PEER ||
    ofOwner.bytes + bytes > FRAGMENT_BYTES_PER_PEER;
  if (isFull) return false;
  const waiting = state.waiting.get(datagram) ?? { owner, since, packets: [] };
  waiting.packets.push(...packets.map(copyOf));
  state.waiting.set(datagram, waiting);
  state.loadOf.set(owner, ofOwner);
  for (const load of [state.load, ofOwner]) addTo(load, packets.length, bytes);
  return true;
}

/** Takes those that wait out. */
function take<Fate>(state: State<Fate>, datagram: string): readonly Uint8Array[] {
  const waiting = state.waiting.get(datagram);
  if (waiting === undefined) return [];
  const { owner, packets } = waiting;
  state.waiting.delete(datagram);
  const bytes = packets.reduce((sum, { length }) => sum + length, 0);
  const ofOwner = state.loadOf.get(owner);
  for (const load of [state.load, ofOwner]) if (load !== undefined) addTo(load, -packets.length, -bytes);
  if (ofOwner?.count === 0) state.loadOf.delete(owner);
  return packets;
}

function addTo(load: Load, count: number, bytes: number): void {
  load.count += count;
  load.bytes += bytes;
}
