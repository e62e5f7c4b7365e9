/**
 * The status snapshot that SIGUSR2 writes to the log (PG-16): what is connected, and every counter that
 * is not zero. A dropped packet appears under its reason, so "in = passed + dropped" can be followed.
 */
import { formatSocketAddress, type Log, type LogFields } from "../../base/index.ts";
import type { Connections } from "../../connections/index.ts";
import type { PlaneHost } from "../shell/index.ts";

export interface StatusParts {
  readonly host: PlaneHost;
  readonly connections: Connections;
  /** Drops that the tunnel decided. */
  readonly counters: Readonly<Record<string, number>>;
  readonly portal: string;
  /** How the peers of this role are called in the log (PG-93). */
  readonly idField: "cid" | "gid";
}

type WorkerCounters = ReturnType<PlaneHost["plane"]["counters"]>["egress"];

/** One line for the whole, one per connection, one per worker; the one of control is the last. */
export function logStatus(log: Log, { host, connections, counters, portal, idField }: StatusParts): void {
  const { v4, v6 } = host.sockets();
  const stats = connections.stats();
  const plane = host.plane.counters();
  log.info?.("status", {
    portal,
    tun: host.tun.name,
    udp4Port: v4?.port,
    udp6Port: v6?.port,
    cipher: host.choice.name,
    connections: stats.connections.length,
    rssMib: Math.round(process.memoryUsage.rss() / (1 << 20)),
  });
  for (const { id, state, path, rttMs, lastHandshake } of stats.connections) {
    log.info?.("status: connection", {
      [idField]: id,
      state,
      path: path?.kind,
      local: path && formatSocketAddress(path.source),
      remote: path && formatSocketAddress(path.destination),
      rttMs,
      handshakeAgeS: lastHandshake && Math.round((host.now() - lastHandshake) / 1000),
    });
  }
  logNonZero(log, "status: egress", ofWorker(plane.egress));
  logNonZero(log, "status: ingress", ofWorker(plane.ingress));
  logNonZero(log, "status: control", {
    ...prefixed("failed_", stats.failures),
    ...stats.counters,
    ...counters,
    injectFull: plane.injectFull,
  });
}

function ofWorker(worker: WorkerCounters): Readonly<Record<string, number>> {
  return {
    ...worker.counters,
    ...prefixed("drop_", worker.drops),
    ...prefixed("send_errno_", worker.sendErrnos),
    ...prefixed("receive_errno_", worker.receiveErrnos),
    ...prefixed("tun_errno_", worker.tunErrnos),
  };
}

function prefixed(prefix: string, counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).map(([name, count]) => [`${prefix}${name}`, count]));
}

function logNonZero(log: Log, event: string, counts: LogFields): void {
  log.info?.(event, Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== 0)));
}
