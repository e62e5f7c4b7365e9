/**
 * What a running program shows of itself (PG-109, PG-110): the answer to `status`, as JSON has it. Names
 * are those of the protocol; what is not known is `null`.
 */

/** Of every program. */
export interface ProgramStatus {
  readonly version: string;
  readonly role: "client" | "gateway" | "relay" | "portal";
  readonly instance: string;
  readonly pid: number;
  readonly uptime_s: number;
  readonly ready: boolean;
}

/** How the host's names are resolved (PG-109). */
export interface DnsStatus {
  /** `none`: this program resolves no names. */
  readonly method: string;
  readonly sentinels: readonly string[];
  readonly upstreams: readonly string[];
}

/** What became of a question for a name, and why (PG-195). */
export interface LookupView {
  readonly name: string;
  readonly type: string;
  readonly rcode: string;
  readonly addresses: readonly string[];
  /** Of the asked type. */
  readonly records: number;
  readonly decision: "refused" | "cached" | "local" | "resource" | "site" | "forwarded";
  readonly why: string;
  readonly rid: string | null;
}

export interface PeerStatus extends ProgramStatus {
  readonly role: "client" | "gateway";
  /** The identifier that the portal and metrics carry, too (PG-26). */
  readonly id: string;
  readonly name: string;
  readonly account: string | null;
  readonly portal: PortalLinkStatus;
  readonly tun: TunStatus;
  readonly sockets: SocketsStatus;
  readonly cipher: string;
  readonly egress: { readonly v4: EgressStatus | null; readonly v6: EgressStatus | null };
  readonly dns: DnsStatus;
  readonly relays: readonly RelayStatus[];
  readonly resources: readonly ResourceView[];
  readonly connections: readonly ConnectionView[];
  /** What is not zero, by who counts it. */
  readonly counters: Readonly<Record<"egress" | "ingress" | "control", Counts>>;
  readonly plane: PlaneStatus;
  readonly flags: Readonly<Record<string, boolean>>;
  readonly rss_mib: number;
}

/** What the packet plane's workers measure of themselves (PG-114). */
export interface PlaneStatus {
  /** Datagrams of one send (egress) or one receive (ingress). */
  readonly batches: Readonly<Record<"egress" | "ingress", HistogramView>>;
  /** Microseconds that a worker slept until there was something to do. */
  readonly waits_us: Readonly<Record<"egress" | "ingress", HistogramView>>;
  /** Entries that wait between workers and control, and the bytes of the buffer that they take. */
  readonly queues: Readonly<Record<string, { readonly entries: number; readonly buffer_bytes: number }>>;
}

export interface HistogramView {
  readonly bounds: readonly number[];
  /** At or below each bound and above the one before it; the last: above all. */
  readonly counts: readonly number[];
  readonly sum: number;
}

export type Counts = Readonly<Record<string, number>>;

export interface PortalLinkStatus {
  readonly url: string;
  readonly state: "connected" | "connecting" | "closed";
  /** ISO 8601, of the state. */
  readonly since: string;
  readonly last_error: string | null;
  readonly hiccups: number;
}

export interface TunStatus {
  readonly name: string;
  readonly mtu: number;
  readonly ipv4: string | null;
  readonly ipv6: string | null;
  readonly stack: "dual" | "v4-only" | "v6-only" | "none";
  /** The accepted TUN_F_ bits (PG-28). */
  readonly offloads: string;
}

export interface SocketsStatus {
  /** Ports; `null`: the host has no such family. */
  readonly v4: number | null;
  readonly v6: number | null;
  readonly gso: boolean;
  readonly gro: boolean;
  readonly rcvbuf: number;
  readonly sndbuf: number;
}

export interface EgressStatus {
  readonly interface: string;
  readonly gateway: string | null;
  readonly source: string | null;
}

export interface RelayStatus {
  readonly id: string;
  readonly transport: "udp" | "tls" | "tcp";
  readonly address: string;
  readonly state: string;
  readonly rtt_ms: number | null;
  readonly allocated: boolean;
  /** By stream: how many bytes wait to be written (RL-212). */
  readonly waiting_bytes?: number;
}

export interface ResourceView {
  readonly rid: string;
  readonly type: "dns" | "cidr" | "ip" | "internet";
  readonly name: string;
  readonly address: string | null;
  readonly description: string | null;
  readonly sites: readonly { readonly id: string; readonly name: string }[];
  readonly status: "unknown" | "online" | "offline";
  readonly enabled: boolean;
}

export interface ConnectionView {
  /** One of both: a client is connected to gateways, a gateway to clients. */
  readonly gid?: string;
  readonly cid?: string;
  readonly name: string | null;
  readonly state: "connecting" | "connected" | "idle" | "failed";
  readonly path: "direct" | "relayed" | "relayed-tls" | "relayed-tcp" | "none";
  readonly local: string | null;
  readonly remote: string | null;
  readonly relay: string | null;
  /** The path's MTU in bytes, as far as it is of interest, and what of it is left for a packet inside. */
  readonly mtu: number | null;
  readonly mtu_inside: number | null;
  readonly rtt_ms: number | null;
  readonly rx_bytes: number;
  readonly tx_bytes: number;
  readonly rx_packets: number;
  readonly tx_packets: number;
  readonly handshake_age_s: number | null;
  readonly last_activity_s: number | null;
  /** Whether packets can be sealed now: 0 or 1. */
  readonly sessions: number;
  /** At a client: the resources that are reached over it. */
  readonly resources?: readonly string[];
  /** At a gateway: what is granted, and for how long. */
  readonly authorizations?: readonly AuthorizationView[];
  /** ISO 8601. */
  readonly since: string;
  /** Why the path is not direct, in one sentence (PG-192). */
  readonly why: string | null;
}

/** Why a connection goes as it does (PG-190). */
export interface WhyView {
  readonly gid?: string;
  readonly cid?: string;
  readonly state: ConnectionView["state"];
  readonly since: string;
  readonly path: ConnectionView["path"];
  readonly cause: string;
  readonly sentence: string;
  readonly remedy: string | null;
  /** Whether any datagram of the other end has arrived. */
  readonly udp_passed: boolean;
  readonly own_families: readonly (4 | 6)[];
  readonly peer_families: readonly (4 | 6)[];
  readonly own_nat: NatView;
  readonly peer_nat: NatView;
  readonly relay: {
    readonly id: string;
    readonly transport: RelayStatus["transport"];
    readonly state: string;
    readonly rtt_ms: number | null;
  } | null;
  readonly pairs: readonly PairView[];
}

/** What relays and candidates show of a router: whether all destinations see one outside port, and which. */
export interface NatView {
  readonly mapping: "none" | "same" | "differs" | "unknown";
  readonly port_kept: boolean | null;
}

export interface PairView {
  /** `host 192.0.2.1:52625` */
  readonly local: string;
  readonly remote: string;
  readonly state: "selected" | "succeeded" | "checking" | "given-up";
  readonly checks: number;
  readonly last_check_s: number | null;
  readonly last_answer_s: number | null;
  readonly rtt_ms: number | null;
  readonly error: number | null;
  /** Since the other end's last check came in. */
  readonly heard_s: number | null;
}

export interface AuthorizationView {
  readonly rid: string;
  readonly name: string | null;
  /** `null`: without end. */
  readonly expires_in_s: number | null;
}

/** A flow with a record in the packet plane, at a gateway (PG-108). */
export interface RunningFlowView {
  readonly cid: string;
  /** `null`: refused, or a service of the gateway itself. */
  readonly rid: string | null;
  readonly protocol: string;
  /** The client's end, the resource's as the client sees it, and the resource's own behind a translation. */
  readonly client: string;
  readonly remote: string;
  readonly real: string | null;
  readonly domain: string | null;
  readonly verdict: "pass" | "nat" | "prohibited" | "unreachable" | "drop";
  /** Client to resource; bytes are transport payload. */
  readonly tx_packets: number;
  readonly tx_bytes: number;
  readonly rx_packets: number;
  readonly rx_bytes: number;
  readonly last_activity_s: number;
}

export interface PortalServerStatus extends ProgramStatus {
  readonly role: "portal";
  readonly listen: string;
  readonly clients: readonly PresentView[];
  readonly gateways: readonly PresentView[];
  readonly relays: number;
  readonly live_authorizations: number;
  readonly counters: Counts;
}

export interface PresentView {
  readonly id: string;
  readonly name: string;
  readonly external_id: string;
}

export interface RelayServerStatus extends ProgramStatus {
  readonly role: "relay";
  readonly draining: boolean;
  /** `null`: it stands alone. */
  readonly portal: PortalLinkStatus | null;
  /** What clients and peers see. */
  readonly addresses: readonly string[];
  readonly port: number;
  readonly allocations: number;
  readonly channels: number;
  readonly cooling_channels: number;
  readonly reservations: number;
  /** Connections by TLS or TCP; absent: no listener for them. */
  readonly streams?: number;
  readonly relayed: { readonly to_peers: FlowView; readonly to_clients: FlowView };
  /** What is not zero, by who counts it. */
  readonly counters: Readonly<Record<"client" | "peer" | "control", Counts>>;
  readonly rss_mib: number;
}

export interface FlowView {
  readonly packets: number;
  readonly bytes: number;
}

/** Roles whose programs answer `status`. */
export type AnyStatus = PeerStatus | PortalServerStatus | RelayServerStatus;
