/** What the connections show of themselves (SN-136). */
import { ICE } from "../ice/index.ts";
import { routeOf } from "./changes.ts";
import type { ConnectionStats, ConnectionsStats, RelayStats } from "./face.ts";
import { mtuInside } from "./path-mtu.ts";
import type { Connection, ConnectionsState, Path, Relay } from "./state.ts";

export function statsOf(state: ConnectionsState): ConnectionsStats {
  return {
    counters: { ...state.counters },
    failures: { ...state.failures },
    handshakes: { ...state.handshakes },
    handshakeMs: state.handshakeMs.read(),
    connections: [...state.byId.values()].map((connection) => connectionStats(state, connection)),
    relays: [...state.relays.values()].flatMap(relayStats),
    relayBytesSent: state.relayBytesSent,
  };
}

function connectionStats(state: ConnectionsState, connection: Connection): ConnectionStats {
  const { phase, agent, peer } = connection;
  const { lastHandshake, stagedPackets, sessions } = state.device.stats(peer);
  const rttMs = ICE.rttMs(agent);
  return {
    id: connection.id,
    slot: peer.slot,
    connectionIndex: peer.peerId,
    state: phase.kind,
    ...(phase.kind !== "connecting" && { path: shownPath(phase.path) }),
    ...(rttMs !== undefined && { rttMs }),
    stunBytesSent: connection.stunBytesSent,
    stunBytesRelayed: connection.stunBytesRelayed,
    drops: { ...connection.drops },
    ...(connection.relay && { relay: connection.relay.stream?.relay ?? connection.relay.id }),
    bufferedPackets: stagedPackets + (phase.kind === "connecting" ? phase.ipBuffer.length : 0),
    ...(lastHandshake !== undefined && { lastHandshake }),
    createdAt: connection.createdAt,
    sessions,
    activity: state.records.activity(peer.slot),
  };
}

export function shownPath(path: Path): NonNullable<ConnectionStats["path"]> {
  const { kind, source, destination, mtu } = path;
  return {
    kind,
    route: routeOf(path),
    source,
    destination,
    mtu: { outside: mtu.bytes, inside: mtuInside(path) },
  };
}

export function relayStats({ id, client, entry, stream }: Relay): readonly RelayStats[] {
  const address = client.activeSocket() ?? entry.v4 ?? entry.v6;
  const rttMs = client.rttMs();
  if (address === undefined) return [];
  return [
    {
      id: stream?.relay ?? id,
      transport: stream?.transport ?? "udp",
      address,
      state: client.state(),
      ...(rttMs !== undefined && { rttMs }),
    },
  ];
}
