/** What `postern status`, `connections` and `resources` print (PG-111). Pure. */
import type {
  AnyStatus,
  ConnectionView,
  HistogramView,
  PeerStatus,
  PortalServerStatus,
  PresentView,
  RelayServerStatus,
  ResourceView,
} from "../control/index.ts";
import { cut, formatBytes, formatSeconds, formatTable, printable, WIDTH, wrap } from "./table.ts";

export function formatStatus(status: AnyStatus): readonly string[] {
  // A reason is a sentence, which loses its end last of all.
  return linesOf(status).flatMap((line) =>
    line.startsWith("  ") ? wrap(line.trimStart(), "  ") : [cut(line, WIDTH)],
  );
}

function linesOf(status: AnyStatus): readonly string[] {
  switch (status.role) {
    case "portal":
      return portalLines(status);
    case "relay":
      return relayLines(status);
    default:
      return peerLines(status);
  }
}

function summary({ role, instance, ready, uptime_s, version, pid }: AnyStatus): string {
  const name = instance === role ? role : `${role} ${instance}`;
  const state = ready ? "ready" : "starting";
  return `${name}: ${state}, up ${formatSeconds(uptime_s)} (postern ${version}, process ${pid})`;
}

function peerLines(status: PeerStatus): readonly string[] {
  const { portal, tun, sockets } = status;
  const error = portal.state === "connected" || portal.last_error === null ? "" : ` (${portal.last_error})`;
  const addresses = [tun.ipv4, tun.ipv6].filter((address) => address !== null).join(" ");
  const ports = [...new Set([sockets.v4, sockets.v6])].filter((port) => port !== null).join(", ");
  return [
    summary(status),
    `portal     ${printable(`${portal.url} ${portal.state}${error}`)}`,
    `interface  ${tun.name} ${addresses === "" ? "without address" : addresses}, MTU ${tun.mtu}, UDP ${ports}`,
    `batches    ${batchLine(status.plane)}`,
    ...(status.role === "client" ? ["", ...formatResources(status.resources)] : []),
    "",
    ...formatConnections(status.connections),
  ];
}

/** How many datagrams go, and come, at a time: what decides about speed (PG-114). */
function batchLine({ batches, waits_us }: PeerStatus["plane"]): string {
  const mean = ({ counts, sum }: HistogramView): string => {
    const times = timesOf(counts);
    return times === 0 ? "none yet" : `${(sum / times).toFixed(1)} datagrams`;
  };
  const sleeps = timesOf(waits_us.egress.counts) + timesOf(waits_us.ingress.counts);
  return `${mean(batches.egress)} a send, ${mean(batches.ingress)} a receive; slept ${sleeps} times`;
}

function timesOf(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}

export function formatResources(resources: readonly ResourceView[]): readonly string[] {
  if (resources.length === 0) return ["no resources"];
  return formatTable(
    [
      { title: "RESOURCE", least: 16 },
      { title: "ADDRESS", least: 20 },
      { title: "SITE", least: 6 },
      { title: "STATUS" },
    ],
    resources.map(({ name, address, type, sites, status, enabled }) => [
      name,
      address ?? type,
      sites.map((site) => site.name).join(", "),
      // The user's switch: `postern internet on|off`.
      enabled ? status : "off",
    ]),
  );
}

export function formatConnections(connections: readonly ConnectionView[]): readonly string[] {
  if (connections.length === 0) return ["no connections"];
  const reasons = connections.flatMap((one) =>
    one.why === null ? [] : [`  ${cut(nameOf(one), 8)}: ${one.why}`],
  );
  return [...connectionTable(connections), ...reasons, ...(reasons.length > 0 ? [WHY_HINT] : [])];
}

const WHY_HINT = "  More, and what to do: postern why";

function nameOf({ name, gid, cid }: ConnectionView): string {
  return name ?? gid ?? cid ?? "";
}

function connectionTable(connections: readonly ConnectionView[]): readonly string[] {
  return formatTable(
    [
      { title: "PEER", least: 8 },
      { title: "STATE" },
      { title: "PATH" },
      { title: "REMOTE", least: 12 },
      { title: "RTT", isNumber: true },
      { title: "↓", isNumber: true },
      { title: "↑", isNumber: true },
      { title: "HANDSHAKE", isNumber: true },
    ],
    connections.map((connection) => [
      nameOf(connection),
      connection.state,
      connection.path,
      connection.remote ?? "-",
      connection.rtt_ms === null ? "-" : `${Math.round(connection.rtt_ms)} ms`,
      formatBytes(connection.rx_bytes),
      formatBytes(connection.tx_bytes),
      connection.handshake_age_s === null ? "never" : formatSeconds(connection.handshake_age_s),
    ]),
  );
}

function relayLines(status: RelayServerStatus): readonly string[] {
  const { addresses, port, portal, allocations, channels, relayed, draining, streams } = status;
  return [
    summary(status),
    `portal     ${portal === null ? "none: stands alone" : printable(`${portal.url} ${portal.state}`)}`,
    `listening  ${addresses.join(", ")}, UDP port ${port}${draining ? ", draining" : ""}`,
    `serving    ${allocations} allocations, ${channels} channels${streams === undefined ? "" : `, ${streams} streams`}`,
    `relayed    ${formatBytes(relayed.to_peers.bytes)} to peers, ${formatBytes(relayed.to_clients.bytes)} to clients`,
  ];
}

function portalLines(status: PortalServerStatus): readonly string[] {
  const { listen, clients, gateways, relays, live_authorizations } = status;
  return [
    summary(status),
    `listening  ${listen}`,
    `present    ${clients.length} clients, ${gateways.length} gateways, ${relays} relays`,
    `granted    ${live_authorizations} authorizations`,
    ...(clients.length + gateways.length === 0 ? [] : ["", ...formatPresent(clients, gateways)]),
  ];
}

function formatPresent(clients: readonly PresentView[], gateways: readonly PresentView[]): readonly string[] {
  const row = (kind: string) => (peer: PresentView) => [kind, peer.name, peer.external_id, peer.id];
  return formatTable(
    [
      { title: "KIND" },
      { title: "NAME", least: 8 },
      { title: "IDENTIFIER", least: 12 },
      { title: "ID", least: 8 },
    ],
    [...gateways.map(row("gateway")), ...clients.map(row("client"))],
  );
}
