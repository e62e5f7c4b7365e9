/**
 * The world around the client's resolver: its sockets, the host's DNS, the names that are kept, and who asks
 * (dns.md §10, §15; PG-40, PG-77).
 *
 *     machine ── events ──▶ direct path, DNS control, file of names, lookups
 *        ▲──────────────── results, the host's servers
 */
import { type FSWatcher, watch } from "node:fs";
import { basename, dirname } from "node:path";
import { formatIp, type Instant, type Log, unreachable } from "../../base/index.ts";
import type {
  DirectResult,
  Do53Server,
  LookupReport,
  Resolver,
  ResolverEvent,
  SentinelMapping,
} from "../../dns/index.ts";
import type { DnsControl } from "../../host/index.ts";
import type { DnsStatus } from "../control/index.ts";
import type { DirectPath } from "./direct-path.ts";
import type { DohClient } from "./doh.ts";
import { readNames, sayIgnored, writeNames } from "./names-file.ts";

/** What of the resolver's events is not the tunnel's. */
export type DnsServiceEvent = Extract<
  ResolverEvent,
  {
    kind:
      | "direct-query"
      | "direct-done"
      | "records-changed"
      | "mapping-changed"
      | "flush-host-cache"
      | "looked-up";
  }
>;

export interface DnsServiceOptions {
  readonly control: DnsControl;
  /** Built with the callback for its results. */
  readonly openPath: (onResult: (token: number, result: DirectResult) => void) => DirectPath;
  readonly doh: DohClient;
  /** Lets the resolver have an input; its events come back by `handleEvent`. */
  readonly give: (use: (resolver: Resolver, now: Instant) => void) => void;
  readonly now: () => Instant;
  /** The index of an interface, by its name. */
  readonly indexOf: (name: string) => number | undefined;
  /** Whether the host asks multicast first for names below `.local` (DN-110); absent: nobody's host is concerned. */
  readonly asksMulticastFirst?: () => boolean;
  /** Absent: names are not kept. */
  readonly namesFile: string | undefined;
  readonly log: Log;
}

export interface DnsService {
  /** Reads what is kept, and the host's servers; from then on both are followed. */
  start(): void;
  handleEvent(event: DnsServiceEvent): void;
  lookup(domain: string, type: number): Promise<LookupReport>;
  /** How the host's DNS is controlled, and to what (PG-109). */
  status(): DnsStatus;
  reset(): void;
  close(): void;
}

const KEEP_AFTER_MS = 1_000;
const FLUSH_AFTER_MS = 1_000;
const LOOK_AFTER_MS = 250;
/** PG §1 `DNS_POLL`. */
const LOOK_EVERY_MS = { "etc-resolv-conf": 5_000, disabled: 5_000, "systemd-resolved": 30_000 } as const;
/** How long the host's resolvers may take to read what we have written (DN-26). */
const PROBE_AFTER_MS = 5_000;
const LOOKUPS_MAX = 100;

/** Timers that run once for many wishes. */
type Later = "keep" | "flush" | "look" | "probe";

interface ServiceState extends DnsServiceOptions {
  readonly timers: Map<Later, NodeJS.Timeout>;
  readonly lookups: Map<number, (report: LookupReport) => void>;
  mapping: readonly SentinelMapping[];
  hasWarnedOfLocal: boolean;
  nextLookup: number;
  watchers: readonly FSWatcher[];
  poll: NodeJS.Timeout | undefined;
}

export function createDnsService(options: DnsServiceOptions): DnsService {
  const state: ServiceState = {
    ...options,
    ...{
      timers: new Map(),
      lookups: new Map(),
      mapping: [],
      hasWarnedOfLocal: false,
      nextLookup: 1,
      watchers: [],
      poll: undefined,
    },
  };
  const path = options.openPath((token, result) =>
    options.give((resolver, now) => resolver.handleDirectResult(now, token, result)),
  );
  return {
    start: () => start(state),
    handleEvent: (event) => handleEvent(state, path, event),
    lookup: (domain, type) => lookup(state, domain, type),
    status: () => ({
      method: options.control.mode,
      sentinels: state.mapping.map(({ sentinel }) => formatIp(sentinel)),
      upstreams: state.mapping.map(describeUpstream),
    }),
    reset() {
      options.doh.reset();
      tellServers(state);
    },
    close() {
      if (state.timers.has("keep")) keep(state);
      for (const timer of state.timers.values()) clearTimeout(timer);
      clearInterval(state.poll);
      for (const watcher of state.watchers) watcher.close();
      path.close();
      options.doh.close();
    },
  };
}

function start(state: ServiceState): void {
  const { namesFile, give, control, log } = state;
  if (namesFile !== undefined) {
    const names = readNames(namesFile, log);
    give((resolver) => {
      if (!resolver.restore(names)) sayIgnored(namesFile, log);
    });
  }
  tellServers(state);
  state.watchers = control.watched.flatMap((path) => watchFile(state, path));
  state.poll = setInterval(() => look(state), LOOK_EVERY_MS[control.mode]).unref();
}

/** The folder is watched: files of DNS are replaced rather than written. */
function watchFile(state: ServiceState, path: string): readonly FSWatcher[] {
  try {
    const watcher = watch(dirname(path), { persistent: false }, (_, name) => {
      if (name === null || name === basename(path)) later(state, "look", LOOK_AFTER_MS, () => look(state));
    });
    watcher.on("error", () => watcher.close());
    return [watcher];
  } catch {
    // Where there is nothing to watch it is looked at now and then.
    return [];
  }
}

function look(state: ServiceState): void {
  state.control.look(state.now());
  tellServers(state);
}

/** An equal list does nothing (DN-83). */
function tellServers({ control, give, indexOf }: ServiceState): void {
  const servers = control.systemServers().map(({ address, zone }): Do53Server => {
    const scope = zone === undefined ? undefined : /^\d+$/.test(zone) ? Number(zone) : indexOf(zone);
    return scope === undefined ? { address } : { address, scope };
  });
  give((resolver, now) => resolver.handleSystemResolvers(now, servers));
}

function handleEvent(state: ServiceState, path: DirectPath, event: DnsServiceEvent): void {
  switch (event.kind) {
    case "direct-query":
      return path.send(event.query);
    case "direct-done":
      return path.done(event.token);
    case "records-changed":
      return later(state, "keep", KEEP_AFTER_MS, () => keep(state));
    case "mapping-changed":
      return takeMapping(state, event);
    case "flush-host-cache":
      return later(state, "flush", FLUSH_AFTER_MS, () => state.control.flush());
    case "looked-up":
      state.lookups.get(event.token)?.(event.report);
      state.lookups.delete(event.token);
      return;
    default:
      return unreachable(event);
  }
}

function takeMapping(
  state: ServiceState,
  { mapping, searchDomain, suffixes }: Extract<DnsServiceEvent, { kind: "mapping-changed" }>,
): void {
  const { control, doh, log } = state;
  state.mapping = mapping;
  doh.want(mapping.flatMap(({ upstream }) => (upstream.kind === "doh" ? [upstream.url] : [])));
  log.info?.("DNS servers", {
    servers: mapping.map((one) => `${formatIp(one.sentinel)} asks ${describeUpstream(one)}`),
    search: searchDomain,
  });
  warnOfLocal(state, suffixes);
  control.want(state.now(), { servers: mapping.map(({ sentinel }) => sentinel), searchDomain, suffixes });
  later(state, "probe", PROBE_AFTER_MS, () =>
    state.give((resolver, now) => resolver.handleHostDnsChanged(now)),
  );
}

/** Once: such a resource never resolves, and nothing else would say why. */
function warnOfLocal(state: ServiceState, suffixes: readonly string[]): void {
  const names = suffixes.filter((suffix) => /(^|\.)local$/.test(suffix));
  if (names.length === 0 || state.hasWarnedOfLocal || state.asksMulticastFirst?.() !== true) return;
  state.hasWarnedOfLocal = true;
  state.log.warn?.("this host asks multicast for names below .local: those of resources do not reach us", {
    names,
    remedy: "put dns before mdns in the line `hosts:` of /etc/nsswitch.conf",
  });
}

export function describeUpstream({ upstream }: Pick<SentinelMapping, "upstream">): string {
  switch (upstream.kind) {
    case "do53": {
      const { address, scope } = upstream.server;
      return formatIp(address) + (scope === undefined ? "" : `%${scope}`);
    }
    case "doh":
      return upstream.url;
    case "none":
      return "nobody";
    default:
      return unreachable(upstream);
  }
}

function keep({ namesFile, give, log }: ServiceState): void {
  if (namesFile === undefined) return;
  give((resolver) => {
    try {
      writeNames(namesFile, resolver.names());
    } catch (error) {
      log.warn?.("names are not kept over a restart", { path: namesFile, reason: String(error) });
    }
  });
}

/** The first wish counts: many make no delay (DN-46, DN-101). */
function later({ timers }: ServiceState, what: Later, ms: number, act: () => void): void {
  if (timers.has(what)) return;
  const timer = setTimeout(() => {
    timers.delete(what);
    act();
  }, ms).unref();
  timers.set(what, timer);
}

function lookup(state: ServiceState, domain: string, type: number): Promise<LookupReport> {
  if (state.lookups.size >= LOOKUPS_MAX) return Promise.reject(new Error("too many lookups at once"));
  const token = state.nextLookup++;
  return new Promise((resolve) => {
    state.lookups.set(token, resolve);
    state.give((resolver, now) => resolver.lookup(now, token, domain, type));
  });
}
