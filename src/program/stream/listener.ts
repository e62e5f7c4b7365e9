/** The relay's TCP and TLS listeners: every connection becomes a client of the relay (RL-200 to RL-206). */
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { type SecureContext, TLSSocket } from "node:tls";
import { bindTcp, type Kernel } from "../../../bindings/linux/index.ts";
import {
  formatIp,
  formatSocketAddress,
  type Instant,
  type Log,
  PosternError,
  parseIp,
  type SocketAddress,
} from "../../base/index.ts";
import { STREAM_CLIENTS } from "../../relay/index.ts";
import { createTlsContext, type TlsPair } from "../tls-files.ts";
import { type Bridge, type BridgeStats, openBridge } from "./bridge.ts";

/** From the connection to the first complete request, and between two bytes of the client (RL-203). */
const FIRST_REQUEST_MS = 10_000;
const SILENCE_MS = 60_000;
const SILENCE_CHECK_MS = 1_000;
const PER_SOURCE_MAX = 32;
/** Of the address bits that count as one source: an IPv6 network of a household is /64. */
const SOURCE_BYTES_V6 = 8;
/** Each connection has an address of its own, so that limits per address hold (RL-206). */
const BRIDGES = 2 ** (32 - STREAM_CLIENTS.bits);
/** ALPN of TURN over TLS (RFC 7443), and that of the web server whose port this may seem to be. */
const ALPN = ["stun.turn", "http/1.1"];
const HTTP_VERBS = ["GET ", "HEAD", "POST", "OPTI", "PUT "];
const NOT_FOUND = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

export type StreamCertificate = TlsPair;

export interface StreamListenerOptions {
  readonly listen: SocketAddress;
  /** Bounds what the kernel holds of each connection (RL-204); absent: the runtime's sockets, without that bound. */
  readonly kernel?: Kernel;
  /** Absent: TCP without TLS. */
  readonly certificate?: StreamCertificate;
  /** The relay's own UDP socket, as the loopback reaches it. */
  readonly relay: SocketAddress;
  /** Connections in all. */
  readonly maxConnections: number;
  /** A connection that had become a client of the relay is over. */
  readonly onGone?: (client: SocketAddress) => void;
  readonly now: () => Instant;
  readonly log: Log;
}

export interface StreamCounters {
  accepted: number;
  /** Beyond a limit (`relay_stream_limit`). */
  refused: number;
  /** What came was no TURN (`relay_stream_framing`). */
  framing: number;
  visitors: number;
  /** Channel data that came too late for its stream (`relay_stream_late`). */
  late: number;
}

export interface StreamListener {
  readonly address: AddressInfo;
  counters(): Readonly<StreamCounters>;
  connections(): number;
  /** New connections use it. @throws PosternError `usage` when key and certificate do not fit */
  setCertificate(certificate: StreamCertificate): void;
  close(): void;
}

interface Connection {
  readonly source: string;
  readonly since: Instant;
  readonly socket: Socket;
  bridge: Bridge | undefined;
}

interface State {
  readonly options: StreamListenerOptions;
  readonly connections: Set<Connection>;
  readonly sources: Map<string, number>;
  readonly counters: StreamCounters;
  /** Of new connections; absent: without TLS. */
  context: SecureContext | undefined;
  nextBridge: number;
}

/** @throws PosternError `address-in-use` or `host`; `usage` for an unfit certificate */
export async function openStreamListener(options: StreamListenerOptions): Promise<StreamListener> {
  const { certificate } = options;
  const state: State = {
    options,
    connections: new Set(),
    sources: new Map(),
    counters: { accepted: 0, refused: 0, framing: 0, visitors: 0, late: 0 },
    context: certificate && contextOf(certificate),
    nextBridge: 0,
  };
  const server = createServer((socket) => admit(state, socket));
  await listen(server, options);
  const timer = setInterval(() => endSilent(state), SILENCE_CHECK_MS);
  return {
    address: server.address() as AddressInfo,
    counters: () => countersOf(state),
    connections: () => state.connections.size,
    setCertificate(next) {
      state.context = contextOf(next);
    },
    close() {
      clearInterval(timer);
      server.close();
      for (const connection of [...state.connections]) drop(state, connection);
    },
  };
}

function countersOf({ counters, connections }: State): StreamCounters {
  const lateNow = [...connections].reduce((sum, { bridge }) => sum + (bridge?.stats().late ?? 0), 0);
  return { ...counters, late: counters.late + lateNow };
}

function contextOf(certificate: StreamCertificate): SecureContext {
  try {
    return createTlsContext(certificate);
  } catch (cause) {
    const hint = "--tls-cert and --tls-key name PEM files that belong together";
    throw new PosternError("usage", "certificate and key of the relay do not fit", hint, { cause });
  }
}

async function listen(server: Server, { listen: at, kernel }: StreamListenerOptions): Promise<void> {
  if (kernel === undefined) server.listen(at.port, formatIp(at.address));
  else server.listen({ fd: bindTcp(kernel, at) });
  try {
    await once(server, "listening");
  } catch (cause) {
    const isTaken = cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE";
    const code = isTaken ? "address-in-use" : "host";
    const what = `cannot listen on ${formatSocketAddress(at)}`;
    throw new PosternError(code, what, "choose another --tls-listen", { cause });
  }
}

/** Limits are judged before TLS: a handshake is the dearest part of a connection. */
function admit(state: State, socket: Socket): void {
  const { counters, options, context } = state;
  const source = sourceOf(socket.remoteAddress ?? "");
  const count = state.sources.get(source) ?? 0;
  if (state.connections.size >= options.maxConnections || count >= PER_SOURCE_MAX) {
    counters.refused++;
    socket.destroy();
    return;
  }
  counters.accepted++;
  state.sources.set(source, count + 1);
  const connection: Connection = { source, since: options.now(), socket, bridge: undefined };
  state.connections.add(connection);
  socket.on("error", () => {}).on("close", () => drop(state, connection));
  const tls = { isServer: true, requestCert: false, ALPNProtocols: ALPN };
  serve(
    state,
    connection,
    context === undefined ? socket : new TLSSocket(socket, { ...tls, secureContext: context }),
  );
}

/** Looks at the first bytes: a browser is sent away with an answer, anything else is TURN. */
function serve(state: State, connection: Connection, stream: Socket): void {
  stream.setNoDelay(true);
  stream.on("error", (error) => {
    state.options.log.debug?.("a stream of the relay failed", { error });
    drop(state, connection);
  });
  stream.once("readable", () => {
    const first: Buffer | null = stream.read();
    if (first === null) return;
    if (HTTP_VERBS.includes(first.subarray(0, 4).toString("latin1"))) {
      state.counters.visitors++;
      stream.end(NOT_FOUND);
      return;
    }
    stream.unshift(first);
    join(state, connection, stream).catch((error: unknown) => {
      state.options.log.warn?.("no socket for a client of the relay", { error });
      drop(state, connection);
    });
  });
}

async function join(state: State, connection: Connection, stream: Socket): Promise<void> {
  const { relay, now } = state.options;
  const bridge = await openBridge({
    stream,
    address: nextAddress(state),
    peer: () => relay,
    now,
    onEnd(reason) {
      if (reason === "framing") state.counters.framing++;
      drop(state, connection);
    },
  });
  if (state.connections.has(connection)) connection.bridge = bridge;
  else bridge.close();
}

function nextAddress(state: State): string {
  const first = new DataView(STREAM_CLIENTS.address.buffer).getUint32(STREAM_CLIENTS.address.byteOffset);
  // Neither the first nor the last, which is a broadcast address.
  const value = first + 1 + (state.nextBridge++ % (BRIDGES - 2));
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".");
}

function drop(state: State, connection: Connection): void {
  if (!state.connections.delete(connection)) return;
  const count = (state.sources.get(connection.source) ?? 1) - 1;
  if (count === 0) state.sources.delete(connection.source);
  else state.sources.set(connection.source, count);
  state.counters.late += connection.bridge?.stats().late ?? 0;
  connection.bridge?.close();
  connection.socket.destroy();
  if (connection.bridge !== undefined) state.options.onGone?.(connection.bridge.udp);
}

function endSilent(state: State): void {
  const now = state.options.now();
  for (const connection of [...state.connections]) {
    const { bridge, since } = connection;
    const hasSpoken = bridge?.hasSpoken() ?? false;
    const isSilent = hasSpoken && bridge !== undefined && now - bridge.lastHeard() > SILENCE_MS;
    if (isSilent || (!hasSpoken && now - since > FIRST_REQUEST_MS)) drop(state, connection);
  }
}

function sourceOf(address: string): string {
  const parsed = parseIp(address.replace(/^::ffff:(?=[\d.]+$)/, ""));
  if (!parsed.ok) return address;
  const bytes = parsed.value;
  return bytes.subarray(0, bytes.length === 4 ? 4 : SOURCE_BYTES_V6).join(".");
}

export type { BridgeStats };
