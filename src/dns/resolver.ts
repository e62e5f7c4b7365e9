/** The client's resolver: sentinels, names of resources, and everything else passed on (dns.md §5 to §12). */
import { copyOf, earliest, equalValues, type Instant, SILENT } from "../base/index.ts";
import { encodeQuery } from "./address-query.ts";
import { handleQuery } from "./answering.ts";
import { assignmentOf, findAssigned, restoreAssignments } from "./assignments.ts";
import { flush } from "./cache.ts";
import { handleDirectResult, handleFlightTimeouts, handleSite, resetFlights } from "./flights.ts";
import { toName } from "./name.ts";
import type { Do53Server, Resolver, ResolverConfig, ResolverOptions } from "./resolver-face.ts";
import { count, createResolverState, type ResolverState } from "./resolver-state.ts";
import { listResourceNames, suffixesOf } from "./resource-names.ts";
import { abortStreams, drainStreams } from "./stream-answers.ts";
import { drainTcp, handleTcpTimeouts, openTcpFront } from "./tcp-front.ts";
import { handleTunnelPacket } from "./tunnel-answers.ts";
import { handleLingerTimeouts, pollLingerTimeout } from "./tunnel-ports.ts";
import { closeIdleStreams, openTunnelTcp, pollStreamTimeout } from "./tunnel-streams.ts";
import { handlePacket } from "./udp-front.ts";
import {
  announceMapping,
  handleProbeTimeouts,
  pollProbeTimeout,
  probeUpstreams,
  updateUpstreams,
} from "./upstream-changes.ts";

export function createResolver({ random, log = SILENT, wire }: ResolverOptions): Resolver {
  const state = createResolverState(
    { random, log, wire },
    { front: openTcpFront({ random }), tunnel: openTunnelTcp(random) },
  );
  /** Answers over TCP need the time at which they are sent. */
  const thenDrain =
    <A extends readonly unknown[]>(act: (now: Instant, ...rest: A) => void) =>
    (now: Instant, ...rest: A): void => {
      act(now, ...rest);
      drainTcp(state, now);
    };
  return {
    configure: (now, config) => configure(state, now, config),
    handleSystemResolvers: (now, servers) => takeSystemResolvers(state, now, servers),
    handleHostDnsChanged: (now) => probeUpstreams(state, now),
    restore: (names) => restoreAssignments(state.assignments, names),
    handlePacket: (now, packet) => handlePacket(state, now, packet),
    handleTunnelPacket(now, packet) {
      const isTaken = handleTunnelPacket(state, now, packet);
      drainTcp(state, now);
      return isTaken;
    },
    handleDirectResult: thenDrain((now, token, result) => handleDirectResult(state, now, token, result)),
    handleSite: thenDrain((now, rid, result) => handleSite(state, now, rid, result)),
    lookup: (now, token, domain, type) => lookup(state, now, { token, domain, type }),
    reset: thenDrain((now) => {
      flush(state.cache);
      abortStreams(state, now);
      resetFlights(state, now);
    }),
    handleTimeout(now) {
      handleFlightTimeouts(state, now);
      handleLingerTimeouts(state, now);
      state.tunnelTcp.handleTimeout(now);
      drainStreams(state, now);
      closeIdleStreams(state, now);
      handleProbeTimeouts(state, now);
      handleTcpTimeouts(state, now);
    },
    pollTimeout: () =>
      earliest(
        state.flights.first()?.dueAt,
        pollLingerTimeout(state),
        pollStreamTimeout(state),
        pollProbeTimeout(state),
        state.tcp.pollTimeout(),
        state.idle.first()?.dueAt,
      ),
    pollPacket: () => state.packets.shift(),
    pollTunnelPacket: () => state.tunnelPackets.shift(),
    pollEvent: () => state.events.shift(),
    assignmentOf: (address) => assignmentOf(state.assignments, address),
    proxiesOf: (domain, rid) => findAssigned(state.assignments, domain, rid)?.proxies ?? [],
    names: () => state.assignments.names.values(),
    nameCount: () => state.assignments.names.size,
    mapping: () => state.mapping,
    counters: () => Object.fromEntries(state.counters),
    figures: () => ({ counters: Object.fromEntries(state.counters), present: presentIn(state) }),
  };
}

function configure(state: ResolverState, now: Instant, config: ResolverConfig): void {
  const before = state.config;
  state.config = config;
  const hasOtherNames = !equalValues(before.patterns, config.patterns);
  const suffixes = suffixesOf(state.names);
  if (hasOtherNames) state.names = listResourceNames(config.patterns, state.log);
  if (hasOtherNames || !equalValues(before.tunnelled, config.tunnelled)) {
    // What was answered may now be a resource's name, or come by another exit (DN-81).
    flush(state.cache);
    state.events.push({ kind: "flush-host-cache" });
  }
  const mapping = state.mapping;
  const isFirst = !state.isConfigured;
  state.isConfigured = true;
  updateUpstreams(state, now);
  const isOther =
    isFirst || before.searchDomain !== config.searchDomain || !equalValues(suffixes, suffixesOf(state.names));
  if (mapping === state.mapping && isOther) announceMapping(state);
}

function takeSystemResolvers(state: ResolverState, now: Instant, servers: readonly Do53Server[]): void {
  if (equalValues(servers, state.system)) return;
  state.system = servers;
  // A server that asked us may ask others now.
  state.looping.clear();
  updateUpstreams(state, now);
}

function lookup(
  state: ResolverState,
  now: Instant,
  of: { readonly token: number; readonly domain: string; readonly type: number },
): void {
  const { token, domain, type } = of;
  const name = toName(domain);
  if (name === undefined) {
    const decision = { kind: "malformed", reason: "not a domain name" } as const;
    const report = { domain, type, rcode: 1, addresses: [], records: 0, decision };
    state.events.push({ kind: "looked-up", token, report });
    return;
  }
  count(state, "dns_queries_lookup");
  const bytes = copyOf(encodeQuery({ id: 0, name, type }));
  const upstream = state.mapping[0]?.upstream ?? { kind: "none" };
  handleQuery(state, now, { asker: { kind: "lookup", token }, bytes, upstream });
}

function presentIn({ assignments, cache, active, waiting, tcp, tunnelStreams }: ResolverState) {
  return {
    names: assignments.names.size,
    cached_answers: cache.entries.size,
    cached_bytes: cache.bytes,
    direct_queries: active.direct.size,
    tunnel_queries: active.tunnel.size,
    site_queries_waiting: [...waiting.values()].reduce((sum, queue) => sum + queue.size, 0),
    tcp_connections: tcp.count(),
    tunnel_connections: tunnelStreams.size,
  };
}
