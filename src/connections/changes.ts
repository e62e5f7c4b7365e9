/** What became of connections, for people who watch: a bounded list that nobody has to read. */
import type { ConnectionChange, PathKind } from "./face.ts";
import type { Connection, ConnectionsState } from "./state.ts";

/** Of those that nobody takes, the newest are kept. */
const CHANGES_MAX = 1_024;

export function noteChange(
  state: ConnectionsState,
  { id, phase }: Connection,
  more: Pick<ConnectionChange, "reason" | "tookMs"> & { readonly state?: "failed" | "closed" } = {},
): void {
  const isOver = more.state !== undefined;
  const path = isOver || phase.kind === "connecting" ? "none" : routeOf(phase.path.kind);
  state.changes.push({ id, state: phase.kind, path, ...more });
  if (state.changes.length > CHANGES_MAX) state.changes.shift();
}

/** Whether a relay carries it, on either side. */
export function routeOf(kind: PathKind): "direct" | "relayed" {
  return kind === "peer-to-peer" ? "direct" : "relayed";
}
