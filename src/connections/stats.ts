/** What the connections show of themselves (SN-136). */
import type { ConnectionStats, ConnectionsStats } from "./face.ts";
import type { Connection, ConnectionsState } from "./state.ts";

export function statsOf(state: ConnectionsState): ConnectionsStats {
  return {
    counters: { ...state.counters },
    failures: { ...state.failures },
    connections: [...state.byId.values()].map((connection) => connectionStats(state, connection)),
  };
}

function connectionStats(state: ConnectionsState, connection: Connection): ConnectionStats {
  const { phase, agent, peer } = connection;
  const { lastHandshake, stagedPackets, sessions } = state.device.stats(peer);
  const rttMs = agent.rttMs();
  return {
    id: connection.id,
    slot: peer.slot,
    connectionIndex: peer.peerId,
    state: phase.kind,
    ...(phase.kind !== "connecting" && { path: phase.path }),
    ...(rttMs !== undefined && { rttMs }),
    stunBytesSent: connection.stunBytesSent,
    bufferedPackets: stagedPackets + (phase.kind === "connecting" ? phase.ipBuffer.length : 0),
    ...(lastHandshake !== undefined && { lastHandshake }),
    createdAt: connection.createdAt,
    sessions,
    activity: state.records.activity(peer.slot),
  };
}
