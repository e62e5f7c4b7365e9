/** Every metric, once (PG-114, PT-192): text, help and documents are made from this table. */

import type { HistogramValue } from "../../base/index.ts";

export interface MetricFamily {
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  /** Names of the labels; their values come from fixed sets, except `peer`. */
  readonly labels: readonly string[];
}

const counter = (help: string, ...labels: readonly string[]): MetricFamily => ({
  type: "counter",
  help,
  labels,
});
const gauge = (help: string, ...labels: readonly string[]): MetricFamily => ({ type: "gauge", help, labels });
const histogram = (help: string, ...labels: readonly string[]): MetricFamily => ({
  type: "histogram",
  help,
  labels,
});

export const FAMILIES = {
  postern_build_info: gauge("Always 1; what runs", "version", "runtime", "role"),
  postern_ready: gauge("Whether the program is ready"),

  postern_packets_total: counter(
    "Packets of the TUN device and datagrams of the sockets",
    "direction",
    "plane",
  ),
  postern_bytes_total: counter("Bytes of the TUN device and of the sockets", "direction", "plane"),
  postern_dropped_total: counter("Packets given up, by the reasons of the documents", "reason", "direction"),
  postern_io_errors_total: counter("System calls of the packet plane that failed", "direction", "errno"),
  postern_worker_total: counter("What the workers of the packet plane count besides", "worker", "counter"),
  postern_batch_size: histogram("Datagrams of one send (out) or one receive (in)", "direction"),
  postern_worker_wait_seconds: histogram("How long a worker slept until there was something to do", "worker"),
  postern_queue_length: gauge("Events and packets that wait between the workers and control", "queue"),
  postern_buffers_in_use: gauge("Bytes that they take of the queue's buffer", "queue"),
  postern_queue_drops_total: counter("What a full queue gave up", "queue"),

  postern_connections: gauge("Connections by state and path", "state", "path"),
  postern_connection_failures_total: counter("Connections that failed", "reason"),
  postern_connection_events_total: counter("What connections count of datagrams and candidates", "counter"),
  postern_handshakes_total: counter("WireGuard handshakes", "result"),
  postern_handshake_duration_seconds: histogram("From our first initiation until a session came of it"),
  postern_ice_duration_seconds: histogram("From the wish for a connection to its first path", "path"),
  postern_tunnel_events_total: counter("What the tunnel decided about packets", "counter"),
  postern_flows: gauge("Flows with a record in the packet plane"),
  postern_resources: gauge("Resources by status", "status"),

  postern_dns_events_total: counter("What the resolver, or the gateway's name server, counts", "counter"),
  postern_dns_present: gauge("What the resolver holds now: names, cached answers, queries under way", "what"),

  postern_portal_connected: gauge("Whether the portal is connected"),
  postern_portal_hiccups_total: counter("Interruptions of the connection to the portal"),

  postern_loop_turn_seconds: histogram("Turns of the control loop"),
  postern_loop_exhausted_total: counter("Turns that left input for the next one"),
  postern_feature_used_total: counter("How often what a feature flag governs has acted", "flag"),
  postern_log_suppressed_total: counter("Repeated lines that were held back"),
  postern_log_dropped_total: counter("Lines that the log file did not take"),

  postern_peer_rx_bytes_total: counter("Bytes received from a peer", "peer"),
  postern_peer_tx_bytes_total: counter("Bytes sent to a peer", "peer"),
  postern_peer_rtt_seconds: gauge("Round trip to a peer", "peer"),
  postern_peer_handshake_age_seconds: gauge("Age of a peer's keys", "peer"),

  postern_portal_sockets: gauge("Peers that are connected", "kind"),
  postern_portal_live_authorizations: gauge("Authorizations in force"),
  postern_portal_relays: gauge("Relays that are connected"),
  postern_portal_gateways: gauge("Gateways that are present", "site"),
  postern_portal_joins_total: counter("Joins, and sockets that never joined (late)", "kind", "result"),
  postern_portal_refused_total: counter("Refused upgrades", "code"),
  postern_portal_flows_total: counter("Requests for access", "outcome"),
  postern_portal_flow_seconds: histogram("From the request for access until it was granted"),
  postern_portal_push_total: counter("Messages that were pushed to peers", "event"),
  postern_portal_push_lag_seconds: histogram("From an input until the sockets had what follows from it"),
  postern_portal_candidates_dropped_total: counter("Candidates that reached nobody", "reason"),
  postern_portal_input_errors_total: counter("Inputs whose reading failed by a defect"),
  postern_portal_early_frames_dropped_total: counter("Frames between join and init beyond what may wait"),
  postern_portal_unknown_events_total: counter("Events of peers that nobody knows"),
  postern_portal_loop_lag_seconds: histogram("How late the control loop woke"),
  postern_portal_db_seconds: histogram("Writes of the state to disk"),
  postern_portal_change_lag_seconds: histogram(
    "From a new configuration until the sockets had what it changes",
  ),
  postern_portal_events_total: counter("What the portal counts besides", "counter"),

  postern_relay_allocations: gauge("Allocations of TURN clients"),
  postern_relay_channels: gauge("Channels that are bound"),
  postern_relay_streams: gauge("Clients that are connected by TLS or TCP"),
  postern_relay_packets_total: counter("Datagrams relayed", "direction"),
  postern_relay_bytes_total: counter("Data relayed, in bytes", "direction"),
  postern_relay_answers_total: counter("Answers to TURN clients, by method and result", "answer"),
  postern_relay_punts_total: counter("Messages that the workers gave to control"),
  postern_relay_gso_fallbacks_total: counter("Times that a device could not segment"),

  process_resident_memory_bytes: gauge("Resident memory"),
  process_cpu_seconds_total: counter("Processor time, of the user and of the system"),
  process_open_fds: gauge("Open files and sockets"),
  process_start_time_seconds: gauge("Start of the process, in seconds since 1970"),
} as const satisfies Readonly<Record<string, MetricFamily>>;

export type MetricName = keyof typeof FAMILIES;

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly name: MetricName;
  readonly labels: Labels;
  readonly value: number | HistogramValue;
}

export function sample(name: MetricName, value: number | HistogramValue, labels: Labels = {}): Sample {
  return { name, labels, value };
}

/** What was observed in another unit, of which a second has so many. */
export function inSeconds({ bounds, counts, sum }: HistogramValue, perSecond: number): HistogramValue {
  return { bounds: bounds.map((bound) => bound / perSecond), counts, sum: sum / perSecond };
}

/** One sample per entry of `counts`; `label` gets the entry's name. */
export function samplesBy(
  name: MetricName,
  label: string,
  counts: Readonly<Record<string, number>>,
  labels: Labels = {},
): readonly Sample[] {
  return Object.entries(counts).map(([key, value]) => sample(name, value, { [label]: key, ...labels }));
}
