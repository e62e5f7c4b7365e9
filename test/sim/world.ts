/**
 * The simulated world (TS-5 to TS-10): one thread, virtual time in microseconds, one seed.
 *
 *     host ── its link ──▶ the cloud routes by destination address ──▶ link of the other host ── host
 *
 * A datagram meets the conditions of the sender's link, then those of the receiver's. Addresses that
 * are not routed exist on their host only: a private network behind it that nobody else can reach.
 *
 * Hosts are of Ethernet. Each has a kernel that sets DF, learns a path's MTU by ICMP, and cuts up what is longer
 * than it knows, unless the program forbids it (PG-43).
 */
import { sha256 } from "@noble/hashes/sha2.js";
import {
  formatIp,
  type Instant,
  type IpAddress,
  instant,
  ip,
  type SocketAddress,
  toHex,
  type UnixMs,
  unixMs,
} from "../../src/base/index.ts";
import { openCapture } from "./capture.ts";
import { createStream } from "./streams.ts";

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

/** Conditions of a link, each way. Probabilities are 0 to 1 per datagram. */
export interface LinkConditions {
  readonly latencyMs: number;
  readonly jitterMs: number;
  readonly loss: number;
  readonly duplication: number;
  /** A datagram that is held back arrives this much later. */
  readonly reordering: number;
  readonly reorderMs: number;
  /** One flipped bit. */
  readonly corruption: number;
  readonly isDown: boolean;
  /** Of IP packets, in bytes. What is longer is lost, and its sender is told unless ICMP is blocked. */
  readonly mtu: number;
  readonly isIcmpBlocked: boolean;
  readonly dropsFragments: boolean;
}

export const PERFECT: LinkConditions = {
  latencyMs: 0,
  jitterMs: 0,
  loss: 0,
  duplication: 0,
  reordering: 0,
  reorderMs: 30,
  corruption: 0,
  isDown: false,
  mtu: 1500,
  isIcmpBlocked: false,
  dropsFragments: false,
};

export interface Host {
  readonly name: string;
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
  /** What its kernel has learnt of paths, by destination address. */
  readonly pathMtus: Map<string, number>;
}

export interface World {
  readonly seed: number;
  now(): Instant;
  unixNow(): UnixMs;
  random(label: string): ReturnType<typeof createStream>;
  addHost(name: string, options: HostOptions): Host;
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
}

const START_US = 1_000_000;
const UNIX_AT_START = 1_700_000_000_000;
const TRACE_LINES = 60;
const UTF8 = new TextEncoder();
/** Steps at one instant after which a program is not making progress (TS-13). */
const STEPS_PER_INSTANT = 10_000;

interface Entry {
  readonly atUs: number;
  readonly action: () => void;
}

/** All that moves. */
interface Simulation {
  readonly seed: number;
  readonly hosts: Host[];
  /** What happens later, the earliest first. */
  readonly entries: Entry[];
  /** One per link, so that the draws of one do not shift those of another. */
  readonly streams: Map<string, ReturnType<typeof createStream>>;
  readonly trace: ReturnType<typeof sha256.create>;
  readonly recent: string[];
  readonly capture: ReturnType<typeof openCapture>;
  nowUs: number;
}

interface Flight {
  readonly from: SocketAddress;
  readonly to: SocketAddress;
  readonly bytes: Uint8Array;
  readonly sender: Host;
  /** The longest IP packet of it on the wire: the whole, or a fragment. */
  readonly longest: number;
  readonly isCutUp: boolean;
}

export function createWorld(seed: number): World {
  const sim: Simulation = {
    seed,
    hosts: [],
    entries: [],
    streams: new Map(),
    trace: sha256.create(),
    recent: [],
    capture: openCapture(seed),
    nowUs: START_US,
  };
  return {
    seed,
    now: () => nowOf(sim),
    unixNow: () => unixMs(UNIX_AT_START + Math.floor((sim.nowUs - START_US) / 1000)),
    random: (label) => createStream(seed, label),
    addHost(name, options) {
      const host = createHost(name, options);
      sim.hosts.push(host);
      return host;
    },
    flush: (host) => flush(sim, host),
    at: (delayMs, action) => schedule(sim, delayMs, action),
    run(durationMs) {
      advance(sim, sim.nowUs + durationMs * 1000, () => false);
    },
    runUntil(condition, withinMs) {
      return advance(sim, sim.nowUs + withinMs * 1000, condition) ? nowOf(sim) : undefined;
    },
    sleep(durationMs) {
      sim.nowUs += durationMs * 1000;
    },
    traceHash: () => toHex(sim.trace.clone().digest()),
    recentTrace: () => sim.recent.join("\n"),
  };
}

function createHost(name: string, options: HostOptions): Host {
  const addresses = options.addresses.map(ip);
  const host: Host = {
    name,
    port: options.port ?? 52625,
    addresses,
    routed: options.routed?.map(ip) ?? addresses,
    link: { ...PERFECT, ...options.link },
    swallows: () => false,
    takesPort: (port) => port === host.port,
    program: undefined,
    pathMtus: new Map(),
  };
  return host;
}

/** What the kernel of a host knows (SN-150). */
export function pathMtuOf({ pathMtus }: Host, { address }: SocketAddress): number {
  return pathMtus.get(formatIp(address)) ?? PERFECT.mtu;
}

function nowOf({ nowUs }: Simulation): Instant {
  return instant(Math.floor(nowUs / 1000));
}

function advance(sim: Simulation, untilUs: number, isDone: () => boolean): boolean {
  let steps = 0;
  for (;;) {
    if (isDone()) return true;
    const next = nextUs(sim);
    if (next > untilUs) break;
    steps = next > sim.nowUs ? 0 : steps + 1;
    if (steps > STEPS_PER_INSTANT) {
      throw new Error(`no progress at ${sim.nowUs} µs\n${sim.recent.join("\n")}`);
    }
    sim.nowUs = next;
    step(sim);
  }
  sim.nowUs = untilUs;
  return isDone();
}

/** When the next thing happens. A wake in the past is a defect of the program (TS-13). */
function nextUs({ entries, hosts, nowUs }: Simulation): number {
  let first = entries[0]?.atUs ?? Number.POSITIVE_INFINITY;
  for (const { program } of hosts) {
    const due = program?.pollTimeout();
    if (due !== undefined) first = Math.min(first, Math.max(due * 1000, nowUs));
  }
  return first;
}

function step(sim: Simulation): void {
  const { entries, hosts } = sim;
  while ((entries[0]?.atUs ?? Number.POSITIVE_INFINITY) <= sim.nowUs) entries.shift()?.action();
  for (const host of hosts) {
    const due = host.program?.pollTimeout();
    if (due === undefined || due > nowOf(sim)) continue;
    host.program?.handleTimeout(nowOf(sim));
    flush(sim, host);
    const next = host.program?.pollTimeout();
    if (next !== undefined && next <= nowOf(sim)) throw new Error(`${host.name} wakes in the past: ${next}`);
  }
}

function flush(sim: Simulation, host: Host): void {
  const { program } = host;
  if (program === undefined) return;
  for (let sent = program.pollTransmit(); sent !== undefined; sent = program.pollTransmit()) {
    send(sim, host, sent);
  }
  program.drain(nowOf(sim));
}

function send(sim: Simulation, host: Host, datagram: OutgoingDatagram): void {
  const source = datagram.source ?? defaultSource(host, datagram.destination);
  const label = `${host.name} ${formatIp(datagram.destination.address)}:${datagram.destination.port}`;
  const receiver = hostAt(sim, datagram.destination.address);
  const isOwn = source !== undefined && host.addresses.some((address) => isSame(address, source));
  if (source === undefined || !isOwn || receiver === undefined) return note(sim, `unroutable ${label}`);
  if (host.swallows(datagram)) return note(sim, `swallowed ${label}`);
  const from = { address: source, port: datagram.sourcePort ?? host.port };
  sim.capture?.record(sim.nowUs, from, datagram.destination, datagram.bytes);
  const ipBytes = datagram.bytes.length + (datagram.destination.address.length === 4 ? 28 : 48);
  const known = pathMtuOf(host, datagram.destination);
  const isCutUp = ipBytes > known;
  if (isCutUp && datagram.isWhole) return note(sim, `too long ${label}`);
  note(sim, `sent ${label} ${toHex(sha256(datagram.bytes).subarray(0, 6))}`);
  const longest = Math.min(ipBytes, known);
  const to = datagram.destination;
  travel(sim, { from, to, bytes: datagram.bytes.slice(), sender: host, longest, isCutUp }, [host, receiver]);
}

/** Whether the link takes the packets of a datagram; if they are too long, their sender may be told. */
function fits(sim: Simulation, link: Host, { longest, isCutUp, sender, to }: Flight): boolean {
  const { mtu, isIcmpBlocked, dropsFragments, latencyMs } = link.link;
  if (longest > mtu && !isIcmpBlocked) {
    schedule(sim, latencyMs, () => sender.pathMtus.set(formatIp(to.address), mtu));
  }
  return longest <= mtu && !(isCutUp && dropsFragments);
}

/** Crosses the links one after the other. */
function travel(sim: Simulation, flight: Flight, [link, ...rest]: readonly Host[]): void {
  if (link === undefined) return deliver(sim, flight);
  const stream = streamOf(sim, link);
  const { latencyMs, jitterMs, loss, duplication, reordering, reorderMs, corruption, isDown } = link.link;
  // Always the same number of draws, so that one condition does not shift another.
  const [a, b, c, d, e, f] = [
    stream.unit(),
    stream.unit(),
    stream.unit(),
    stream.unit(),
    stream.unit(),
    stream.unit(),
  ];
  if (isDown || a < loss) return note(sim, `lost at ${link.name}`);
  if (!fits(sim, link, flight)) return note(sim, `too long for ${link.name}`);
  const bytes = b < corruption ? corrupted(flight.bytes, f) : flight.bytes;
  const delayMs = latencyMs + jitterMs * c + (d < reordering ? reorderMs : 0);
  const copies = e < duplication ? 2 : 1;
  for (let i = 0; i < copies; i++) {
    schedule(sim, delayMs, () => travel(sim, { ...flight, bytes }, rest));
  }
}

function deliver(sim: Simulation, { from, to, bytes }: Flight): void {
  const host = hostAt(sim, to.address);
  if (host?.program === undefined || !host.takesPort(to.port)) {
    return note(sim, `nobody at ${formatIp(to.address)}`);
  }
  note(sim, `arrived ${host.name}`);
  host.program.handleDatagram(nowOf(sim), { local: to, from, bytes });
  flush(sim, host);
}

function hostAt({ hosts }: Simulation, address: IpAddress): Host | undefined {
  return hosts.find(({ routed }) => routed.some((own) => isSame(own, address)));
}

function streamOf({ seed, streams }: Simulation, host: Host): ReturnType<typeof createStream> {
  const label = `link/${host.name}`;
  const stream = streams.get(label) ?? createStream(seed, label);
  streams.set(label, stream);
  return stream;
}

/** What is due at the same time happens in the order in which it was asked for. */
function schedule(sim: Simulation, delayMs: number, action: () => void): void {
  const { entries } = sim;
  const atUs = sim.nowUs + Math.round(delayMs * 1000);
  let place = entries.length;
  while (place > 0 && (entries[place - 1]?.atUs ?? 0) > atUs) place--;
  entries.splice(place, 0, { atUs, action });
}

function note({ nowUs, trace, recent }: Simulation, line: string): void {
  const text = `${nowUs} ${line}`;
  trace.update(UTF8.encode(`${text}\n`));
  recent.push(text);
  if (recent.length > TRACE_LINES) recent.shift();
}

function defaultSource(host: Host, destination: SocketAddress): IpAddress | undefined {
  return host.addresses.find((address) => address.length === destination.address.length);
}

function isSame(a: IpAddress, b: IpAddress): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function corrupted(bytes: Uint8Array, draw: number): Uint8Array {
  const copy = bytes.slice();
  const bit = Math.floor(draw * bytes.length * 8);
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}
