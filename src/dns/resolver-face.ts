/**
 * The face of the client's resolver (dns.md §7 to §12): what is asked of it, what it asks for in turn.
 *
 * A pure machine. After every input the caller drains `pollPacket`, `pollTunnelPacket` and `pollEvent`, in this
 * order. Names are spoken of as *domains*: presentation text of the folded name, lower case, without a trailing
 * dot (DN-1). Two names are equal exactly if their domains are.
 */
import type { Instant, IpAddress, Log, LogEmit, Prefix, Random, SocketAddress } from "../base/index.ts";

/** Which families a resource's names have (DN-41). */
export type IpStack = "dual" | "ipv4_only" | "ipv6_only";

/** A DNS resource, as far as the resolver is concerned. */
export interface ResourcePattern {
  readonly rid: string;
  /** DN-27; an invalid one is warned of and matches nothing. */
  readonly pattern: string;
  readonly ipStack: IpStack;
}

/** The real resolver behind a sentinel (dns.md §1). */
export type Upstream =
  | { readonly kind: "do53"; readonly server: Do53Server }
  | { readonly kind: "doh"; readonly url: string }
  | { readonly kind: "none" };

export interface Do53Server {
  readonly address: IpAddress;
  /** The interface by which a link-local address is meant. */
  readonly scope?: number;
}

/** What the portal and the list of resources say. */
export interface ResolverConfig {
  /** The client's tunnel addresses, as far as the TUN device has them. */
  readonly addresses: { readonly v4?: IpAddress; readonly v6?: IpAddress };
  readonly patterns: readonly ResourcePattern[];
  readonly upstreamDo53: readonly IpAddress[];
  readonly upstreamDoh: readonly string[];
  readonly searchDomain?: string;
  /** Networks of the active CIDR resources; those of the Internet resource while it is active (DN-67). */
  readonly tunnelled: readonly Prefix[];
}

/** A sentinel, and whom it asks (DN-21). */
export interface SentinelMapping {
  readonly sentinel: IpAddress;
  readonly upstream: Upstream;
}

export type DirectTransport = "udp" | "tcp" | "doh";

/** A query that the shell sends from sockets of its own, outside all tunnels (DN-61 to DN-65, DN-71). */
export interface DirectQuery {
  readonly token: number;
  readonly upstream: Exclude<Upstream, { readonly kind: "none" }>;
  /** UDP and TCP get a new socket each. The socket stays open until `direct-done`. */
  readonly transport: DirectTransport;
  /** Complete, with its own random ID (0 for DoH); without the length that TCP puts in front. */
  readonly message: Uint8Array<ArrayBuffer>;
}

export type DirectResult =
  /** Each datagram that the socket received; the machine says whether it is the answer. */
  | { readonly kind: "message"; readonly message: Uint8Array; readonly ageS?: number }
  /** Refused, unreachable, closed, TLS or HTTP failure, or the shell is out of sockets. */
  | { readonly kind: "failed"; readonly reason: string };

/** What became of the connection to the site of a resource (DN-66). */
export type SiteResult =
  | {
      readonly kind: "ready";
      readonly gid: string;
      /** The gateway's tunnel addresses. */
      readonly addresses: { readonly v4?: IpAddress; readonly v6?: IpAddress };
    }
  | { readonly kind: "failed" };

export interface TransportFlow {
  readonly protocol: "udp" | "tcp";
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
}

export type ResolverEvent =
  /**
   * One per query, whatever its outcome, after its assignment was recorded (DN-56). With `domain` and `rid`
   * exactly if the name is a resource's.
   */
  | { readonly kind: "queried"; readonly domain?: string; readonly rid?: string }
  | { readonly kind: "direct-query"; readonly query: DirectQuery }
  /** The query needs its socket no more. */
  | { readonly kind: "direct-done"; readonly token: number }
  /** A site query waits: the tunnel sends a connection intent, or answers `handleSite` at once. */
  | { readonly kind: "site-needed"; readonly rid: string }
  /** DN-45: `names` has one more. */
  | { readonly kind: "records-changed" }
  /** DN-24: the host's DNS and the device are brought to this. */
  | {
      readonly kind: "mapping-changed";
      readonly mapping: readonly SentinelMapping[];
      readonly searchDomain: string | undefined;
      /** Ends of the resources' patterns, without wildcards (DN-100). */
      readonly suffixes: readonly string[];
    }
  /** Answers that the host keeps may be wrong now (DN-101). */
  | { readonly kind: "flush-host-cache" }
  | { readonly kind: "looked-up"; readonly token: number; readonly report: LookupReport };

/** A name, whose it is, and the addresses that stand for it. */
export interface AssignedName {
  readonly domain: string;
  readonly rid: string;
  /** IPv4 first, in order of assignment. */
  readonly proxies: readonly IpAddress[];
}

/** What a query came to, and why: `postern lookup` shows it. */
export interface LookupReport {
  readonly domain: string;
  readonly type: number;
  readonly rcode: number;
  readonly addresses: readonly IpAddress[];
  /** How many records of the asked type there are. */
  readonly records: number;
  /** The row of dns.md §7, or where a forwarded query went. */
  readonly decision: QueryDecision;
}

export type QueryDecision =
  | { readonly kind: "malformed"; readonly reason: string }
  | { readonly kind: "cached" }
  | { readonly kind: "local"; readonly row: number; readonly rid?: string; readonly pattern?: string }
  | { readonly kind: "site"; readonly row: number; readonly rid: string; readonly pattern: string }
  | {
      readonly kind: "forwarded";
      readonly row: number;
      readonly upstream: Upstream;
      readonly path: "direct" | "tunnel";
    };

export interface ResolverOptions {
  readonly random: Random;
  readonly log?: Log;
  /** A line for each answer (DN-111); absent: none, and nobody looks whether there is one. */
  readonly wire?: LogEmit | undefined;
}

export interface Resolver {
  /** The first time, and whenever anything of it changes; equal parts change nothing. */
  configure(now: Instant, config: ResolverConfig): void;
  /** The servers that the host used before us, newest list (DN-16, DN-83). */
  handleSystemResolvers(now: Instant, servers: readonly Do53Server[]): void;
  /** What the host asks was changed by us: servers that ask us in turn are looked for (DN-26). */
  handleHostDnsChanged(now: Instant): void;
  /** Names of an earlier process (DN-46), before the first query; `false`: refused as a whole. */
  restore(names: readonly AssignedName[]): boolean;
  /** A validated packet of the TUN device to a sentinel or an LLMNR group (DN-58). */
  handlePacket(now: Instant, packet: Uint8Array): void;
  /** A validated packet from the tunnel; `false`: it is not for the resolver (TN-38). */
  handleTunnelPacket(now: Instant, packet: Uint8Array): boolean;
  handleDirectResult(now: Instant, token: number, result: DirectResult): void;
  handleSite(now: Instant, rid: string, result: SiteResult): void;
  /** An internal query (DN-48); its outcome is the event `looked-up` with the same token. */
  lookup(now: Instant, token: number, domain: string, type: number): void;
  /** The client roams (DN-82). */
  reset(now: Instant): void;
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
  /** IP packets for the TUN device. */
  pollPacket(): Uint8Array<ArrayBuffer> | undefined;
  /** IP packets for the tunnel, from our tunnel address: handled like those of the TUN device. */
  pollTunnelPacket(): Uint8Array<ArrayBuffer> | undefined;
  pollEvent(): ResolverEvent | undefined;

  /** Whose address this is (DN-44). */
  assignmentOf(address: IpAddress): AssignedName | undefined;
  /** Empty if the name was never assigned for this resource. */
  proxiesOf(domain: string, rid: string): readonly IpAddress[];
  /** In the order in which they were assigned; none ever goes (DN-43). */
  names(): Iterable<AssignedName>;
  nameCount(): number;
  mapping(): readonly SentinelMapping[];
  counters(): Readonly<Record<string, number>>;
  figures(): DnsFigures;
}

/** For metrics (DN-113): what has happened, and what there is now. */
export interface DnsFigures {
  readonly counters: Readonly<Record<string, number>>;
  readonly present: Readonly<Record<string, number>>;
}

/** What the gateway's lookup of a name came to (DN-88). */
export type SetupResult =
  | { readonly kind: "addresses"; readonly addresses: readonly IpAddress[] }
  /** No such name, or no address in either family. */
  | { readonly kind: "none" }
  | { readonly kind: "error" };

/** The gateway asks its shell by an event `{ token, domain }`, and is answered with the token (TN-63). */
export interface SetupQuery {
  readonly token: number;
  readonly domain: string;
}
