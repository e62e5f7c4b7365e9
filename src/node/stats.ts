/** What the node shows of itself (SN-136). */
import type { ConnectionStats, NodeStats } from "./face.ts";
import type { Connection, NodeState } from "./state.ts";

export function statsOf(node: NodeState): NodeStats {
  return {
    counters: { ...node.counters },
    failures: { ...node.failures },
    connections: [...node.byId.values()].map((connection) => connectionStats(node, connection)),
  };
}

function connectionStats(node: NodeState, connection: Connection): ConnectionStats {
  const { phase, agent, peer } = connection;
  const { lastHandshake, stagedPackets } = node.device.stats(peer);
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
  };
}
