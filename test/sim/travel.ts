/**
 * How datagrams travel: over the sender's link, through the routers of its networks up to the first network
 * that knows the destination, and down through others to the receiver. Each link has its conditions.
 */
import {
  equalIp,
  formatIp,
  type Instant,
  type IpAddress,
  instant,
  type SocketAddress,
} from "../../src/base/index.ts";
import { MAX_IP_SIZE, parseIcmpQuote, parsePacket } from "../../src/packet/index.ts";
import { finite, nextTurn } from "../lib/bounds.ts";
import type { openCapture } from "./capture.ts";
import { type LinkConditions, PERFECT } from "./link.ts";
import {
  type Crossing,
  type Ends,
  enterThrough,
  hostAt,
  leave,
  type Network,
  networkTowards,
  type RoutedNetwork,
  type Router,
} from "./network.ts";
import { createStream } from "./streams.ts";
import type { Trace } from "./trace.ts";
import type { Host, OutgoingDatagram } from "./world.ts";

interface Entry {
  readonly atUs: number;
  readonly action: () => void;
}

/** All that moves. */
export interface Simulation {
  readonly seed: number;
  readonly internet: Network;
  /** Of all networks, in the order in which they came. */
  readonly hosts: Host[];
  /** What happens later, the earliest first. */
  readonly entries: Entry[];
  /** One per link, so that the draws of one do not shift those of another. */
  readonly streams: Map<string, ReturnType<typeof createStream>>;
  /** Links on which things go badly at present, by name. */
  readonly badTimes: Set<string>;
  /** When programs have to be woken, as far as that has been asked since they changed. */
  readonly wakes: Map<Host, number>;
  readonly trace: Trace;
  readonly capture: ReturnType<typeof openCapture>;
  nowUs: number;
  steps: number;
}

/** Datagrams that a program has ready at once. */
const FLUSHED_MAX = 10_000;

interface Flight extends Ends {
  readonly bytes: Uint8Array;
  readonly sender: Host;
  /** What the sender knows the destination by. */
  readonly aim: IpAddress;
  /** The longest IP packet of it on the wire: the whole, or a fragment. */
  readonly longest: number;
  readonly isCutUp: boolean;
}

interface Linked {
  readonly name: string;
  readonly link: LinkConditions;
}

/** What the kernel of a host knows (SN-150). */
export function pathMtuOf({ pathMtus }: Host, { address }: SocketAddress): number {
  if (pathMtus.size === 0) return PERFECT.mtu;
  return pathMtus.get(formatIp(address)) ?? PERFECT.mtu;
}

/** A packet for the host itself says that one of its datagrams was too big (RFC 4443 §3.2). */
export function hearTooBig({ pathMtus }: Host, packet: Uint8Array): void {
  const found = parsePacket(packet, { limitBytes: MAX_IP_SIZE, mode: "strict" });
  if (!found.ok) throw new Error(found.reason);
  const quote = parseIcmpQuote(packet, found.value);
  if (!quote.ok || quote.value === undefined) throw new Error("no ICMP error");
  const mtu = new DataView(packet.buffer, packet.byteOffset).getUint32(found.value.transportOffset + 4);
  pathMtus.set(formatIp(quote.value.destination), mtu);
}

export function nowOf({ nowUs }: Simulation): Instant {
  return instant(Math.floor(nowUs / 1000));
}

/** Sends what the program has ready, then lets it hand out the rest. */
export function flush(sim: Simulation, host: Host): void {
  const { program } = host;
  sim.wakes.delete(host);
  if (program === undefined) return;
  let turns = 0;
  for (let sent = program.pollTransmit(); sent !== undefined; sent = program.pollTransmit()) {
    turns = nextTurn(turns, host.name, FLUSHED_MAX);
    send(sim, host, sent);
  }
  program.drain(nowOf(sim));
}

function send(sim: Simulation, host: Host, datagram: OutgoingDatagram): void {
  const { destination } = datagram;
  const source = datagram.source ?? defaultSource(host, destination);
  const label = `${host.name} ${formatIp(destination.address)}:${destination.port}`;
  const isOwn = source !== undefined && host.addresses.some((address) => equalIp(address, source));
  if (source === undefined || !isOwn) return note(sim, `unroutable ${label}`);
  if (host.swallows(datagram)) return note(sim, `swallowed ${label}`);
  const from = { address: source, port: datagram.sourcePort ?? host.port };
  sim.capture?.record(sim.nowUs, from, destination, datagram.bytes);
  const ipBytes = datagram.bytes.length + (destination.address.length === 4 ? 28 : 48);
  const known = pathMtuOf(host, destination);
  const isCutUp = ipBytes > known;
  if (isCutUp && datagram.isWhole) return note(sim, `too long ${label}`);
  const bytes = datagram.bytes.slice();
  note(sim, `sent ${label}`, bytes);
  const flight: Flight = {
    from,
    to: destination,
    bytes,
    sender: host,
    aim: destination.address,
    longest: Math.min(ipBytes, known),
    isCutUp,
  };
  cross(sim, host, flight, (next) => place(sim, host.network, next));
}

/** Looks for the receiver on a network, below it, then above it; what came from above does not go back. */
function place(sim: Simulation, network: Network, flight: Flight, isFromAbove = false): void {
  const host = hostAt(network, flight.to.address);
  if (host !== undefined) return cross(sim, host, flight, (next) => deliver(sim, host, next));
  const below = networkTowards(network, flight.to.address);
  if (below !== undefined) return descend(sim, below, flight);
  const { router } = network;
  if (router === undefined || isFromAbove) {
    return note(sim, `nobody at ${formatIp(flight.to.address)} in ${network.name}`);
  }
  ascend(sim, network, router, flight);
}

function descend(sim: Simulation, network: RoutedNetwork, flight: Flight): void {
  const { router } = network;
  cross(sim, router, flight, (next) => {
    const crossing = enterThrough(router, nowOf(sim), next);
    if (passes(sim, router, crossing)) place(sim, network, { ...next, ...crossing.ends }, true);
  });
}

function ascend(sim: Simulation, network: Network, router: Router, flight: Flight): void {
  const crossing = leave(router, nowOf(sim), flight);
  if (!passes(sim, router, crossing)) return;
  const next = { ...flight, ...crossing.ends };
  if (crossing.kind === "back-inside") return place(sim, network, next, true);
  cross(sim, router, next, (above) => place(sim, router.above, above));
}

function passes(
  sim: Simulation,
  router: Router,
  crossing: Crossing,
): crossing is Exclude<Crossing, { kind: "dropped" }> {
  if (crossing.kind === "dropped") note(sim, `${router.name}: ${crossing.why}`);
  return crossing.kind !== "dropped";
}

/** Crosses one link; what is duplicated arrives twice. */
function cross(sim: Simulation, linked: Linked, flight: Flight, arrive: (flight: Flight) => void): void {
  const stream = streamOf(sim, linked);
  const { latencyMs, jitterMs, loss, duplication, reordering, reorderMs, corruption, isDown } = linked.link;
  // Always the same number of draws, so that one condition does not shift another.
  const [a, b, c, d, e, f, g, h] = [
    stream.unit(),
    stream.unit(),
    stream.unit(),
    stream.unit(),
    stream.unit(),
    stream.unit(),
    stream.unit(),
    stream.unit(),
  ];
  if (isDown || a < loss || isLostInBurst(sim, linked, g, h)) return note(sim, `lost at ${linked.name}`);
  if (!fits(sim, linked, flight)) return note(sim, `too long for ${linked.name}`);
  const bytes = b < corruption ? corrupted(flight.bytes, f) : flight.bytes;
  const delayMs = latencyMs + jitterMs * c + (d < reordering ? reorderMs : 0);
  const copies = e < duplication ? 2 : 1;
  for (let i = 0; i < copies; i++) schedule(sim, delayMs, () => arrive({ ...flight, bytes }));
}

function isLostInBurst(
  { badTimes }: Simulation,
  { name, link }: Linked,
  turn: number,
  draw: number,
): boolean {
  const { burst } = link;
  if (burst === undefined) return false;
  const isBad = badTimes.has(name) ? turn >= burst.ends : turn < burst.begins;
  if (isBad) badTimes.add(name);
  else badTimes.delete(name);
  return isBad && draw < burst.loss;
}

/** Whether the link takes the packets of a datagram; if they are too long, their sender may be told. */
function fits(sim: Simulation, { link }: Linked, { longest, isCutUp, sender, aim }: Flight): boolean {
  const { mtu, isIcmpBlocked, dropsFragments, latencyMs } = link;
  if (longest > mtu && !isIcmpBlocked) {
    schedule(sim, latencyMs, () => sender.pathMtus.set(formatIp(aim), mtu));
  }
  return longest <= mtu && !(isCutUp && dropsFragments);
}

function deliver(sim: Simulation, host: Host, { from, to, bytes }: Flight): void {
  // It may have moved while the datagram was on its way.
  const isStillThere = host.routed.some((own) => equalIp(own, to.address));
  if (host.program === undefined || !isStillThere || !host.takesPort(to.port)) {
    return note(sim, `nobody at ${formatIp(to.address)}`);
  }
  note(sim, `arrived ${host.name}`);
  host.program.handleDatagram(nowOf(sim), { local: to, from, bytes });
  flush(sim, host);
}

function streamOf({ seed, streams }: Simulation, { name }: Linked): ReturnType<typeof createStream> {
  const label = `link/${name}`;
  const stream = streams.get(label) ?? createStream(seed, label);
  streams.set(label, stream);
  return stream;
}

/** What is due at the same time happens in the order in which it was asked for. */
export function schedule(sim: Simulation, delayMs: number, action: () => void): void {
  const { entries } = sim;
  const atUs = sim.nowUs + Math.round(finite(delayMs, "a delay") * 1000);
  let place = entries.length;
  while (place > 0 && (entries[place - 1]?.atUs ?? 0) > atUs) place--;
  entries.splice(place, 0, { atUs, action });
}

function note({ nowUs, trace }: Simulation, line: string, bytes?: Uint8Array): void {
  trace.note(nowUs, line, bytes);
}

function defaultSource(host: Host, destination: SocketAddress): IpAddress | undefined {
  return host.addresses.find((address) => address.length === destination.address.length);
}

function corrupted(bytes: Uint8Array, draw: number): Uint8Array {
  const copy = bytes.slice();
  const bit = Math.floor(draw * bytes.length * 8);
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}
