/** What became of connections and relays, for people who watch: a bounded list that nobody has to read. */
import type { ConnectionChange, PathRoute } from "./face.ts";
import type { Connection, ConnectionsState, Path, Relay } from "./state.ts";

/** Of those that nobody takes, the newest are kept. */
const CHANGES_MAX = 1_024;

export function noteChange(
  state: ConnectionsState,
  { id, phase }: Connection,
  more: Pick<ConnectionChange, "reason" | "tookMs"> & { readonly state?: "failed" | "closed" } = {},
): void {
  const isOver = more.state !== undefined;
  const path = isOver || phase.kind === "connecting" ? "none" : routeOf(phase.path);
  state.changes.push({ id, state: phase.kind, path, ...more });
  if (state.changes.length > CHANGES_MAX) state.changes.shift();
}

/** A relay that is in another state than was noted last. */
export function noteRelay(state: ConnectionsState, relay: Relay): void {
  const present = relay.client.state();
  if (present === relay.noted) return;
  relay.noted = present;
  state.relayChanges.push({ id: relay.stream?.relay ?? relay.id, state: present });
  if (state.relayChanges.length > CHANGES_MAX) state.relayChanges.shift();
}

/** Whether a relay carries it, on either side; and whether we reach ours by a stream (RL-212). */
export function routeOf({ kind, relay }: Pick<Path, "kind" | "relay">): PathRoute {
  if (kind === "peer-to-peer") return "direct";
  return relay?.stream === undefined ? "relayed" : `relayed-${relay.stream.transport}`;
}
