/** The local candidates of one agent, in the order in which they were found (SN-24 to SN-27). */
import { equalSocketAddress, type SocketAddress } from "../base/index.ts";
import {
  type Candidate,
  compareCandidates,
  isSameCandidate,
  isUsableLocal,
  type LocalAddress,
  type LocalCandidate,
  toLocalCandidate,
} from "./candidate.ts";
import { MAX_LOCAL_CANDIDATES } from "./constants.ts";
import type { LocalEntry } from "./pair.ts";

/** Adds or re-enables a candidate. `undefined`: redundant, useless, or one too many. */
export function addLocalEntry(entries: LocalEntry[], local: LocalAddress): LocalEntry | undefined {
  if (!isUsableLocal(local)) return undefined;
  // No NAT in between: the relay saw the host's own address (SN-24).
  if (local.kind === "srflx" && hasHostAt(entries, local.address)) return undefined;
  const ofKind = entries.filter(({ candidate }) => isSameKind(candidate, local));
  const candidate = toLocalCandidate(local, ofKind.length);
  const same = ofKind.find((entry) => isSameCandidate(entry.candidate, candidate));
  if (same !== undefined) {
    if (!same.isDiscarded) return undefined;
    same.isDiscarded = false;
    return same;
  }
  if (entries.length >= MAX_LOCAL_CANDIDATES) return undefined;
  const entry: LocalEntry = { candidate, isDiscarded: false };
  entries.push(entry);
  return entry;
}

/** The living candidate whose datagrams arrive at `destination` (SN-52). */
export function findByDestination(
  entries: readonly LocalEntry[],
  destination: SocketAddress,
): LocalEntry | undefined {
  return entries.find(
    ({ candidate, isDiscarded }) =>
      !isDiscarded &&
      (candidate.kind === "host" || candidate.kind === "relay") &&
      equalSocketAddress(candidate.address, destination),
  );
}

/** All that is signalled, best first (SN-21, SN-72). */
export function livingCandidates(entries: readonly LocalEntry[]): readonly LocalCandidate[] {
  return entries
    .filter((entry) => !entry.isDiscarded)
    .map((entry) => entry.candidate)
    .sort(compareCandidates);
}

function hasHostAt(entries: readonly LocalEntry[], address: SocketAddress): boolean {
  return entries.some(
    ({ candidate }) => candidate.kind === "host" && equalSocketAddress(candidate.address, address),
  );
}

function isSameKind(candidate: Candidate, local: LocalAddress): boolean {
  return candidate.kind === local.kind && candidate.address.address.length === local.address.address.length;
}
