/** What a running relay shows of itself (RL-71): for its control socket and, on SIGUSR2, for the log. */
import type { RelayDataPath } from "../../../bindings/relay/index.ts";
import type { Log } from "../../base/index.ts";
import type { TurnServer } from "../../relay/index.ts";
import type { Counts, PortalLinkStatus, RelayServerStatus } from "../control/index.ts";
import { VERSION } from "../version.ts";
import type { StreamCounts } from "./relay-streams.ts";

export interface RelayStatusParts {
  readonly server: TurnServer;
  readonly plane: RelayDataPath;
  readonly instance: string;
  readonly listenPort: number;
  readonly addresses: readonly string[];
  /** Of `performance.now()`. */
  readonly startedAt: number;
  readonly isReady: boolean;
  readonly isDraining: boolean;
  /** `undefined`: no listener for them. */
  readonly streams: StreamCounts | undefined;
  /** `undefined`: stand-alone. */
  readonly portal: PortalLinkStatus | undefined;
}

export function readRelayStatus(parts: RelayStatusParts): RelayServerStatus {
  const { server, plane } = parts;
  const stats = server.stats();
  const usage = plane.usage();
  const { client, peer } = plane.counters();
  return {
    version: VERSION,
    role: "relay",
    instance: parts.instance,
    pid: process.pid,
    uptime_s: Math.round((performance.now() - parts.startedAt) / 1000),
    ready: parts.isReady,
    draining: parts.isDraining,
    portal: parts.portal ?? null,
    addresses: parts.addresses,
    port: parts.listenPort,
    allocations: stats.allocations,
    channels: stats.boundChannels,
    cooling_channels: stats.coolingChannels,
    reservations: stats.reservations,
    ...(parts.streams && { streams: parts.streams.connections }),
    relayed: {
      to_peers: usage.toPeer,
      to_clients: usage.toClient,
    },
    counters: {
      client: workerCounts(client),
      peer: workerCounts(peer),
      control: {
        ...fromMap(stats.responses, (name) => `answer_${name.replaceAll(/[ -]/g, "_")}`),
        ...fromMap(stats.drops, (name) => `drop_relay_${name}`),
        ...(parts.streams && streamDrops(parts.streams)),
      },
    },
    rss_mib: Math.round(process.memoryUsage.rss() / (1 << 20)),
  };
}

function streamDrops({ refused, framing, late }: StreamCounts): Counts {
  return nonZero({
    drop_relay_stream_limit: refused,
    drop_relay_stream_framing: framing,
    drop_relay_stream_late: late,
  });
}

type WorkerCounts = ReturnType<RelayDataPath["counters"]>["client"];

function workerCounts(worker: WorkerCounts): Counts {
  return {
    ...nonZero(worker.counters),
    ...prefixed("drop_", worker.drops),
    ...prefixed("send_errno_", worker.sendErrnos),
    ...prefixed("receive_errno_", worker.receiveErrnos),
  };
}

function nonZero(counts: Counts): Counts {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
}

function prefixed(prefix: string, counts: Counts): Counts {
  return Object.fromEntries(Object.entries(counts).map(([name, count]) => [`${prefix}${name}`, count]));
}

function fromMap(counts: ReadonlyMap<string, number>, nameOf: (name: string) => string): Counts {
  return Object.fromEntries([...counts].map(([name, count]) => [nameOf(name), count]));
}

/** One line for the whole, one per worker; that of control is the last. */
export function logRelayStatus(log: Log, status: RelayServerStatus): void {
  const { counters, relayed, ...whole } = status;
  log.info?.("status", {
    ready: whole.ready,
    draining: whole.draining,
    portal: whole.portal?.state,
    allocations: whole.allocations,
    channels: whole.channels,
    streams: whole.streams,
    coolingChannels: whole.cooling_channels,
    bytesToPeers: relayed.to_peers.bytes,
    bytesToClients: relayed.to_clients.bytes,
    rssMib: whole.rss_mib,
  });
  for (const [name, counts] of Object.entries(counters))
    log.info?.("status: worker", { worker: name, ...counts });
}
