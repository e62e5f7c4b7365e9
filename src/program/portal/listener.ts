/**
 * HTTP and WebSocket around the portal's machine (PT-7, PT-117).
 */
import { readFileSync } from "node:fs";
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import {
  fenced,
  formatSocketAddress,
  type IpAddress,
  PosternError,
  parseIp,
  type SocketAddress,
} from "../../base/index.ts";
import { MAX_PORTAL_FRAME_BYTES } from "../../portal/protocol/index.ts";
import type { Refusal, ServerTransmit, UpgradeRequest, UpgradeVerdict } from "../../portal/server/index.ts";

/** What the listener hands to the machine. Sockets are named by the numbers that `upgrade` gave. */
export interface ListenerEvents {
  readonly upgrade: (request: UpgradeRequest) => UpgradeVerdict;
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
  /** No new sockets; those there are closed, at last by force. */
  close(): Promise<void>;
}

export interface ListenerOptions {
  readonly address: SocketAddress;
  readonly tls: { readonly certPath: string; readonly keyPath: string } | undefined;
}

/** From the first byte of a connection to the end of its request (PT-72). */
const REQUEST_TIMEOUT_MS = 10_000;
const REQUEST_CHECK_MS = 5_000;
const MAX_HEADER_BYTES = 16 * 1024;
const MAX_CONNECTIONS = 20_000;
/** More unsent than this and the peer is too slow; its next `init` is complete anyway (PT-132). */
const MAX_UNSENT_BYTES = 16 * 1024 * 1024;
const CLOSE_GOING_AWAY = 1012;
const CLOSE_TRY_LATER = 1013;
const CLOSE_WITHIN_MS = 1_000;

/** @throws PosternError `socket-…` when the address cannot be had, `config-…` for unusable TLS files */
export async function openListener(options: ListenerOptions, events: ListenerEvents): Promise<Listener> {
  const sockets = new Map<number, WebSocket>();
  let isClosing = false;
  const wss = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: MAX_PORTAL_FRAME_BYTES,
    perMessageDeflate: false,
  });
  const server = createHttp(options, (request, response) => {
    const answered = fenced(() => answer(request, response, isClosing));
    if (answered.ok) return;
    request.destroy();
    events.inputError(answered.error);
  });
  server.maxConnections = MAX_CONNECTIONS;
  const connections = new Set<Socket>();
  server.on("connection", (connection: Socket) => {
    connections.add(connection);
    connection.once("close", () => connections.delete(connection));
  });

  function adopt(id: number, socket: WebSocket): void {
    sockets.set(id, socket);
    // Before the first byte is read: an oversized frame ends the process otherwise (PT-7).
    socket.on("error", () => undefined);
    socket.on("message", (data, isBinary) => {
      if (isBinary) events.binary(id);
      else events.text(id, data.toString());
    });
    socket.on("pong", () => events.pong(id));
    socket.on("close", () => {
      sockets.delete(id);
      events.close(id);
    });
  }

  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on("error", () => undefined);
    const read = fenced(() => toUpgradeRequest(request));
    if (!read.ok) {
      socket.destroy();
      events.inputError(read.error);
      return;
    }
    const upgrade = read.value;
    if (isClosing || upgrade === undefined) {
      refuse(socket, isClosing ? { status: 503, code: "draining", retryAfterS: 1 } : { status: 400 });
      return;
    }
    const verdict = events.upgrade(upgrade);
    if (!verdict.ok) {
      refuse(socket, verdict.refusal);
      return;
    }
    const { socket: id } = verdict;
    // A broken WebSocket handshake ends the connection without ever becoming a socket.
    socket.once("close", () => {
      if (!sockets.has(id)) events.close(id);
    });
    wss.handleUpgrade(request, socket, head, (opened) => adopt(id, opened));
  });

  await listen(server, options.address);
  return {
    address: boundAddress(server),
    send(transmit) {
      const socket = sockets.get(transmit.socket);
      if (socket === undefined) return;
      switch (transmit.kind) {
        case "text":
          socket.send(transmit.text);
          if (socket.bufferedAmount > MAX_UNSENT_BYTES) socket.close(CLOSE_TRY_LATER, "too slow");
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
    },
    async close() {
      isClosing = true;
      for (const socket of sockets.values()) socket.close(CLOSE_GOING_AWAY, "going away");
      const force = setTimeout(() => {
        for (const connection of connections) connection.destroy();
      }, CLOSE_WITHIN_MS);
      server.closeIdleConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      clearTimeout(force);
    },
  };
}

function createHttp(
  { tls }: ListenerOptions,
  onRequest: (request: IncomingMessage, response: ServerResponse) => void,
): Server {
  const limits = {
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: REQUEST_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionsCheckingInterval: REQUEST_CHECK_MS,
    noDelay: true,
  };
  if (tls === undefined) return createServer(limits, onRequest);
  try {
    const files = { cert: readFileSync(tls.certPath), key: readFileSync(tls.keyPath) };
    return createTlsServer(
      { ...limits, ...files, minVersion: "TLSv1.2", handshakeTimeout: REQUEST_TIMEOUT_MS },
      onRequest,
    );
  } catch (cause) {
    const what = `cannot use the certificate ${tls.certPath} with the key ${tls.keyPath}`;
    throw new PosternError(
      "config-unreadable",
      what,
      "both must be readable PEM files that belong together",
      {
        cause,
      },
    );
  }
}

async function listen(server: Server, address: SocketAddress): Promise<void> {
  const { promise, resolve, reject } = withResolvers();
  server.once("error", reject);
  server.listen({ host: hostOf(address), port: address.port }, resolve);
  try {
    await promise;
  } catch (cause) {
    const what = `cannot listen on ${formatSocketAddress(address)}`;
    const isTaken = (cause as NodeJS.ErrnoException).code === "EADDRINUSE";
    const hint = isTaken
      ? "another program has the port; choose one with --listen"
      : "choose another with --listen";
    throw new PosternError(isTaken ? "socket-taken" : "socket-listen", what, hint, { cause });
  }
  server.removeListener("error", reject);
}

function answer(request: IncomingMessage, response: ServerResponse, isClosing: boolean): void {
  const path = request.url?.split("?")[0];
  const isHealth = path === "/healthz" || path === "/readyz";
  const status = !isHealth ? 404 : path === "/readyz" && isClosing ? 503 : 200;
  response.writeHead(status, { "content-type": "text/plain" });
  response.end(request.method === "HEAD" ? undefined : `${STATUS_CODES[status] ?? status}\n`);
}

function toUpgradeRequest(request: IncomingMessage): UpgradeRequest | undefined {
  const remote = addressOf(request.socket.remoteAddress);
  const target = request.url ?? "";
  if (remote === undefined || !target.startsWith("/")) return undefined;
  const [path = "", query = ""] = target.split("?", 2);
  const headers: Record<string, string | undefined> = {};
  for (const name of ["host", "origin", "user-agent", "x-authorization"]) {
    const value = request.headers[name];
    if (typeof value === "string") headers[name] = value;
  }
  return { path, query: new URLSearchParams(query), headers, remote };
}

/** A refusal as RFC 9457 wants it (PT-70). */
function refuse(socket: Duplex, { status, code, detail, retryAfterS }: Refusal): void {
  const title = STATUS_CODES[status] ?? "Refused";
  const body = code === undefined ? "" : JSON.stringify({ type: "about:blank", title, status, code, detail });
  const headers = [
    `HTTP/1.1 ${status} ${title}`,
    "Connection: close",
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...(body === "" ? [] : ["Content-Type: application/problem+json"]),
    ...(retryAfterS === undefined ? [] : [`Retry-After: ${retryAfterS}`]),
  ];
  // The peer may leave its half open for ever; ours is done.
  socket.once("finish", () => socket.destroy());
  socket.end(`${headers.join("\r\n")}\r\n\r\n${body}`);
}

/** An IPv4 peer on a socket of both families comes as `::ffff:192.0.2.1`. */
function addressOf(text: string | undefined): IpAddress | undefined {
  const address = parseIp((text ?? "").replace(/^::ffff:(?=\d+\.)/i, "").replace(/%.*$/, ""));
  return address.ok ? address.value : undefined;
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

function withResolvers(): { promise: Promise<void>; resolve: () => void; reject: (error: unknown) => void } {
  let resolve: () => void = () => undefined;
  let reject: (error: unknown) => void = () => undefined;
  const promise = new Promise<void>((onDone, onError) => {
    resolve = onDone;
    reject = onError;
  });
  return { promise, resolve, reject };
}
