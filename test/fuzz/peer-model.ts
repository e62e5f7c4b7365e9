/** What a model knows about a peer and its sessions, besides what never changes. */
import type { PathRecord, PeerActivity, SessionKeys } from "../../src/plane/index.ts";
import type { WorldPeer } from "./plane-world.ts";

export interface SessionModel {
  readonly keys: SessionKeys;
  /** Counters that were accepted (WG-48). */
  readonly seen: Set<bigint>;
  highest: bigint;
  /** The highest counter that we have sent; -1: none. */
  sent: bigint;
}

export interface PeerModel {
  readonly world: WorldPeer;
  readonly sessions: readonly SessionModel[];
  path: PathRecord | undefined;
  current: SessionModel | undefined;
  isHeld: boolean;
  isWatched: boolean;
  isRoaming: boolean;
  punted: number;
  taken: number;
  activity: PeerActivity;
}

const REPLAY_WINDOW = 8128n;

export function createPeerModel(world: WorldPeer): PeerModel {
  const sessions = world.sessions.map((keys) => ({
    keys,
    seen: new Set<bigint>(),
    highest: -1n,
    sent: -1n,
  }));
  return {
    world,
    sessions,
    path: world.path,
    current: sessions.find(({ keys }) => keys.isInitiator),
    isHeld: false,
    isWatched: false,
    isRoaming: false,
    punted: 0,
    taken: 0,
    activity: {
      sentAny: 0,
      sentData: 0,
      recvAny: 0,
      recvData: 0,
      unanswered: 0,
      unreplied: 0,
      txPackets: 0,
      txBytes: 0,
      rxPackets: 0,
      rxBytes: 0,
    },
  };
}

/** Whether the counter is new and not too old. */
export function isFresh({ seen, highest }: SessionModel, counter: bigint): boolean {
  return highest - counter <= REPLAY_WINDOW && !seen.has(counter);
}

export function acceptCounter(session: SessionModel, counter: bigint): void {
  session.seen.add(counter);
  if (counter > session.highest) session.highest = counter;
}
