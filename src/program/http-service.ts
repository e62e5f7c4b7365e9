/**
 * A small HTTP server for metrics and health (PG-85, PG-114): it answers GET with a text, and nothing that
 * is sent to it costs more than a bounded piece of memory and ten seconds.
 */
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from "node:http";
import {
  fenced,
  formatIp,
  formatSocketAddress,
  type Log,
  PosternError,
  parseSocketAddress,
  type SocketAddress,
} from "../base/index.ts";

const REQUEST_BYTES_MAX = 4 * 1024;
const REQUEST_WITHIN_MS = 10_000;
const LOOK_EVERY_MS = 1_000;
const CONNECTIONS_MAX = 64;

export interface Document {
  /** Default 200. */
  readonly status?: number;
  readonly type?: string;
  readonly body: string;
}

/** By path. The function makes the document at the time of asking. */
export type Routes = Readonly<Record<string, (headers: IncomingMessage["headers"]) => Document>>;

export interface HttpService {
  readonly address: SocketAddress;
  close(): void;
}

/**
 * `ADDR:PORT`, `[V6]:PORT`, or a port alone, which means loopback.
 * @throws PosternError `usage` (exit 2)
 */
export function parseServiceAddress(option: string, text: string): SocketAddress {
  const address = parseSocketAddress(/^\d{1,5}$/.test(text) ? `127.0.0.1:${text}` : text);
  if (address.ok) return address.value;
  throw new PosternError(
    "usage",
    `${option} ${text} is not ADDR:PORT`,
    "for example 127.0.0.1:9100, [::1]:9100, or a port alone for loopback",
  );
}

/** @throws PosternError `socket-…` (exit 8) when the address cannot be had */
export async function openHttpService(
  option: string,
  address: SocketAddress,
  routes: Routes,
  log: Log,
): Promise<HttpService> {
  const server = createServer(
    {
      maxHeaderSize: REQUEST_BYTES_MAX,
      headersTimeout: REQUEST_WITHIN_MS,
      requestTimeout: REQUEST_WITHIN_MS,
      connectionsCheckingInterval: LOOK_EVERY_MS,
      keepAlive: false,
    },
    (request, response) => serve(routes, request, response, log),
  );
  server.maxConnections = CONNECTIONS_MAX;
  server.on("clientError", (_error, socket) => socket.destroy());
  await listen(server, option, address);
  const bound = server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : address.port;
  const own = { address: address.address, port };
  log.info?.("serving HTTP", { address: formatSocketAddress(own), paths: Object.keys(routes) });
  return {
    address: own,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

export function isLoopback({ address }: SocketAddress): boolean {
  if (address.length === 4) return address[0] === 127;
  return address.every((byte, i) => byte === (i === 15 ? 1 : 0));
}

function serve(routes: Routes, request: IncomingMessage, response: ServerResponse, log: Log): void {
  const made = fenced(() => answer(routes, request));
  if (!made.ok) {
    log.error?.("answering a request failed", { error: made.error });
    request.destroy();
    return;
  }
  const { status = 200, type = "text/plain", body } = made.value;
  response.writeHead(status, {
    "content-type": type,
    "content-length": Buffer.byteLength(body),
    connection: "close",
    ...(status === 405 ? { allow: "GET, HEAD" } : {}),
  });
  response.end(request.method === "HEAD" ? undefined : body);
}

function answer(routes: Routes, { url = "", method, headers }: IncomingMessage): Document {
  const path = url.split("?")[0] ?? "";
  const make = Object.hasOwn(routes, path) ? routes[path] : undefined;
  if (make === undefined) return plainDocument(404);
  return method === "GET" || method === "HEAD" ? make(headers) : plainDocument(405);
}

/** A document that says no more than its status. */
export function plainDocument(status: number): Document {
  return { status, body: `${STATUS_CODES[status]}\n` };
}

async function listen(server: Server, option: string, { address, port }: SocketAddress): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host: formatIp(address), port }, resolve);
    });
  } catch (cause) {
    const what = `cannot listen on ${formatSocketAddress({ address, port })}`;
    throw new PosternError("socket-listen", what, `choose another address with ${option}`, { cause });
  }
  server.removeAllListeners("error");
}
