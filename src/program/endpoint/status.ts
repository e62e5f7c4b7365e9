/**
 * What a client or gateway shows of itself (PG-109): one snapshot, for the control socket as JSON and for
 * the log on SIGUSR2 (PG-16). A dropped packet appears under its reason, so "in = passed + dropped" can be
 * followed.
 */
import {
  formatIp,
  formatSocketAddress,
  type Instant,
  type IpAddress,
  type Log,
  type LogFields,
} from "../../base/index.ts";
import type { ConnectionStats, Connections, Explanation, RelayStats } from "../../connections/index.ts";
import { type BestRoutes, PROBE_V4, PROBE_V6 } from "../../host/index.ts";
import type {
  ConnectionView,
  Counts,
  DnsStatus,
  EgressStatus,
  PeerStatus,
  PlaneStatus,
  PortalLinkStatus,
  ProgramStatus,
  RelayStatus,
  ResourceView,
} from "../control/index.ts";
import type { PlaneFeatures, PlaneHost } from "../shell/index.ts";
import type { StreamFigures } from "./relay-streams.ts";
import type { Login } from "./role.ts";
import { failedViews, whyOf } from "./why.ts";

export interface StatusParts {
  readonly program: Omit<ProgramStatus, "role"> & { readonly role: PeerStatus["role"] };
  readonly login: Login;
  readonly account: string | undefined;
  readonly portal: PortalLinkStatus;
  readonly host: PlaneHost;
  readonly mtu: number;
  /** Of the device, as accepted. */
  readonly addresses: readonly IpAddress[];
  readonly features: PlaneFeatures;
  readonly routes: BestRoutes;
  readonly connections: Pick<Connections, "stats" | "explanations">;
  readonly streams: () => StreamFigures;
  /** Drops that the tunnel decided. */
  readonly counters: Counts;
  readonly resources: readonly ResourceView[];
  readonly dns: DnsStatus | undefined;
  readonly purposeOf: (id: string, now: Instant) => Pick<ConnectionView, "resources" | "authorizations">;
}

type WorkerCounters = ReturnType<PlaneHost["plane"]["counters"]>["egress"];

export function readStatus(parts: StatusParts): PeerStatus {
  const { program, login, account, portal, host, connections, counters, features } = parts;
  const stats = connections.stats();
  const explanations = connections.explanations();
  const plane = host.plane.counters();
  const { gso, gro, tunOffload, enobufsRetry, icmpErrorCreatesFlow } = features;
  return {
    ...program,
    id: login.externalId,
    name: login.name,
    account: account ?? null,
    portal,
    tun: tunStatus(parts),
    sockets: socketsStatus(host, features),
    cipher: host.choice.name,
    egress: egressStatus(parts.routes),
    dns: parts.dns ?? { method: "none", sentinels: [], upstreams: [] },
    relays: stats.relays.map((relay) => relayView(relay, parts.streams())),
    resources: parts.resources,
    connections: [
      ...stats.connections.map((connection) =>
        connectionView(
          { role: program.role, now: host.now(), purposeOf: parts.purposeOf },
          connection,
          explanations,
        ),
      ),
      ...failedViews({ explanations, role: program.role, now: host.now() }),
    ],
    counters: {
      egress: nonZero(ofWorker(plane.egress)),
      ingress: nonZero(ofWorker(plane.ingress)),
      control: nonZero({
        ...prefixed("failed_", stats.failures),
        ...stats.counters,
        ...counters,
        inject_full: plane.injectFull,
      }),
    },
    plane: planeStatus(plane),
    flags: {
      ...{ gso, gro, tun_offload: tunOffload, enobufs_retry: enobufsRetry },
      icmp_error_creates_flow: icmpErrorCreatesFlow,
    },
    rss_mib: Math.round(process.memoryUsage.rss() / (1 << 20)),
  };
}

export function planeStatus({
  egress,
  ingress,
  queues,
}: ReturnType<PlaneHost["plane"]["counters"]>): PlaneStatus {
  return {
    batches: { egress: egress.batches, ingress: ingress.batches },
    waits_us: { egress: egress.waits, ingress: ingress.waits },
    queues: Object.fromEntries(
      Object.entries(queues).map(([name, { entries, bufferBytes }]) => [
        name,
        { entries, buffer_bytes: bufferBytes },
      ]),
    ),
  };
}

function tunStatus({ host, mtu, addresses }: StatusParts): PeerStatus["tun"] {
  const text = (bytes: number): string | null => {
    const found = addresses.find(({ length }) => length === bytes);
    return found === undefined ? null : formatIp(found);
  };
  const [ipv4, ipv6] = [text(4), text(16)];
  const single = ipv4 === null ? (ipv6 === null ? "none" : "v6-only") : "v4-only";
  const stack = ipv4 !== null && ipv6 !== null ? "dual" : single;
  return { name: host.tun.name, mtu, ipv4, ipv6, stack, offloads: `0x${host.tun.offloads.toString(16)}` };
}

function socketsStatus(host: PlaneHost, { gso, gro }: PlaneFeatures): PeerStatus["sockets"] {
  const { v4, v6 } = host.sockets();
  const one = v4 ?? v6;
  return {
    v4: v4?.port ?? null,
    v6: v6?.port ?? null,
    gso,
    gro: gro && one?.gro === true,
    rcvbuf: one?.receiveBufferBytes ?? 0,
    sndbuf: one?.sendBufferBytes ?? 0,
  };
}

function egressStatus(routes: BestRoutes): PeerStatus["egress"] {
  const view = (probe: IpAddress): EgressStatus | null => {
    const route = routes.find(probe);
    if (route === undefined) return null;
    const { device, gateway, source } = route;
    return {
      interface: device,
      gateway: gateway === undefined ? null : formatIp(gateway),
      source: source === undefined ? null : formatIp(source),
    };
  };
  return { v4: view(PROBE_V4), v6: view(PROBE_V6) };
}

export function relayView(
  { id, transport, address, state, rttMs }: RelayStats,
  { waiting }: StreamFigures,
): RelayStatus {
  return {
    id,
    transport,
    address: formatSocketAddress(address),
    state,
    rtt_ms: rttMs === undefined ? null : Math.round(rttMs),
    allocated: state === "active",
    ...(transport !== "udp" && { waiting_bytes: waiting.get(id) ?? 0 }),
  };
}

/** One connection, with what it is for (PG-110). */
export function connectionView(
  {
    role,
    now,
    purposeOf,
  }: {
    readonly role: PeerStatus["role"];
    readonly now: Instant;
    readonly purposeOf: StatusParts["purposeOf"];
  },
  { id, state, path, relay, rttMs, lastHandshake, createdAt, sessions, activity }: ConnectionStats,
  explanations: readonly Explanation[],
): ConnectionView {
  const seconds = (since: number | undefined): number | null =>
    since === undefined || since === 0 ? null : Math.max(0, Math.round((now - since) / 1000));
  return {
    ...(role === "client" ? { gid: id } : { cid: id }),
    name: null,
    state,
    path: path === undefined ? "none" : path.route,
    local: path === undefined ? null : formatSocketAddress(path.source),
    remote: path === undefined ? null : formatSocketAddress(path.destination),
    relay: relay ?? null,
    mtu: path?.mtu.outside ?? null,
    mtu_inside: path?.mtu.inside ?? null,
    rtt_ms: rttMs ?? null,
    rx_bytes: activity.rxBytes,
    tx_bytes: activity.txBytes,
    rx_packets: activity.rxPackets,
    tx_packets: activity.txPackets,
    handshake_age_s: seconds(lastHandshake),
    last_activity_s: seconds(Math.max(activity.sentData, activity.recvData)),
    sessions,
    ...purposeOf(id, now),
    since: new Date(Date.now() - (now - createdAt)).toISOString(),
    why: whyOf(explanations, id),
  };
}

/** One line for the whole, one per connection, one per worker; the one of control is the last. */
export function logStatus(log: Log, status: PeerStatus): void {
  log.info?.("status", {
    portal: status.portal.state,
    tun: status.tun.name,
    udp4Port: status.sockets.v4 ?? undefined,
    udp6Port: status.sockets.v6 ?? undefined,
    cipher: status.cipher,
    connections: status.connections.length,
    rssMib: status.rss_mib,
  });
  for (const view of status.connections) {
    const { gid, cid, state, path, local, remote, mtu, mtu_inside, rtt_ms, handshake_age_s } = view;
    log.info?.(
      "status: connection",
      withoutNull({ gid, cid, state, path, local, remote, mtu, mtu_inside, rtt_ms, handshake_age_s }),
    );
  }
  log.info?.("status: egress", status.counters.egress);
  log.info?.("status: ingress", status.counters.ingress);
  log.info?.("status: control", status.counters.control);
}

function withoutNull(fields: LogFields): LogFields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
}

export function ofWorker(worker: WorkerCounters): Counts {
  return {
    ...worker.counters,
    ...prefixed("drop_", worker.drops),
    ...prefixed("send_errno_", worker.sendErrnos),
    ...prefixed("receive_errno_", worker.receiveErrnos),
    ...prefixed("tun_errno_", worker.tunErrnos),
  };
}

export function prefixed(prefix: string, counts: Counts): Counts {
  return Object.fromEntries(Object.entries(counts).map(([name, count]) => [`${prefix}${name}`, count]));
}

export function nonZero(counts: Counts): Counts {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== 0));
}
