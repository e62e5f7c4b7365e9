/** What a client or gateway measures of itself (PG-114). */
import { createHistogram, type Instant } from "../../base/index.ts";
import type { ConnectionChange, Connections } from "../../connections/index.ts";
import type { DnsFigures } from "../../dns/index.ts";
import type { Counts, PortalLinkStatus, ResourceView } from "../control/index.ts";
import { inSeconds, type LoopMeter, planeSamples, type Sample, sample, samplesBy } from "../metrics/index.ts";
import type { PlaneHost } from "../shell/index.ts";

export interface PeerSampleParts {
  readonly host: { readonly plane: Pick<PlaneHost["plane"], "counters">; readonly now: PlaneHost["now"] };
  readonly connections: Pick<Connections, "stats">;
  /** Drops that the tunnel decided. */
  readonly counters: Counts;
  /** Flow records in use (TN-80). */
  readonly flows: number;
  /** Of the resolver or the gateway's name server (DN-113). */
  readonly dns: DnsFigures;
  readonly resources: readonly ResourceView[];
  readonly portal: PortalLinkStatus;
  readonly loop: LoopMeter;
  readonly paths: PathMeter;
  /** `--metrics-per-peer`: labels with ids of peers. */
  readonly isPerPeer: boolean;
}

export function peerSamples(parts: PeerSampleParts): readonly Sample[] {
  const { host, connections, portal, loop, paths, isPerPeer } = parts;
  const stats = connections.stats();
  return [
    ...planeSamples(host.plane.counters(), parts.counters["prohibited-asked-again"]),
    ...connectionSamples(stats),
    ...paths.samples(),
    ...samplesBy("postern_tunnel_events_total", "counter", parts.counters),
    sample("postern_flows", parts.flows),
    ...samplesBy("postern_dns_events_total", "counter", parts.dns.counters),
    ...samplesBy("postern_dns_present", "what", parts.dns.present),
    ...samplesBy("postern_resources", "status", statusesOf(parts.resources)),
    sample("postern_portal_connected", portal.state === "connected" ? 1 : 0),
    sample("postern_portal_hiccups_total", portal.hiccups),
    ...loop.samples(),
    ...(isPerPeer ? stats.connections.flatMap((connection) => peerOf(connection, host.now())) : []),
  ];
}

const ROUTES = ["direct", "relayed", "relayed-tls", "relayed-tcp"] as const;

type Stats = ReturnType<Connections["stats"]>;

function connectionSamples({
  connections,
  failures,
  counters,
  handshakes,
  handshakeMs,
}: Stats): readonly Sample[] {
  const present = new Map<string, number>();
  for (const state of ["connecting", "connected", "idle"]) {
    for (const path of state === "connecting" ? ["none"] : ROUTES) {
      present.set(`${state} ${path}`, 0);
    }
  }
  for (const { state, path } of connections) {
    const key = `${state} ${path === undefined ? "none" : path.route}`;
    present.set(key, (present.get(key) ?? 0) + 1);
  }
  return [
    ...[...present].map(([key, count]) => {
      const [state = "", path = ""] = key.split(" ");
      return sample("postern_connections", count, { state, path });
    }),
    ...samplesBy("postern_connection_failures_total", "reason", failures),
    ...samplesBy("postern_connection_events_total", "counter", counters),
    ...samplesBy("postern_handshakes_total", "result", handshakes),
    sample("postern_handshake_duration_seconds", inSeconds(handshakeMs, 1000)),
  ];
}

function statusesOf(resources: readonly ResourceView[]): Record<ResourceView["status"], number> {
  const counts = { unknown: 0, online: 0, offline: 0 };
  for (const { status } of resources) counts[status]++;
  return counts;
}

function peerOf(
  { id: peer, activity, rttMs, lastHandshake }: Stats["connections"][number],
  now: Instant,
): readonly Sample[] {
  const age = lastHandshake === undefined ? undefined : (now - lastHandshake) / 1000;
  return [
    sample("postern_peer_rx_bytes_total", activity.rxBytes, { peer }),
    sample("postern_peer_tx_bytes_total", activity.txBytes, { peer }),
    ...(rttMs === undefined ? [] : [sample("postern_peer_rtt_seconds", rttMs / 1000, { peer })]),
    ...(age === undefined ? [] : [sample("postern_peer_handshake_age_seconds", age, { peer })]),
  ];
}

/** How long it takes to find a path. */
export interface PathMeter {
  note(change: ConnectionChange): void;
  samples(): readonly Sample[];
}

/** Seconds. Direct paths are found within a few round trips; what takes longer was hard to find. */
const PATH_BOUNDS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10];

export function createPathMeter(): PathMeter {
  const direct = createHistogram(PATH_BOUNDS);
  const relayed = createHistogram(PATH_BOUNDS);
  return {
    note({ path, tookMs }) {
      if (tookMs !== undefined) (path === "direct" ? direct : relayed).observe(tookMs / 1000);
    },
    samples: () => [
      sample("postern_ice_duration_seconds", direct.read(), { path: "direct" }),
      sample("postern_ice_duration_seconds", relayed.read(), { path: "relayed" }),
    ],
  };
}
