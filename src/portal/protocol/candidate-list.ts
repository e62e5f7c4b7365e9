/**
 * Candidates as the portal passes them on: SDP text that only the two ends read (PT §4).
 */
import { parseList, type Tally } from "./scalar.ts";

/** A sender puts at most so many into one message; a receiver takes the first 128 (PT §4). */
export const MAX_CANDIDATES_SENT = 64;
export const MAX_CANDIDATES_RECEIVED = 128;

/** Longer text is no candidate (SN-29). */
const MAX_CANDIDATE_CHARS = 512;

export function parseCandidates(items: readonly unknown[], tally: Tally): readonly string[] {
  return parseList(
    items.slice(0, MAX_CANDIDATES_RECEIVED),
    (item) => (typeof item === "string" && item.length <= MAX_CANDIDATE_CHARS ? item : undefined),
    tally,
  );
}
