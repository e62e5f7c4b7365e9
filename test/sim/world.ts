/**
 * The simulated world (TS-5 to TS-11): one thread, virtual time in microseconds, one seed.
 *
 *     host ── its link ──▶ its network ──▶ routers, each with its link ──▶ network of the other ── host
 *
 * Without routers all hosts are on the Internet. Addresses that are not routed exist on their host only: a
 * private network behind it that nobody else can reach.
 *
 * Hosts are of Ethernet. Each has a kernel that sets DF, learns a path's MTU by ICMP, and cuts up what is longer
 * than it knows, unless the program forbids it (PG-43).
 */
import {
  type Instant,
  type IpAddress,
  ip,
  type SocketAddress,
  type UnixMs,
  unixMs,
} from "../../src/base/index.ts";
import { finite, nextTurn } from "../lib/bounds.ts";
import { openCapture } from "./capture.ts";
import { type LinkConditions, PERFECT } from "./link.ts";
import { createNat, type NatOptions } from "./nat.ts";
import { createInternet, createNetwork, type Network, type RoutedNetwork, type Router } from "./network.ts";
import { createStream } from "./streams.ts";
import { createTrace } from "./trace.ts";
import { flush, nowOf, type Simulation, schedule } from "./travel.ts";

export { type LinkConditions, PERFECT } from "./link.ts";
export { hearTooBig, pathMtuOf } from "./travel.ts";

export interface SimulatedDatagram {
  readonly local: SocketAddress;
  readonly from: SocketAddress;
  readonly bytes: Uint8Array;
}

export interface OutgoingDatagram {
  readonly source?: IpAddress;
  /** Default: the host's port. */
  readonly sourcePort?: number;
  readonly destination: SocketAddress;
  readonly bytes: Uint8Array;
  readonly isWhole?: boolean;
}

/** What runs on a host: a machine and what the test does with its outputs. */
export interface Program {
  handleDatagram(now: Instant, datagram: SimulatedDatagram): void;
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
  pollTransmit(): OutgoingDatagram | undefined;
  /** Takes events and packets out of the machine; called when its datagrams have been sent. */
  drain(now: Instant): void;
}

export interface Host {
  readonly name: string;
  /** Where its link leads to. */
  network: Network;
  /** Of the one UDP socket per family. */
  port: number;
  addresses: readonly IpAddress[];
  /** Of those, the ones that others can reach. */
  routed: readonly IpAddress[];
  link: LinkConditions;
  /** On which ports it listens; default: `port` alone. */
  takesPort: (port: number) => boolean;
  /** A middlebox on the way out: what it returns `true` for is lost. */
  swallows: (datagram: OutgoingDatagram) => boolean;
  program: Program | undefined;
  /** How far its clock on the wall is wrong. */
  clockSkewMs: number;
  /** How long its program oversleeps each time, in milliseconds. */
  lagMs: number;
  /** What its kernel has learnt of paths, by destination address. */
  readonly pathMtus: Map<string, number>;
}

export interface World {
  readonly seed: number;
  now(): Instant;
  unixNow(): UnixMs;
  random(label: string): ReturnType<typeof createStream>;
  readonly internet: Network;
  hosts(): readonly Host[];
  addHost(name: string, options: HostOptions): Host;
  /** A network behind a router of its own. */
  addNetwork(name: string, options: NetworkOptions): RoutedNetwork;
  /** The host leaves its network and appears elsewhere, with other addresses. */
  move(host: Host, to: { readonly addresses: readonly string[]; readonly network?: Network }): void;
  /** Sends what a program has ready, then lets the test look at its other outputs. */
  flush(host: Host): void;
  at(delayMs: number, action: () => void): void;
  /** Advances to `now() + durationMs`, doing all that is due on the way. */
  run(durationMs: number): void;
  /** Advances until the condition holds; `undefined` if it does not within the bound. */
  runUntil(condition: () => boolean, withinMs: number): Instant | undefined;
  /** Advances the clocks without running anything: a suspended machine. */
  sleep(durationMs: number): void;
  /** Hash of all that was sent, delivered and lost so far (TS-7). */
  traceHash(): string;
  /** The last lines of the trace, for failure messages. */
  recentTrace(): string;
}

export interface HostOptions {
  readonly addresses: readonly string[];
  /** Default: all. */
  readonly routed?: readonly string[];
  readonly port?: number;
  readonly link?: Partial<LinkConditions>;
  /** Default: the Internet. */
  readonly network?: Network;
}

export interface NetworkOptions {
  /** Of the router, on the network above. */
  readonly outside: readonly string[];
  /** Default: the Internet. */
  readonly above?: Network;
  readonly link?: Partial<LinkConditions>;
  /** Of IPv4; absent: nothing is translated. */
  readonly nat?: NatOptions;
  /** Whether what is not translated comes in only as an answer. */
  readonly isGuarded?: boolean;
  readonly blocks?: Router["blocks"];
}

const START_US = 1_000_000;
const UNIX_AT_START = 1_700_000_000_000;
/** Steps at one instant after which a program is not making progress (TS-13). */
const STEPS_PER_INSTANT = 10_000;
/** After so many, what is known of wakes is compared with what programs say. */
const CHECKED_STEPS = 61;

export function createWorld(seed: number): World {
  const sim: Simulation = {
    seed,
    internet: createInternet(),
    hosts: [],
    entries: [],
    streams: new Map(),
    badTimes: new Set(),
    wakes: new Map(),
    trace: createTrace(),
    capture: openCapture(seed),
    nowUs: START_US,
    steps: 0,
  };
  return {
    seed,
    now: () => nowOf(sim),
    unixNow: () => unixMs(UNIX_AT_START + Math.floor((sim.nowUs - START_US) / 1000)),
    random: (label) => createStream(seed, label),
    internet: sim.internet,
    hosts: () => sim.hosts,
    addHost(name, options) {
      const host = createHost(sim, name, options);
      sim.hosts.push(host);
      host.network.hosts.push(host);
      return host;
    },
    addNetwork: (name, options) => addNetwork(sim, name, options),
    move(host, { addresses, network = sim.internet }) {
      host.network.hosts.splice(host.network.hosts.indexOf(host), 1);
      network.hosts.push(host);
      host.network = network;
      host.addresses = addresses.map(ip);
      host.routed = host.addresses;
    },
    flush: (host) => flush(sim, host),
    at: (delayMs, action) =>
      schedule(sim, delayMs, () => {
        // Whom it concerns is not known.
        sim.wakes.clear();
        action();
      }),
    run(durationMs) {
      advance(sim, sim.nowUs + usOf(durationMs), () => false);
    },
    runUntil(condition, withinMs) {
      return advance(sim, sim.nowUs + usOf(withinMs), condition) ? nowOf(sim) : undefined;
    },
    sleep(durationMs) {
      sim.nowUs += usOf(durationMs);
    },
    traceHash: () => sim.trace.hash(),
    recentTrace: () => sim.trace.recent(),
  };
}

function usOf(durationMs: number): number {
  return finite(durationMs, "a length of time") * 1000;
}

function createHost({ internet }: Simulation, name: string, options: HostOptions): Host {
  const addresses = options.addresses.map(ip);
  const host: Host = {
    name,
    network: options.network ?? internet,
    port: options.port ?? 52625,
    addresses,
    routed: options.routed?.map(ip) ?? addresses,
    link: { ...PERFECT, ...options.link },
    swallows: () => false,
    takesPort: (port) => port === host.port,
    program: undefined,
    clockSkewMs: 0,
    lagMs: 0,
    pathMtus: new Map(),
  };
  return host;
}

function addNetwork({ seed, internet }: Simulation, name: string, options: NetworkOptions): RoutedNetwork {
  const router: Router = {
    name: `router of ${name}`,
    above: options.above ?? internet,
    outside: options.outside.map(ip),
    link: { ...PERFECT, ...options.link },
    nat: options.nat && createNat(options.nat, createStream(seed, `nat/${name}`)),
    isGuarded: options.isGuarded ?? options.nat !== undefined,
    blocks: options.blocks ?? "nothing",
    flows: new Map(),
  };
  return createNetwork(name, router);
}

function advance(sim: Simulation, untilUs: number, isDone: () => boolean): boolean {
  let steps = 0;
  // Since the last time the test has had every machine in its hands.
  sim.wakes.clear();
  for (;;) {
    if (isDone()) return true;
    const next = nextUs(sim);
    if (next > untilUs) break;
    steps = next > sim.nowUs ? 0 : steps + 1;
    if (steps > STEPS_PER_INSTANT) {
      throw new Error(`no progress at ${sim.nowUs} µs\n${sim.trace.recent()}`);
    }
    sim.nowUs = next;
    step(sim);
  }
  sim.nowUs = untilUs;
  return isDone();
}

/** When the next thing happens. A wake in the past is a defect of the program (TS-13). */
function nextUs(sim: Simulation): number {
  let first = sim.entries[0]?.atUs ?? Number.POSITIVE_INFINITY;
  for (const host of sim.hosts) first = Math.min(first, wakeOf(sim, host) * 1000);
  // What was due while everything slept is late.
  return Math.max(first, sim.nowUs);
}

/** Asked again only after the host has been flushed, or has been in other hands. */
function wakeOf({ wakes }: Simulation, host: Host): number {
  const known = wakes.get(host);
  if (known !== undefined) return known;
  const wake = askWake(host);
  wakes.set(host, wake);
  return wake;
}

function askWake({ name, program, lagMs }: Host): number {
  const due = program?.pollTimeout();
  return due === undefined ? Number.POSITIVE_INFINITY : finite(due, name) + lagMs;
}

function step(sim: Simulation): void {
  const { entries, hosts } = sim;
  let turns = 0;
  while ((entries[0]?.atUs ?? Number.POSITIVE_INFINITY) <= sim.nowUs) {
    turns = nextTurn(turns, `at ${sim.nowUs} µs`);
    entries.shift()?.action();
  }
  for (const host of hosts) {
    if (wakeOf(sim, host) > nowOf(sim)) continue;
    host.program?.handleTimeout(nowOf(sim));
    flush(sim, host);
    const next = host.program?.pollTimeout();
    if (next !== undefined && next <= nowOf(sim)) throw new Error(`${host.name} wakes in the past: ${next}`);
  }
  if (++sim.steps % CHECKED_STEPS === 0) checkWakes(sim);
}

/** A program that changes without being flushed would be woken at the wrong time. */
function checkWakes({ hosts, wakes, nowUs }: Simulation): void {
  for (const host of hosts) {
    const known = wakes.get(host);
    if (known === undefined || known === askWake(host)) continue;
    throw new Error(`${host.name} changed at ${nowUs} µs, but nobody flushed it`);
  }
}
