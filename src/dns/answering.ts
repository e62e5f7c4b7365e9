/** The way of a query: checks, cache, the table, and the answer's way back (dns.md §7). */
import { contains, copyOf, type Instant, type SocketAddress, unreachable } from "../base/index.ts";
import { assign, assignmentOf } from "./assignments.ts";
import { findCached } from "./cache.ts";
import { DNS_PORT, RCODE } from "./constants.ts";
import { type Decision, decideQuery, proxyRecords } from "./decide.ts";
import { launch, transportOf } from "./flights.ts";
import { encodeLocal, type LocalAnswer } from "./local-answer.ts";
import { domainOf } from "./name.ts";
import { checkQuery, type Query } from "./query.ts";
import type { QueryDecision, Upstream } from "./resolver-face.ts";
import { type Asker, count, hasFamily, maySay, type ResolverState } from "./resolver-state.ts";
import { findNamedResource, type NamedResource } from "./resource-names.ts";
import { fail, respond, sendAnswer } from "./respond.ts";
import { isLoopProbe } from "./upstream-changes.ts";

/** Takes a query of a front end; `false` if the octets are none, and nothing was answered. */
export function handleQuery(
  state: ResolverState,
  now: Instant,
  given: {
    readonly asker: Asker;
    readonly bytes: Uint8Array;
    readonly upstream: Upstream;
    readonly isV6?: boolean;
  },
): boolean {
  const { asker, upstream, isV6 = false } = given;
  // The packet's buffer is used again; the query may wait for seconds.
  const check = checkQuery(copyOf(given.bytes));
  if (check.kind === "drop") {
    count(state, check.counter);
    return false;
  }
  if (check.kind === "answer") {
    count(state, check.counter);
    state.log.debug?.("query refused", { reason: check.counter, octets: given.bytes.length });
    state.events.push({ kind: "queried" });
    sendAnswer(state, asker, check.answer);
    return true;
  }
  const { query } = check;
  const resource = findNamedResource(state.names, query.question.name);
  if (isLoopProbe(state, now, query)) {
    answerLocally(state, asker, query, { rcode: RCODE.refused }, { kind: "local", row: 0 });
    return true;
  }
  const cached = findCached(state.cache, now, query);
  if (cached === undefined) {
    count(state, "dns_cache_miss");
    const decision = decideQuery(query.question, {
      resource,
      assignmentOf: (address) => assignmentOf(state.assignments, address),
    });
    carryOut(state, now, { asker, query, upstream, decision, isV6 });
  } else {
    count(state, "dns_cached");
    respond(state, asker, query, cached, { kind: "cached" });
  }
  // After the assignment, so that the tunnel finds the addresses (DN-56).
  const whose = resource && { domain: domainOf(query.question.name), rid: resource.rid };
  state.events.push({ kind: "queried", ...whose });
  return true;
}

interface Decided {
  readonly asker: Asker;
  readonly query: Query;
  readonly upstream: Upstream;
  readonly decision: Decision;
  /** The family of the sentinel. */
  readonly isV6: boolean;
}

function carryOut(state: ResolverState, now: Instant, decided: Decided): void {
  const { asker, query, upstream, decision } = decided;
  count(state, `dns_row_${decision.row}`);
  switch (decision.kind) {
    case "local":
      return answerLocally(state, asker, query, decision.answer, { kind: "local", row: decision.row });
    case "proxies":
      return answerWithProxies(state, now, asker, query, decision);
    case "site": {
      count(state, "dns_site");
      const { resource, row } = decision;
      const { rid, pattern } = resource;
      const report = { kind: "site", row, rid, pattern: pattern.text } as const;
      const route = { kind: "waiting", rid, isV6First: decided.isV6 } as const;
      return launch(state, now, { asker, query, route, decision: report });
    }
    case "forward":
      return forward(state, now, asker, query, { upstream, row: decision.row });
    default:
      return unreachable(decision);
  }
}

function forward(
  state: ResolverState,
  now: Instant,
  asker: Asker,
  query: Query,
  to: { readonly upstream: Upstream; readonly row: number },
): void {
  const { upstream, row } = to;
  const isTunnelled = isThroughTunnel(state, upstream);
  const decision = { kind: "forwarded", row, upstream, path: isTunnelled ? "tunnel" : "direct" } as const;
  if (upstream.kind === "none") return fail(state, asker, query, decision, "notReady");
  count(state, isTunnelled ? "dns_forwarded_tunnel" : "dns_forwarded_direct");
  if (isTunnelled && upstream.kind === "do53") {
    const server: SocketAddress = { address: upstream.server.address, port: DNS_PORT };
    const route = { kind: "tunnel", servers: [server], transport: transportOf(asker) } as const;
    return launch(state, now, { asker, query, route, decision });
  }
  const transport = upstream.kind === "doh" ? "doh" : transportOf(asker);
  return launch(state, now, { asker, query, route: { kind: "direct", upstream, transport }, decision });
}

/** The host's own servers may be on the local link: only the portal's are asked through the tunnel (DN-67). */
function isThroughTunnel({ chosen, config }: ResolverState, upstream: Upstream): boolean {
  if (upstream.kind !== "do53" || !chosen.isCustom) return false;
  return config.tunnelled.some((network) => contains(network, upstream.server.address));
}

function answerWithProxies(
  state: ResolverState,
  now: Instant,
  asker: Asker,
  query: Query,
  { row, resource }: { readonly row: number; readonly resource: NamedResource },
): void {
  const { name, type } = query.question;
  const decision = { kind: "local", row, rid: resource.rid, pattern: resource.pattern.text } as const;
  const assigned = assign(state.assignments, name, resource);
  switch (assigned.kind) {
    case "full":
      if (maySay(state, now, "full"))
        state.log.error?.("no proxy address is left for another name", { rid: resource.rid });
      return fail(state, asker, query, decision);
    case "too-long":
      return fail(state, asker, query, decision);
    case "new":
      state.events.push({ kind: "records-changed" });
      break;
    case "known":
      break;
    default:
      return unreachable(assigned);
  }
  const records = proxyRecords(type, assigned.name.proxies, (family) => hasFamily(state, resource, family));
  answerLocally(state, asker, query, { rcode: RCODE.noError, records }, decision);
}

function answerLocally(
  state: ResolverState,
  asker: Asker,
  query: Query,
  answer: LocalAnswer,
  decision: QueryDecision,
): void {
  count(state, "dns_local");
  respond(state, asker, query, encodeLocal(query, answer), decision);
}
