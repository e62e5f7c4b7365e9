/**
 * A NAT as RFC 4787 describes it, as data and a table (TS-11):
 *
 *     inside socket ── mapping: who shares an outside port ──▶ outside port
 *     inside socket ◀── filtering: from whom it lets in ────── outside port
 *
 * The kinds are those of the routers in namespaces (TS-27), so that both worlds mean the same by a name.
 */
import {
  equalSocketAddress,
  formatIp,
  formatSocketAddress,
  type Instant,
  type SocketAddress,
} from "../../src/base/index.ts";
import { type Dependence, NAT_KINDS, type NatBehaviour, type NatKind } from "../lib/nat.ts";
import type { createStream } from "./streams.ts";

export interface NatOptions extends Omit<NatBehaviour, "hairpin"> {
  /** What a host inside sees as the source when it reaches another one by the outside address (REQ-9). */
  readonly hairpin: "none" | "outside" | "inside";
  /** Where the port is not kept. */
  readonly allocation: "random" | "sequential";
  /** The outside ports that there are, the highest included. */
  readonly ports: { readonly lowest: number; readonly highest: number };
  /** Of mapping and permission, since the last packet that refreshed them (REQ-5). */
  readonly lifetimeMs: number;
  /** Whether packets from outside refresh a mapping, too (REQ-6). */
  readonly isRefreshedFromOutside: boolean;
  /** Packets from outside to this port go to that inside socket. */
  readonly forward?: { readonly port: number; readonly to: SocketAddress };
}

/** What Linux does where a kind does not say. */
const DEFAULTS = {
  allocation: "random",
  ports: { lowest: 1024, highest: 65_535 },
  lifetimeMs: 120_000,
  isRefreshedFromOutside: true,
} as const;

export function natOptions(kind: NatKind, change: Partial<NatOptions> = {}): NatOptions {
  return { ...DEFAULTS, ...NAT_KINDS[kind], ...change };
}

export interface Nat {
  /** What is changed of it concerns new packets; mappings stay. */
  options: NatOptions;
  /** The outside port of a packet on its way out; `undefined`: no port is left. */
  translateOut(now: Instant, inside: SocketAddress, to: SocketAddress): number | undefined;
  /** Whose packet it is that came to an outside port; `undefined`: nobody's. */
  translateIn(now: Instant, port: number, from: SocketAddress): SocketAddress | undefined;
  /** Mappings that are alive. */
  size(now: Instant): number;
  /** All mappings are forgotten. */
  reboot(): void;
}

interface Mapping {
  readonly key: string;
  readonly inside: SocketAddress;
  readonly port: number;
  usedAt: Instant;
  /** When each remote was last sent to, by what the filter looks at. */
  readonly permitted: Map<string, Instant>;
}

interface Table {
  options: NatOptions;
  readonly stream: ReturnType<typeof createStream>;
  readonly byKey: Map<string, Mapping>;
  readonly byPort: Map<number, Mapping>;
  /** Flows that came in through the forwarded port: answers leave by it. */
  readonly forwarded: Map<string, Instant>;
  nextPort: number;
}

export function createNat(options: NatOptions, stream: ReturnType<typeof createStream>): Nat {
  const table: Table = {
    options,
    stream,
    byKey: new Map(),
    byPort: new Map(),
    forwarded: new Map(),
    nextPort: options.ports.lowest,
  };
  return {
    get options() {
      return table.options;
    },
    set options(next) {
      table.options = next;
    },
    translateOut: (now, inside, to) => translateOut(table, now, inside, to),
    translateIn: (now, port, from) => translateIn(table, now, port, from),
    size(now) {
      forgetOld(table, now);
      return table.byKey.size;
    },
    reboot() {
      table.byKey.clear();
      table.byPort.clear();
      table.forwarded.clear();
      table.nextPort = table.options.ports.lowest;
    },
  };
}

function translateOut(
  table: Table,
  now: Instant,
  inside: SocketAddress,
  to: SocketAddress,
): number | undefined {
  const { options, forwarded, byKey } = table;
  forgetOld(table, now);
  const flow = flowOf(inside, to);
  if (options.forward !== undefined && forwarded.has(flow)) {
    forwarded.set(flow, now);
    return options.forward.port;
  }
  const key = `${formatSocketAddress(inside)} ${partOf(options.mapping, to)}`;
  const mapping = byKey.get(key) ?? addMapping(table, { key, inside, usedAt: now });
  if (mapping === undefined) return undefined;
  mapping.usedAt = now;
  mapping.permitted.set(partOf(options.filtering, to), now);
  return mapping.port;
}

function translateIn(
  table: Table,
  now: Instant,
  port: number,
  from: SocketAddress,
): SocketAddress | undefined {
  const { options, byPort, forwarded } = table;
  forgetOld(table, now);
  const mapping = byPort.get(port);
  if (mapping?.permitted.has(partOf(options.filtering, from))) {
    if (options.isRefreshedFromOutside) {
      mapping.usedAt = now;
      mapping.permitted.set(partOf(options.filtering, from), now);
    }
    return mapping.inside;
  }
  if (options.forward?.port !== port) return undefined;
  forwarded.set(flowOf(options.forward.to, from), now);
  return options.forward.to;
}

function addMapping(table: Table, of: Pick<Mapping, "key" | "inside" | "usedAt">): Mapping | undefined {
  const port = freePort(table, of.inside);
  if (port === undefined) return undefined;
  const mapping: Mapping = { ...of, port, permitted: new Map() };
  table.byKey.set(of.key, mapping);
  table.byPort.set(port, mapping);
  return mapping;
}

/** The port of the inside socket if it is kept and free; else by the way of allocation, the next free one. */
function freePort(table: Table, inside: SocketAddress): number | undefined {
  const { options, stream, byPort } = table;
  const { lowest, highest } = options.ports;
  const { forward } = options;
  const isFree = (port: number): boolean =>
    !byPort.has(port) && (port !== forward?.port || equalSocketAddress(forward.to, inside));
  const { port: wanted } = inside;
  if (options.isPortKept && wanted >= lowest && wanted <= highest && isFree(wanted)) return wanted;
  const count = highest - lowest + 1;
  const start = options.allocation === "random" ? Math.floor(stream.unit() * count) : table.nextPort - lowest;
  for (let i = 0; i < count; i++) {
    const port = lowest + ((start + i) % count);
    if (!isFree(port)) continue;
    table.nextPort = port === highest ? lowest : port + 1;
    return port;
  }
  return undefined;
}

function forgetOld({ options, byKey, byPort, forwarded }: Table, now: Instant): void {
  const isOld = (at: Instant): boolean => now - at >= options.lifetimeMs;
  for (const mapping of byKey.values()) {
    if (isOld(mapping.usedAt)) {
      byKey.delete(mapping.key);
      byPort.delete(mapping.port);
      continue;
    }
    for (const [remote, at] of mapping.permitted) if (isOld(at)) mapping.permitted.delete(remote);
  }
  for (const [flow, at] of forwarded) if (isOld(at)) forwarded.delete(flow);
}

/** What of a remote socket matters. */
function partOf(dependence: Dependence, remote: SocketAddress): string {
  switch (dependence) {
    case "endpoint-independent":
      return "any";
    case "address-dependent":
      return formatIp(remote.address);
    case "address-and-port-dependent":
      return formatSocketAddress(remote);
  }
}

function flowOf(inside: SocketAddress, remote: SocketAddress): string {
  return `${formatSocketAddress(inside)} ${formatSocketAddress(remote)}`;
}
