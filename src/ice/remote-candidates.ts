/** The remote candidates of one agent: what the peer told, what checks taught, what is worth a guess. */
import { equalSocketAddress, formatIp, formatSocketAddress, type SocketAddress } from "../base/index.ts";
import { type Candidate, compareCandidates, isSameCandidate } from "./candidate.ts";
import { MAX_OPTIMISTIC, MAX_REMOTE_CANDIDATES } from "./constants.ts";
import type { RemoteEntry } from "./pair.ts";

export interface RemoteCandidates {
  readonly entries: RemoteEntry[];
  /** How many guesses were ever made (SN-37). */
  optimisticCount: number;
}

export type RemoteAddition =
  /** A new entry, or one that was discarded: form all its pairs. */
  | { readonly kind: "added"; readonly entry: RemoteEntry }
  /** It takes the place of one learnt or guessed: its pairs live on with another priority (SN-33). */
  | { readonly kind: "replaced"; readonly entry: RemoteEntry }
  /** Known and alive: form the pairs that were given up since (SN-34). */
  | { readonly kind: "known"; readonly entry: RemoteEntry }
  | { readonly kind: "over-limit" };

export function createRemoteCandidates(): RemoteCandidates {
  return { entries: [], optimisticCount: 0 };
}

/** Takes in a signalled candidate (SN-32 to SN-34). */
export function addSignalled(remotes: RemoteCandidates, candidate: Candidate): RemoteAddition {
  const same = remotes.entries.find((entry) => isSameCandidate(entry.candidate, candidate));
  if (same !== undefined) {
    if (same.isDiscarded) {
      Object.assign(same, { candidate, origin: "signalled", isDiscarded: false });
      return { kind: "added", entry: same };
    }
    if (same.origin === "signalled") return { kind: "known", entry: same };
  }
  const provisional = same ?? findTemporary(remotes, candidate.address);
  if (provisional !== undefined) {
    Object.assign(provisional, { candidate, origin: "signalled" });
    return { kind: "replaced", entry: provisional };
  }
  return append(remotes, { candidate, origin: "signalled", isDiscarded: false });
}

/** Takes in the source of a valid check as a temporary peer-reflexive candidate (SN-64). */
export function addTemporary(
  remotes: RemoteCandidates,
  address: SocketAddress,
  priority: number,
): RemoteAddition {
  const candidate: Candidate = { kind: "prflx", address, priority };
  const same = remotes.entries.find((entry) => isSameCandidate(entry.candidate, candidate));
  if (same !== undefined) return { kind: "known", entry: same };
  return append(remotes, { candidate, origin: "temporary", isDiscarded: false });
}

/** The entry that a removal means: the same candidate, else what was learnt at its address (SN-35). */
export function findRemoval(remotes: RemoteCandidates, candidate: Candidate): RemoteEntry | undefined {
  const isMeant = (entry: RemoteEntry): boolean =>
    !entry.isDiscarded && isSameCandidate(entry.candidate, candidate);
  return remotes.entries.find(isMeant) ?? findTemporary(remotes, candidate.address);
}

/** The best living candidate at an address (SN-53). */
export function findByAddress(remotes: RemoteCandidates, address: SocketAddress): RemoteEntry | undefined {
  return remotes.entries
    .filter((entry) => !entry.isDiscarded && equalSocketAddress(entry.candidate.address, address))
    .sort((a, b) => compareCandidates(a.candidate, b.candidate))[0];
}

/** Whether the peer has withdrawn the address: checks from it are then ignored (SN-35). */
export function isWithdrawn(remotes: RemoteCandidates, address: SocketAddress): boolean {
  return (
    findByAddress(remotes, address) === undefined &&
    remotes.entries.some((entry) => equalSocketAddress(entry.candidate.address, address))
  );
}

/**
 * Guesses that a NAT forwards the peer's host ports: each server-reflexive address with each host port
 * of its family (SN-37). Returns the new entries.
 */
export function addOptimistic(remotes: RemoteCandidates): readonly RemoteEntry[] {
  const added: RemoteEntry[] = [];
  const known = new Set(remotes.entries.map((entry) => formatSocketAddress(entry.candidate.address)));
  for (const reflexive of signalledOf(remotes, "srflx")) {
    const { address } = reflexive.address;
    for (const host of signalledOf(remotes, "host")) {
      if (remotes.optimisticCount >= MAX_OPTIMISTIC) return added;
      if (host.address.address.length !== address.length) continue;
      const guess = { address, port: host.address.port };
      if (known.has(formatSocketAddress(guess))) continue;
      known.add(formatSocketAddress(guess));
      const candidate: Candidate = { kind: "srflx", address: guess, priority: reflexive.priority - 1 };
      const addition = append(remotes, { candidate, origin: "optimistic", isDiscarded: false });
      if (addition.kind !== "added") return added;
      remotes.optimisticCount++;
      added.push(addition.entry);
    }
  }
  return added;
}

/**
 * Forgets what checks taught and no pair needs any more: a peer whose NAT gives it another address every hour
 * would else use up its places. The peer's next check from there teaches it again (SN-64).
 */
export function forgetLearnt(remotes: RemoteCandidates, isNeeded: (entry: RemoteEntry) => boolean): void {
  const kept = remotes.entries.filter(
    (entry) => entry.origin !== "temporary" || entry.isDiscarded || isNeeded(entry),
  );
  remotes.entries.splice(0, remotes.entries.length, ...kept);
}

/** Whether the peer is known to use that address: it may fail a connection (SN-93). */
export function hasLivingAddress(remotes: RemoteCandidates, address: SocketAddress): boolean {
  return findByAddress(remotes, address) !== undefined;
}

/** What the peer told of itself or showed: neither withdrawn nor guessed. */
export function toldCandidates(remotes: RemoteCandidates): readonly Candidate[] {
  return remotes.entries
    .filter(({ isDiscarded, origin }) => !isDiscarded && origin !== "optimistic")
    .map(({ candidate }) => candidate);
}

function signalledOf(remotes: RemoteCandidates, kind: "host" | "srflx"): readonly Candidate[] {
  return remotes.entries
    .filter((entry) => entry.origin === "signalled" && !entry.isDiscarded && entry.candidate.kind === kind)
    .map((entry) => entry.candidate)
    .sort(compareCandidates);
}

function findTemporary(remotes: RemoteCandidates, address: SocketAddress): RemoteEntry | undefined {
  return remotes.entries.find(
    (entry) =>
      entry.origin === "temporary" &&
      !entry.isDiscarded &&
      equalSocketAddress(entry.candidate.address, address),
  );
}

/** Appends within the limit; the oldest withdrawn candidate makes room, a living one never does. */
function append(remotes: RemoteCandidates, entry: RemoteEntry): RemoteAddition {
  if (remotes.entries.length >= MAX_REMOTE_CANDIDATES) {
    const withdrawn = remotes.entries.findIndex((other) => other.isDiscarded);
    if (withdrawn < 0) return { kind: "over-limit" };
    remotes.entries.splice(withdrawn, 1);
  }
  remotes.entries.push(entry);
  return { kind: "added", entry };
}

/** For logs. */
export function formatRemote({ candidate }: RemoteEntry): string {
  return `${candidate.kind} ${formatIp(candidate.address.address)}:${candidate.address.port}`;
}
