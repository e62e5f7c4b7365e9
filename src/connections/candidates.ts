/** Candidates of peers, as the portal brings them (SN-29 to SN-36). */
import { ICE, parseCandidate } from "../ice/index.ts";
import { noteActivity } from "./path.ts";
import { type Connection, type ConnectionsState, count, idField } from "./state.ts";
import { bindChannel } from "./way.ts";

/** A peer decides how long its lists are, not how long our log lines are. */
const LOGGED_CANDIDATES_MAX = 32;

/** Candidates for a connection that does not exist are counted and dropped (SN-36). */
export function noteUnknownConnection(
  state: ConnectionsState,
  id: string,
  candidates: readonly unknown[],
): void {
  if (state.byId.has(id)) return;
  state.counters.candidate_unknown_connection += candidates.length;
  state.log.debug?.("candidates for no connection", {
    ...idField(state, id),
    count: candidates.length,
  });
}

export function addRemotes(
  state: ConnectionsState,
  connection: Connection,
  candidates: readonly unknown[],
): void {
  connection.log.info?.("candidates received", { candidates: candidates.slice(0, LOGGED_CANDIDATES_MAX) });
  for (const text of candidates) {
    const candidate = parseCandidate(text);
    if (!candidate.ok) {
      skip(state, connection, candidate.reason);
      continue;
    }
    const verdict = ICE.addRemote(connection.agent, state.now, candidate.value);
    if (verdict === "over-limit") count(state, "candidate_over_limit", connection);
    if (verdict !== "accepted") skip(state, connection, verdict);
    else {
      noteActivity(state, connection, "remote candidate");
      // Before a check needs the channel; a host candidate is of little use through a relay (SN-87).
      const { kind, address } = candidate.value;
      if (kind !== "host") bindChannel(state, { relay: connection.relay, destination: address });
    }
  }
}

export function removeRemotes(
  state: ConnectionsState,
  connection: Connection,
  candidates: readonly unknown[],
): void {
  connection.log.info?.("candidates withdrawn", { candidates: candidates.slice(0, LOGGED_CANDIDATES_MAX) });
  for (const text of candidates) {
    const candidate = parseCandidate(text);
    if (!candidate.ok) skip(state, connection, candidate.reason);
    else {
      ICE.removeRemote(connection.agent, state.now, candidate.value);
      noteActivity(state, connection, "remote candidate withdrawn");
    }
  }
}

function skip(state: ConnectionsState, connection: Connection, reason: string): void {
  if (reason !== "over-limit") count(state, "candidate_skipped", connection);
  connection.log.debug?.("candidate skipped", { reason });
}
