/** What the parts of the device share: its surroundings, its peers, its queues and its counters. */
import type { DeadlineQueue, Instant, Log, Queue, Random, UnixMs } from "../base/index.ts";
import type { PlaneCommand, PlaneRecords } from "../plane/index.ts";
import type { LoadGuard } from "./cookie.ts";
import type { WgEvent, WgTransmit } from "./device-face.ts";
import type { OwnIdentity } from "./noise.ts";
import type { Peer } from "./peer.ts";
import type { PeerTable } from "./peer-table.ts";
import type { HandshakeCrypto } from "./primitives.ts";
import type { WgDropCounts, WgDropReason } from "./reasons.ts";

export interface DeviceCore {
  readonly crypto: HandshakeCrypto;
  readonly random: Random;
  readonly records: PlaneRecords;
  readonly log: Log;
  /** Unix time of instant 0 for stamps; it is moved forward only (WG-8). */
  unixEpoch: UnixMs;
  readonly guard: LoadGuard;
  readonly peers: PeerTable;
  readonly queue: DeadlineQueue<Peer>;
  readonly commands: Queue<PlaneCommand>;
  readonly transmits: Queue<WgTransmit>;
  readonly events: Queue<WgEvent>;
  readonly drops: WgDropCounts;
  /** The plane has room for so many live sessions; beyond it an old one goes for each new one. */
  readonly sessionsMax: number;
  sessionCount: number;
  own: OwnIdentity | undefined;
  nextGeneration: number;
  /** The latest `now` of any input. */
  lastNow: Instant;
  lastMalformedLog: Instant | undefined;
}

/** Counts a drop of the device and, where one is known, of the peer (WG-72). */
export function countDrop(core: DeviceCore, reason: WgDropReason, peer?: Peer, count = 1): void {
  core.drops[reason] += count;
  if (peer !== undefined) peer.drops[reason] = (peer.drops[reason] ?? 0) + count;
}
