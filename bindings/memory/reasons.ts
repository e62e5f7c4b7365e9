/**
 * Every reason for which the plane gives up a packet: one table from which the plane's counters, the
 * names of metrics and the documentation come (style §8).
 *
 * The number of a reason is its place in the table, counted from 1; 0 says "no reason". `stage` says
 * which law it belongs to: what enters `path` is passed, punted or dropped under a `path` reason; what
 * `path` passed is sent, written or dropped under a `loop` reason (the kernel refused it).
 */
export interface ReasonDescription {
  readonly room: "packet" | "segment" | "path" | "ring" | "loop" | "relay";
  readonly stage: "path" | "loop";
  readonly meaning: string;
  readonly rule: string;
}

const packet = (meaning: string, rule: string) => ({ room: "packet", stage: "path", meaning, rule }) as const;
const segment = (meaning: string, rule: string) =>
  ({ room: "segment", stage: "path", meaning, rule }) as const;
const path = (meaning: string, rule: string) => ({ room: "path", stage: "path", meaning, rule }) as const;
const ring = (meaning: string, rule: string) => ({ room: "ring", stage: "path", meaning, rule }) as const;
const relay = (meaning: string, rule: string) => ({ room: "relay", stage: "path", meaning, rule }) as const;
const loop = (meaning: string, rule: string) => ({ room: "loop", stage: "loop", meaning, rule }) as const;

export const REASONS = {
  // Validation of IP packets, both directions.
  "ip-version": packet("empty, or the version nibble is neither 4 nor 6", "TN-3 row 1"),
  "ip-length": packet("IP header or length fields do not fit the bytes present", "TN-3 rows 2, 3"),
  "ip-too-big": packet("longer than the largest IP packet of this role", "TN-3 row 4"),
  "ip-fragment": packet("a fragment that is tiny, too far back, or hides its header", "TN-3 rows 5, 9"),
  "ip-source-route": packet("source routed", "TN-3 rows 6, 8"),
  "ip6-ext": packet("malformed or too many IPv6 extension headers", "TN-3 row 7"),
  "udp-length": packet("UDP length outside its packet", "TN-3 row 10"),
  "tcp-length": packet("TCP header outside its packet", "TN-3 row 11"),
  "icmp-family": packet("ICMP in IPv6 or ICMPv6 in IPv4", "TN-3 row 12"),
  "icmp-length": packet("ICMP header incomplete", "TN-3 row 13"),
  "icmp-quote": packet("ICMP error whose quoted packet is too short", "TN-7"),
  "icmp-type": packet("ICMP redirect or source quench", "TN-7"),
  "tun-header": segment("virtio_net_hdr incomplete or contradicts its packet", "PF-31, PF-32"),
  "tun-gso-type": segment("super-frame of a kind that was not asked for", "PF-31"),

  // Both directions.
  "not-configured": path("no policy has been published yet", "TN-20"),

  // TUN to UDP.
  wg_no_route: path("no peer has the destination among its allowed IPs", "WG-58"),
  wg_no_endpoint: path("the peer has no endpoint", "WG-59"),
  wg_no_session: path("too many packets wait for a session already", "WG-46"),
  "unknown-resource": path("destination belongs to no resource", "TN-22"),
  "unknown-peer": path("tunnel address of no connected gateway", "TN-20 row 7"),
  "bad-source": path("source is none of our tunnel addresses", "TN-20"),
  "to-self": path("destination is our own tunnel address", "TN-20 row 5"),
  "not-a-peer": path("destination outside the tunnel range", "TN-62 row 2"),
  "no-peer-state": path("no state for the peer concerned", "TN-61 row 2, TN-62 row 3"),
  "not-allowed": path("source is not granted to the client", "TN-62 rows 6, 10"),
  "fragment-unknown": path("a fragment whose first one no flow has let pass", "TN-112"),
  "expired-nat": path("answer to a translation that is over", "TN-62 row 8"),
  "p2p-on-tun": path("control event read from the TUN device", "TN-62 row 1"),
  "path-too-big": path("longer than what the path carries whole", "TN-108"),
  "inject-stale": path("injected packet finds no usable session or path", "TN-85"),

  // UDP to TUN.
  udp_bad_meta: path("no destination address, or a GRO stride beyond the datagrams", "PG-48"),
  udp_too_long: path("datagram longer than the largest of this role", "PG-48"),
  wg_malformed: path("transport message below 32 bytes", "WG-47"),
  wg_unknown_index: path("receiver index of no session", "WG-14, WG-47"),
  wg_expired_session: path("session past its time for receiving", "WG-17, WG-47"),
  wg_counter_limit: path("received counter at or above the limit", "WG-45"),
  wg_replay: path("counter seen before or too old", "WG-47, WG-48"),
  wg_bad_tag: path("authentication failed", "WG-47"),
  wg_disallowed_source: path("inner source does not lead to the peer that sent it", "WG-58"),
  "not-allowed-source": path("inner source is not among the gateway's allowed sources", "TN-38"),
  "bad-destination": path("inner destination is none of our tunnel addresses", "TN-38"),
  "not-client-ip": path("inner source is not the client's tunnel address", "TN-61 row 5"),
  "not-granted": path("inner destination is not granted, and refusals are not asked for", "TN-61 row 14"),
  multicast: path("multicast or broadcast destination", "TN-61 row 3"),
  "icmp-error-out": path("ICMP error from a client", "TN-61 row 4"),

  // What strangers ask of control.
  wg_bad_mac1: path("handshake message without knowledge of our public key", "WG-7, WG-22"),
  wg_cookie_asked: path("initiation under load, answered with a cookie", "WG-32, WG-33"),
  wg_under_load: path("initiation under load, whose source has no cookie to get", "WG-32, PG-160"),
  wg_source_rate: path("more handshake messages than the budget of their source, or peer", "WG-32, PG-160"),

  // Hand-over to control.
  "punt-full": ring("data ring full", "PG-51, TN-78"),
  "punt-control-full": ring("control ring full", "PG-51"),
  "icmp-rate": ring("more ICMP errors of a peer than control shall translate", "TN-78"),
  "flow-rate": ring("more packets without a flow's record than control shall judge", "TN-78"),
  "punt-rate": ring("more datagrams of their kind than control can judge", "PG-51"),
  "refuse-rate": ring("more refusals than control shall answer", "WG-58, TN-13"),

  // The relay's workers.
  relay_unknown: relay("neither STUN nor channel data, or empty", "RL-12"),
  relay_malformed: relay("STUN of more than 1500 bytes", "RL-14"),
  relay_channel_length: relay("channel data whose length is not that of its datagram", "RL-4"),
  relay_no_channel: relay("channel data of a channel that its client has not bound", "RL-42"),
  relay_no_binding: relay("from nobody that is bound at this allocation port", "RL-31, RL-45"),
  relay_too_long: relay("no room for the header of channel data", "RL-43"),
  relay_punt_full: relay("control is given no more messages than its ring holds", "RL-55"),

  // The kernel's answers.
  udp_send_enobufs_drop: loop("no buffers after all retries", "PG-46"),
  udp_send_too_long: loop("EMSGSIZE", "PG-46"),
  udp_send_unreachable: loop("network or host unreachable, no address, refused", "PG-46"),
  udp_send_blocked: loop("a local firewall refuses", "PG-46"),
  udp_send_failed: loop("any other error, or no room while control waited for the worker", "PG-46"),
  relay_send_full: loop("the socket had no room for 5 ms", "RL-46"),
  relay_send_too_long: loop(
    "longer than the device takes, or than UDP: such a check of a size goes whole or not at all",
    "RL-50",
  ),
  relay_send_error: loop("unreachable, refused, or any other error", "RL-46"),
  tun_write_down: loop("interface down (EIO)", "PG-38, PF-34"),
  tun_write_refused: loop("EINVAL, ENOBUFS or another error", "PG-38"),
} as const satisfies Record<string, ReasonDescription>;

export type Reason = keyof typeof REASONS;

/** Reason names by number; index 0 is empty. */
export const REASON_NAMES: readonly string[] = ["", ...Object.keys(REASONS)];

/** The number of a reason, 0 for a name that is none. */
export function reasonNumber(name: string): number {
  return name === "" ? 0 : Math.max(0, REASON_NAMES.indexOf(name));
}

export interface CounterDescription {
  readonly unit: string;
  readonly meaning: string;
}

/**
 * What a worker counts besides reasons. `packets_in` = `packets_passed` + `packets_punted` + the
 * reasons of stage `path`: packets and segments on the egress worker, datagrams on the ingress one.
 */
export const COUNTERS = {
  packets_in: { unit: "packets", meaning: "segments read from the TUN device, or datagrams received" },
  packets_passed: { unit: "packets", meaning: "sealed, or opened and accepted (keepalives included)" },
  packets_punted: { unit: "packets", meaning: "handed to control through a ring" },
  packets_injected: { unit: "packets", meaning: "taken from the inject ring; part of packets_in" },
  keepalives: { unit: "packets", meaning: "empty transport messages; part of packets_passed" },
  bytes_in: { unit: "bytes", meaning: "read from the TUN device, or received" },
  bytes_out: { unit: "bytes", meaning: "handed to the UDP socket, or to the TUN device" },
  reads: { unit: "calls", meaning: "reads of the TUN device or receives that brought something" },
  writes: { unit: "calls", meaning: "sends or TUN writes that succeeded" },
  segments_out: { unit: "packets", meaning: "datagrams sent, or packets written to the TUN device" },
  super_frames_in: { unit: "frames", meaning: "TSO or USO frames read, or GRO runs received" },
  super_frames_out: { unit: "frames", meaning: "sends with UDP_SEGMENT, or coalesced TUN writes" },
  polls: { unit: "calls", meaning: "times the worker had nothing to do" },
  events: { unit: "events", meaning: "plane events put into the control ring" },
  events_deferred: { unit: "events", meaning: "plane events that found the ring full and come again" },
  gso_disabled: { unit: "events", meaning: "segmentation was switched off by an error of the kernel" },
  udp_send_enobufs: { unit: "events", meaning: "sends that had to be repeated for want of buffers" },
  checksum_mismatch: {
    unit: "packets",
    meaning: "let in although a checksum is wrong; with --validate-checksums only",
  },
  udp_send_again: { unit: "events", meaning: "sends that waited for room in the socket" },
  udp_source_refused: { unit: "events", meaning: "fixed source addresses forgotten (PF-41a)" },
  udp_receive_errors: { unit: "events", meaning: "receives that failed (PG-47)" },
  cookies_sent: { unit: "packets", meaning: "cookie replies sent (WG-33)" },
  udp_overflow: { unit: "packets", meaning: "datagrams that the kernel dropped for want of room" },
  udp_filtered: {
    unit: "packets",
    meaning: "initiations that the kernel dropped in a flood, and what it had no room for meanwhile (PG-160)",
  },
} as const satisfies Record<string, CounterDescription>;

export type Counter = keyof typeof COUNTERS;
