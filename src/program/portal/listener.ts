/**
 * HTTP and WebSocket around the portal's machine (PT-7, PT-72, PT-117).
 *
 *     connection ─▶ share of its address ─▶ turnstile ─▶ one head ─▶ health, or upgrade ─▶ the machine's verdict
 *                                                                                          └▶ intake ─▶ frames
 */
import { createServer as createHttpServer, type Server as HttpServer, type IncomingMessage } from "node:http";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type Server as TlsServer } from "node:tls";
import { type WebSocket, WebSocketServer } from "ws";
import {
  fenced,
  formatSocketAddress,
  type IpAddress,
  PosternError,
  type Prefix,
  type Random,
  type SocketAddress,
} from "../../base/index.ts";
import { MAX_PORTAL_FRAME_BYTES, type Topic } from "../../portal/protocol/index.ts";
import {
  isTrusted,
  networkOf,
  type ServerTransmit,
  type UpgradeRequest,
  type UpgradeVerdict,
} from "../../portal/server/index.ts";
import { openFilesLimit } from "../open-files.ts";
import { readTlsFiles, type TlsPaths } from "../tls-files.ts";
import { type ConnectionShares, createConnectionShares, type ShareLimits } from "./connection-shares.ts";
import { type Drain, drain } from "./drain.ts";
import { addressOf, answer, type PortalDocuments, refuse, toUpgradeRequest } from "./http-answer.ts";
import { createIntake, type Intake } from "./intake.ts";
import { type Carrier, MAX_HEADER_BYTES, readOneRequest } from "./one-request.ts";
import { monotonicNow } from "./program-clock.ts";

import { createTurnstile, type Turnstile } from "./turnstile.ts";
import { createUnsent, type Unsent } from "./unsent.ts";

/** What the listener hands to the machine. Sockets are named by the numbers that `upgrade` gave. */
export interface ListenerEvents {
  readonly upgrade: (request: UpgradeRequest) => UpgradeVerdict;
  /** Whether this address may ask once more now (PT-72). */
  readonly request: (remote: IpAddress) => boolean;
  readonly text: (socket: number, text: string) => void;
  readonly binary: (socket: number) => void;
  readonly pong: (socket: number) => void;
  readonly close: (socket: number) => void;
  /** Reading a request failed by a defect of ours; the request is over, nothing else is (PG-18). */
  readonly inputError: (error: unknown) => void;
}

export interface Listener {
  readonly address: SocketAddress;
  send(transmit: ServerTransmit): void;
  /** What requests get besides health; before, nothing. */
  serve(documents: PortalDocuments): void;
  /** Reads the certificate anew, if there is one. @throws PosternError, and then the old one stays */
  reloadTls(): boolean;
  /** No new sockets; those there are closed one by one (PT-190). Resolves when none is left, or in time. */
  drain(withinMs: number, random: Random): Promise<void>;
  /** No new sockets; those there are closed, at last by force. */
  close(): Promise<void>;
}

export interface ListenerOptions {
  readonly address: SocketAddress;
  readonly tls: TlsPaths | undefined;
  /** Proxies whose `X-Forwarded-For` counts (PT-73). */
  readonly trustedProxies: readonly Prefix[];
}

/** From the first byte of a connection to the end of its request (PT-72). */
const REQUEST_TIMEOUT_MS = 10_000;
/** How often unsent data and unfinished requests are looked at. */
const CHECK_MS = 1_000;
const MAX_CONNECTIONS = 20_000;
const MAX_UNKNOWN = 4_096;
const MAX_UNKNOWN_PER_NETWORK = 256;
/** Descriptors kept free for state, configuration and certificates (PT-72). */
const RESERVED_FILES = 64;
const CLOSE_GOING_AWAY = 1012;
const CLOSE_TRY_LATER = 1013;
const CLOSE_WITHIN_MS = 1_000;

/** Everything the listener holds. */
interface Hall {
  readonly events: ListenerEvents;
  readonly trustedProxies: readonly Prefix[];
  readonly http: HttpServer;
  readonly webSockets: WebSocketServer;
  /** By the peer's address and port, which TLS does not change. */
  readonly connections: Map<string, Socket>;
  readonly shares: ConnectionShares<Socket>;
  readonly turnstile: Turnstile<Socket>;
  /** Calls for the next turn of the turnstile: when others had theirs, or later. */
  soon: NodeJS.Immediate | undefined;
  later: NodeJS.Timeout | undefined;
  /** Reads a connection whose turn it is. */
  begin: (connection: Socket) => void;
  /** Since when a connection has owed its request; oldest first. */
  readonly owing: Map<Socket, number>;
  readonly carriers: WeakMap<object, Carrier>;
  readonly sockets: Map<number, WebSocket>;
  readonly intake: Intake;
  readonly unsent: Unsent<WebSocket>;
  documents: PortalDocuments;
  isClosing: boolean;
  draining: Drain | undefined;
}

/** @throws PosternError `socket-…` when the address cannot be had, `config-…` for unusable TLS files */
export async function openListener(options: ListenerOptions, events: ListenerEvents): Promise<Listener> {
  const hall = createHall(options, events);
  const { tls } = options;
  const tlsServer = tls === undefined ? undefined : createTls(hall, tls);
  // The TLS server never listens: it is given one connection after the other.
  if (tlsServer !== undefined) hall.begin = (connection) => tlsServer.emit("connection", connection);
  const server = createServer({ noDelay: true, pauseOnConnect: true }, (connection) =>
    welcome(hall, connection),
  );
  await listen(server, options.address);
  const checks = setInterval(() => check(hall), CHECK_MS);
  return {
    address: boundAddress(server),
    send: (transmit) => send(hall, transmit),
    serve(documents) {
      hall.documents = documents;
    },
    reloadTls() {
      if (tls === undefined || tlsServer === undefined) return false;
      tlsServer.setSecureContext(readTlsFiles(tls));
      return true;
    },
    async drain(withinMs, random) {
      hall.isClosing = true;
      const peers = [...hall.sockets.values()].map((socket) => ({
        close: () => socket.close(CLOSE_GOING_AWAY, "going away"),
      }));
      hall.draining = drain(peers, withinMs, random);
      await hall.draining.over;
    },
    async close() {
      clearInterval(checks);
      await closeHall(hall, server);
    },
  };
}

export function shareLimits(filesLimit: number): ShareLimits {
  const total = Math.max(1, Math.min(MAX_CONNECTIONS, filesLimit - RESERVED_FILES));
  const unknown = Math.max(1, Math.min(MAX_UNKNOWN, Math.floor(total / 2)));
  return { total, unknown, perNetwork: Math.min(MAX_UNKNOWN_PER_NETWORK, unknown) };
}

function createHall({ trustedProxies }: ListenerOptions, events: ListenerEvents): Hall {
  const hall: Hall = {
    events,
    trustedProxies,
    // It never listens: it is given one request after the other.
    http: createHttpServer({ maxHeaderSize: MAX_HEADER_BYTES }),
    webSockets: new WebSocketServer({
      noServer: true,
      clientTracking: false,
      maxPayload: MAX_PORTAL_FRAME_BYTES,
      perMessageDeflate: false,
      // One frame per socket and turn of the loop (PT-72).
      allowSynchronousEvents: false,
    }),
    connections: new Map(),
    shares: createConnectionShares(shareLimits(openFilesLimit())),
    turnstile: createTurnstile(),
    soon: undefined,
    later: undefined,
    begin: (connection) => receive(hall, connection),
    owing: new Map(),
    carriers: new WeakMap(),
    sockets: new Map(),
    intake: createIntake((id, frame) => {
      if (frame.kind === "text") events.text(id, frame.text);
      else events.binary(id);
    }),
    unsent: createUnsent(),
    documents: () => undefined,
    isClosing: false,
    draining: undefined,
  };
  hall.http.on("request", (request: IncomingMessage, response) => {
    const answered = fenced(() => {
      const remote = remoteOf(hall, request);
      const mayAsk = remote !== undefined && events.request(remote);
      const readiness = hall.isClosing ? "closing" : "serving";
      answer(request, response, mayAsk ? readiness : "too-often", hall.documents);
    });
    if (answered.ok) return;
    request.destroy();
    events.inputError(answered.error);
  });
  hall.http.on("upgrade", (request: IncomingMessage) => upgrade(hall, request));
  hall.http.on("clientError", (_error, stream) => stream.destroy());
  return hall;
}

function createTls(hall: Hall, tls: TlsPaths): TlsServer {
  const options = { minVersion: "TLSv1.2", handshakeTimeout: REQUEST_TIMEOUT_MS } as const;
  const server = createTlsServer({ ...options, ...readTlsFiles(tls) }, (connection) => {
    connection.setNoDelay(true);
    receive(hall, connection);
  });
  // Whoever fails the handshake has closed its connection; nobody else is concerned.
  server.on("tlsClientError", (_error, connection) => connection.destroy());
  return server;
}

/** A new TCP connection takes a place, and waits to be read (PT-72). */
function welcome(hall: Hall, connection: Socket): void {
  const { connections, shares, turnstile, owing } = hall;
  const peer = peerOf(connection);
  connections.set(peer, connection);
  owing.set(connection, performance.now());
  connection.on("error", () => undefined);
  connection.once("close", () => {
    connections.delete(peer);
    owing.delete(connection);
    shares.close(connection);
    turnstile.leave(connection);
  });
  const remote = addressOf(connection.remoteAddress);
  // A proxy brings everybody's connections; its own address says nothing.
  const network = remote === undefined ? "" : networkOf(remote);
  const isProxy = remote !== undefined && isTrusted(hall.trustedProxies, remote);
  const share = isProxy ? `proxy ${connection.remotePort}` : network;
  shares.open(connection, share)?.destroy();
  turnstile.arrive(monotonicNow(), connection, share);
  callForTurn(hall);
}

/** Between two turns the loop serves everybody who is in. */
function callForTurn(hall: Hall): void {
  const at = hall.turnstile.pollTimeout();
  if (at === undefined) return;
  const waitMs = at - monotonicNow();
  if (waitMs <= 0) {
    hall.soon ??= setImmediate(() => {
      hall.soon = undefined;
      letIn(hall);
    });
    return;
  }
  hall.later ??= setTimeout(() => {
    hall.later = undefined;
    letIn(hall);
  }, waitMs);
}

function letIn(hall: Hall): void {
  for (const connection of hall.turnstile.handleTimeout(monotonicNow())) {
    if (!connection.destroyed) hall.begin(connection);
  }
  callForTurn(hall);
}

function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress}|${remotePort}`;
}

function receive(hall: Hall, connection: Socket): void {
  connection.on("error", () => undefined);
  readOneRequest(connection, (carrier) => {
    hall.carriers.set(carrier.stream, carrier);
    hall.http.emit("connection", carrier.stream);
  });
}

function remoteOf(hall: Hall, request: IncomingMessage): IpAddress | undefined {
  const carrier = hall.carriers.get(request.socket);
  return toUpgradeRequest(request, carrier?.connection.remoteAddress, hall.trustedProxies)?.remote;
}

function upgrade(hall: Hall, request: IncomingMessage): void {
  const { carriers, events, trustedProxies } = hall;
  const carrier = carriers.get(request.socket);
  if (carrier === undefined) return;
  const { connection, rest } = carrier;
  carrier.release();
  const read = fenced(() => toUpgradeRequest(request, connection.remoteAddress, trustedProxies));
  if (!read.ok) {
    connection.destroy();
    events.inputError(read.error);
    return;
  }
  const wanted = read.value;
  if (hall.isClosing || wanted === undefined) {
    const draining = { status: 503, code: "draining", retryAfterS: 1 } as const;
    refuse(connection, hall.isClosing ? draining : { status: 400 });
    return;
  }
  const verdict = events.upgrade(wanted);
  if (!verdict.ok) {
    refuse(connection, verdict.refusal);
    return;
  }
  const { socket: id, kind } = verdict;
  // A broken WebSocket handshake ends the connection without ever becoming a socket.
  connection.once("close", () => {
    if (!hall.sockets.has(id)) events.close(id);
  });
  const below = hall.connections.get(peerOf(connection)) ?? connection;
  hall.owing.delete(below);
  hall.shares.admit(below);
  hall.webSockets.handleUpgrade(request, connection, rest, (opened) => adopt(hall, id, kind, opened));
  connection.resume();
}

function adopt(hall: Hall, id: number, kind: Topic, socket: WebSocket): void {
  const { sockets, intake, unsent, events } = hall;
  sockets.set(id, socket);
  intake.open(id, kind, socket);
  // Before the first byte is read: an oversized frame ends the process otherwise (PT-7).
  socket.on("error", () => undefined);
  socket.on("message", (data, isBinary) => {
    intake.take(id, isBinary ? { kind: "binary" } : { kind: "text", text: data.toString() });
  });
  socket.on("pong", () => events.pong(id));
  socket.on("close", () => {
    sockets.delete(id);
    intake.close(id);
    unsent.remove(socket);
    events.close(id);
    hall.draining?.left(sockets.size === 0);
  });
}

function send(hall: Hall, transmit: ServerTransmit): void {
  const socket = hall.sockets.get(transmit.socket);
  if (socket === undefined) return;
  switch (transmit.kind) {
    case "text":
      sendText(hall, socket, transmit.text);
      return;
    case "ping":
      socket.ping();
      return;
    case "close":
      socket.close(transmit.code, transmit.reason);
      return;
    default:
      transmit satisfies never;
  }
}

function sendText({ unsent }: Hall, socket: WebSocket, text: string): void {
  if (socket.readyState !== socket.OPEN) return;
  if (!unsent.mayAdd(socket)) {
    closeSlow(socket);
    return;
  }
  const bytes = Buffer.byteLength(text);
  socket.send(text, () => unsent.left(bytes));
  for (const greedy of unsent.added(socket, bytes)) closeSlow(greedy);
}

/** The close frame waits behind what is not read; the memory is wanted now. */
function closeSlow(socket: WebSocket): void {
  socket.close(CLOSE_TRY_LATER, "too slow");
  socket.terminate();
}

function check(hall: Hall): void {
  const nowMs = performance.now();
  for (const socket of hall.unsent.check(nowMs)) closeSlow(socket);
  for (const [connection, sinceMs] of hall.owing) {
    if (nowMs - sinceMs < REQUEST_TIMEOUT_MS) return;
    connection.destroy();
  }
}

async function closeHall(hall: Hall, server: Server): Promise<void> {
  hall.isClosing = true;
  for (const socket of hall.sockets.values()) socket.close(CLOSE_GOING_AWAY, "going away");
  clearImmediate(hall.soon);
  clearTimeout(hall.later);
  for (const connection of hall.owing.keys()) connection.destroy();
  const force = setTimeout(() => {
    for (const connection of hall.connections.values()) connection.destroy();
  }, CLOSE_WITHIN_MS);
  await new Promise<void>((resolve) => server.close(() => resolve()));
  clearTimeout(force);
}

async function listen(server: Server, address: SocketAddress): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host: hostOf(address), port: address.port }, resolve);
    });
  } catch (cause) {
    const what = `cannot listen on ${formatSocketAddress(address)}`;
    const isTaken = (cause as NodeJS.ErrnoException).code === "EADDRINUSE";
    const hint = isTaken
      ? "another program has the port; choose one with --listen"
      : "choose another with --listen";
    throw new PosternError(isTaken ? "socket-taken" : "socket-listen", what, hint, { cause });
  }
  server.removeAllListeners("error");
}

function boundAddress(server: Server): SocketAddress {
  const { address, port } = server.address() as AddressInfo;
  return { address: addressOf(address) ?? new Uint8Array(4), port };
}

function hostOf(address: SocketAddress): string {
  return formatSocketAddress({ ...address, port: 0 })
    .replace(/:0$/, "")
    .replace(/^\[|\]$/g, "");
}
