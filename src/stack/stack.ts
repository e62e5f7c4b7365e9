/** TCP, UDP and echoes between packets of a tunnel and whoever has no kernel for them (PG-122 to PG-125, PG-129). */
import {
  copyOf,
  createQueue,
  earliest,
  equalIp,
  type Instant,
  type IpAddress,
  randomBelow,
  type SocketAddress,
} from "../base/index.ts";
import {
  cutUdp,
  encodeEchoRequest,
  encodeUdp,
  type PacketDescriptor,
  type PacketView,
  PROTOCOL,
  parsePacket,
  UDP_HEADER_BYTES,
  viewPacket,
} from "../packet/index.ts";
import { createTcpHost, FULL_PROFILE, VNET_HEADER_BYTES } from "../tcp/index.ts";
import type { Stack, StackOptions } from "./face.ts";
import { encodeEchoReply, readEcho, readIcmpError } from "./icmp.ts";
import { createReassembly } from "./reassembly.ts";
import { freePort, isOwn, ownAddress, refuse, type StackState } from "./state.ts";
import {
  ASKED_MAX,
  admit,
  connect,
  decide,
  forgetAsked,
  handleTcp,
  nextAskedEnd,
  takeEvents,
} from "./tcp-front.ts";

/** VIRTIO_NET_HDR_F_DATA_VALID. */
const VNET_DATA_VALID = 2;
/** A super-frame is as long as an IP packet can be. */
const LIMITS = { limitBytes: 65_535, mode: "strict" } as const;
const ECHO_BODY = new TextEncoder().encode("postern echo request");
const IDENTIFIERS = 0x1_0000;

export function createStack(options: StackOptions): Stack {
  const state = createState(options);
  /** What follows from an input is told at once. */
  const thenTake = <T>(now: Instant, act: () => T): T => {
    const result = act();
    takeEvents(state, now);
    return result;
  };
  const { tcp, reassembly } = state;
  return {
    configure(addresses) {
      state.addresses = addresses;
    },
    handlePacket: (now, packet) => handlePacket(state, now, packet),
    handleTcpFrame: (now, frame) => handleTcp(state, now, frame),
    connect: (now, remote) => thenTake(now, () => connect(state, now, remote)),
    send: (now, id, bytes) => tcp.send(now, id, bytes),
    take: (now, id, octets) => tcp.take(now, id, octets),
    end: (now, id) => thenTake(now, () => tcp.end(now, id)),
    abort: (now, id) => thenTake(now, () => tcp.abort(now, id)),
    keepAlive: (now, id, idleMs) => tcp.keepAlive(now, id, idleMs),
    decide: (now, asked, answer) => decide(state, now, asked, answer),
    listenTcp: (port) => void state.tcpPorts.add(port),
    ignoreTcp: (port) => void state.tcpPorts.delete(port),
    bindUdp: (port) => bindUdp(state, port),
    releaseUdp: (port) => void state.udpPorts.delete(port),
    sendUdp: (local, remote, bytes) => sendUdp(state, local, remote, bytes),
    ping: (remote) => ping(state, remote),
    forgetPing: (one) => void state.pings.delete(one),
    echo(packet) {
      const reply = encodeEchoReply(packet);
      if (reply !== undefined) state.packets.push(reply);
    },
    refuse: (packet, refusal) => refuse(state, packet, refusal),
    addressOf: (family) => ownAddress(state, family),
    handleTimeout(now) {
      tcp.handleTimeout(now);
      forgetAsked(state, now);
      reassembly.handleTimeout(now);
      takeEvents(state, now);
    },
    pollTimeout: () => earliest(earliest(tcp.pollTimeout(), nextAskedEnd(state)), reassembly.pollTimeout()),
    pollFrame: (into) => pollFrame(state, into),
    pollPacket: () => state.packets.shift() ?? tcp.pollPacket(),
    pollEvent: () => state.events.shift(),
    counters: () => ({
      ...{ ...state.counters, stack_drop_fragment: reassembly.dropped() },
      ...prefixed(tcp.counters()),
    }),
  };
}

function prefixed(counters: Readonly<Record<string, number>>): Record<`tcp_${string}`, number> {
  const entries = Object.entries(counters).map(([name, count]) => [
    `tcp_${name.replace(/^tcp_/, "")}`,
    count,
  ]);
  return Object.fromEntries(entries);
}

function pollFrame({ packets, tcp }: StackState, into: Uint8Array): number {
  const packet = packets.shift();
  if (packet === undefined) return tcp.pollFrame(into);
  into.fill(0, 0, VNET_HEADER_BYTES);
  into.set(packet, VNET_HEADER_BYTES);
  return VNET_HEADER_BYTES + packet.length;
}

function createState(options: StackOptions): StackState {
  const state: StackState = {
    ...options,
    tcp: createTcpHost({
      random: options.random,
      admit: (local, remote) => admit(state, local, remote),
      // A router's are no flood: each was answered from outside, and they are counted by `asked`.
      ...(options.isRouter && { profile: { ...FULL_PROFILE, halfOpenMax: ASKED_MAX } }),
    }),
    ...{ addresses: [], connections: new Map(), asked: new Map(), askedByKey: new Map() },
    ...{ nextAsked: 1, incoming: undefined, tcpPorts: new Set(), udpPorts: new Set() },
    ...{ pings: new Map(), packets: createQueue(), events: createQueue(), reassembly: createReassembly() },
    nextIdentification: randomBelow(options.random, IDENTIFIERS),
    counters: {
      stack_drop_malformed: 0,
      stack_drop_protocol: 0,
      stack_drop_asked_full: 0,
    },
  };
  return state;
}

function handlePacket(state: StackState, now: Instant, packet: Uint8Array): void {
  const parsed = parsePacket(packet, LIMITS);
  if (!parsed.ok) {
    state.counters.stack_drop_malformed++;
    return;
  }
  const found = parsed.value;
  if (found.isFragment) {
    const datagram = state.reassembly.take(now, packet, found);
    if (datagram !== undefined) handlePacket(state, now, datagram);
    return;
  }
  const whole = packet.subarray(0, found.totalBytes);
  const isOurs = state.isRouter || isOwn(state, viewPacket(whole).destination);
  switch (isOurs ? found.protocol : undefined) {
    case PROTOCOL.tcp:
      return handleTcp(state, now, behindHeader(whole));
    case PROTOCOL.udp:
      return handleUdp(state, whole, viewPacket(whole));
    case PROTOCOL.icmp:
    case PROTOCOL.icmpv6:
      return handleIcmp(state, now, whole, found);
    default:
      state.counters.stack_drop_protocol++;
  }
}

/** The checksum of what has come from the tunnel may be unfinished, or was seen to. */
function behindHeader(packet: Uint8Array): Uint8Array {
  const frame = new Uint8Array(VNET_HEADER_BYTES + packet.length);
  frame[0] = VNET_DATA_VALID;
  frame.set(packet, VNET_HEADER_BYTES);
  return frame;
}

function handleUdp(state: StackState, packet: Uint8Array, view: PacketView): void {
  const { ports, transport } = view;
  if (ports === undefined) return;
  const local = { address: copyOf(view.destination), port: ports.destination };
  const remote = { address: copyOf(view.source), port: ports.source };
  const isForwarded = state.isRouter && !isOwn(state, local.address);
  if (!isForwarded && !state.udpPorts.has(local.port)) return refuse(state, packet, "port-unreachable");
  const length = ((transport[4] ?? 0) << 8) | (transport[5] ?? 0);
  const bytes = copyOf(transport.subarray(UDP_HEADER_BYTES, length));
  const event = { kind: "datagram", local, remote, bytes } as const;
  state.events.push(isForwarded ? { ...event, packet: copyOf(packet) } : event);
}

function handleIcmp(state: StackState, now: Instant, packet: Uint8Array, found: PacketDescriptor): void {
  // TCP reads for itself whether a segment of its own is quoted.
  if (state.tcp.handleIcmp(now, packet)) return takeEvents(state, now);
  const error = readIcmpError(packet, found);
  if (error !== undefined) return handleError(state, error);
  const echo = readEcho(packet);
  if (echo === undefined) return;
  const { source, destination } = viewPacket(packet);
  const local = copyOf(destination);
  if (echo.kind === "reply") {
    if (takePing(state, echo.identifier, source))
      state.events.push({ kind: "echoed", ping: echo.identifier });
  } else if (isOwn(state, local)) {
    const reply = encodeEchoReply(packet);
    if (reply !== undefined) state.packets.push(reply);
  } else state.events.push({ kind: "echo-asked", local, packet: copyOf(packet) });
}

function handleError(
  state: StackState,
  { quote, reason }: NonNullable<ReturnType<typeof readIcmpError>>,
): void {
  const { protocol, ports } = quote;
  if (ports === undefined) return;
  const local = { address: quote.source, port: ports.source };
  const remote = { address: quote.destination, port: ports.destination };
  if (protocol === PROTOCOL.udp) {
    state.events.push({ kind: "datagram-unreached", local, remote, reason });
  } else if (protocol !== PROTOCOL.tcp && takePing(state, ports.source, quote.destination)) {
    state.events.push({ kind: "echo-unreached", ping: ports.source, reason });
  }
}

/** Ends an echo; only what comes from, or is about, whom we asked does so. */
function takePing({ pings }: StackState, identifier: number, remote: IpAddress): boolean {
  const asked = pings.get(identifier);
  return asked !== undefined && equalIp(asked, remote) && pings.delete(identifier);
}

function bindUdp(state: StackState, wanted: number | undefined): number | undefined {
  const port = wanted ?? freePort(state, (one) => state.udpPorts.has(one));
  if (port === undefined || state.udpPorts.has(port)) return undefined;
  state.udpPorts.add(port);
  return port;
}

/** What does not fit into a packet leaves in fragments. */
function sendUdp(
  state: StackState,
  local: SocketAddress,
  remote: SocketAddress,
  bytes: Uint8Array,
): "sent" | "too-big" {
  const packet = encodeUdp(local, remote, bytes);
  const packets = packet.ok ? [packet.value] : cutUdp(local, remote, bytes, state.nextIdentification++);
  state.packets.push(...packets);
  return packets.length === 0 ? "too-big" : "sent";
}

/** The identifier stands for the whole echo: there is one request of each. */
function ping(state: StackState, remote: IpAddress): number | undefined {
  const source = ownAddress(state, remote.length === 4 ? 4 : 6);
  if (source === undefined || state.pings.size >= IDENTIFIERS / 2) return undefined;
  let identifier = randomBelow(state.random, IDENTIFIERS);
  while (state.pings.has(identifier)) identifier = (identifier + 1) % IDENTIFIERS;
  const request = encodeEchoRequest({
    source,
    destination: remote,
    identifier,
    sequence: 1,
    body: ECHO_BODY,
  });
  if (!request.ok) return undefined;
  state.pings.set(identifier, remote);
  state.packets.push(request.value);
  return identifier;
}
