/** The mapping of sentinels follows portal and host; servers that ask us are left out (DN-16 to DN-26, DN-83). */
import { after, type Instant, randomBytes, toHex } from "../base/index.ts";
import { encodeQuery } from "./address-query.ts";
import { flush } from "./cache.ts";
import { TYPE } from "./constants.ts";
import { launch } from "./flights.ts";
import { toName } from "./name.ts";
import { addressKey } from "./pools.ts";
import { checkQuery, type Query } from "./query.ts";
import type { Upstream } from "./resolver-face.ts";
import { count, type ResolverState } from "./resolver-state.ts";
import { suffixesOf } from "./resource-names.ts";
import { chooseUpstreams, isSameSet, mapUpstreams, upstreamKey } from "./upstreams.ts";

const RETIRED_MS = 120_000;
const PROBE_MS = 5_000;

/** Brings the mapping to what portal and host say now. */
export function updateUpstreams(state: ResolverState, now: Instant): void {
  const { config, system, log } = state;
  const chosen = chooseUpstreams({ ...config, system }, log);
  const usable = chosen.upstreams.filter((upstream) => !state.looping.has(upstreamKey(upstream)));
  state.chosen = { ...chosen, upstreams: usable.length > 0 ? usable : [{ kind: "none" }] };
  const before = state.mapping;
  const isSame = isSameSet(
    before.map(({ upstream }) => upstream),
    state.chosen.upstreams,
  );
  if (isSame) return;
  state.mapping = mapUpstreams(state.chosen.upstreams, before);
  const sentinels = new Set(before.map(({ sentinel }) => addressKey(sentinel)));
  state.retired = { sentinels, until: after(now, RETIRED_MS) };
  flush(state.cache);
  announceMapping(state);
  state.events.push({ kind: "flush-host-cache" });
  const known = new Set(before.map(({ upstream }) => upstreamKey(upstream)));
  for (const { upstream } of state.mapping)
    if (!known.has(upstreamKey(upstream))) probe(state, now, upstream);
}

export function announceMapping(state: ResolverState): void {
  const { mapping, config } = state;
  if (!state.isConfigured) return;
  const suffixes = suffixesOf(state.names);
  state.events.push({ kind: "mapping-changed", mapping, searchDomain: config.searchDomain, suffixes });
}

/** The host's DNS was changed: who reads it may ask us from now on. */
export function probeUpstreams(state: ResolverState, now: Instant): void {
  for (const { upstream } of state.mapping) probe(state, now, upstream);
}

/** A name that nobody else asks for: if it arrives at a sentinel, the server forwards to us. */
function probe(state: ResolverState, now: Instant, upstream: Upstream): void {
  if (upstream.kind !== "do53") return;
  const name = toName(`${toHex(randomBytes(state.random, 8))}.postern-loop.test`);
  if (name === undefined) return;
  const check = checkQuery(encodeQuery({ id: 0, name, type: TYPE.TXT }));
  if (check.kind !== "query") return;
  const key = upstreamKey(upstream);
  state.probes.set(name.key, { upstream: key, until: after(now, PROBE_MS) });
  launch(state, now, {
    asker: { kind: "loop-probe", upstream: key },
    query: check.query,
    route: { kind: "direct", upstream, transport: "udp" },
    decision: { kind: "forwarded", row: 12, upstream, path: "direct" },
  });
}

/** Whether a query is a probe that has come back; its server is asked no more. */
export function isLoopProbe(state: ResolverState, now: Instant, { question }: Query): boolean {
  const found = state.probes.get(question.name.key);
  if (found === undefined) return false;
  if (now <= found.until && !state.looping.has(found.upstream)) {
    count(state, "dns_loop");
    state.looping.add(found.upstream);
    state.log.error?.("a DNS server of this host asks us in turn: it is not used", {
      server: found.upstream,
    });
    updateUpstreams(state, now);
  }
  return true;
}

/** Forgets probes whose time is over. */
export function handleProbeTimeouts(state: ResolverState, now: Instant): void {
  for (const [key, { until }] of state.probes) if (until < now) state.probes.delete(key);
}

export function pollProbeTimeout({ probes }: ResolverState): Instant | undefined {
  const [first] = probes.values();
  // The answer of a server that loops may arrive within the last millisecond.
  return first === undefined ? undefined : after(first.until, 1);
}
