/**
 * DNS over HTTPS (RFC 8484): one connection per server, shared by its queries, past the tunnel (DN-71 to DN-75).
 * HTTP/2, or HTTP/1.1 with servers that do not speak it.
 */
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { request as requestHttps } from "node:https";
import type { Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { type IpAddress, type Log, parseIp } from "../../base/index.ts";
import type { DirectResult } from "../../dns/index.ts";
import type { OpenTcp } from "../portal-transport.ts";

export interface DohOptions {
  readonly openTcp: OpenTcp;
  /** By the host's own servers, never by a sentinel (DN-75). */
  readonly resolve: (host: string) => Promise<readonly IpAddress[]>;
  readonly roots: readonly string[];
  readonly log: Log;
}

export interface DohClient {
  /** Opens the connections that will be needed, and ends all others. */
  want(urls: readonly string[]): void;
  ask(url: string, message: Uint8Array, signal: AbortSignal): Promise<DirectResult>;
  /** The network is another one: all connections go, and come anew (DN-82). */
  reset(): void;
  close(): void;
}

const HTTPS_PORT = 443;
const OPEN_MS_MAX = 2_000;
const CONNECT_MS_MAX = 2_000;
/** How much later than the one before an address is tried. */
const NEXT_ADDRESS_MS = 250;
const WAITING_MAX = 100;
const PING_MS = 5_000;
const PING_ANSWER_MS = 1_000;
/** Pings prove a connection that is in use. */
const IN_USE_MS = 30_000;
const IDLE_MS = 60_000;
const BODY_BYTES_MAX = 65_535;
const MEDIA_TYPE = "application/dns-message";

interface Server {
  readonly url: URL;
  session: Promise<ClientHttp2Session | "http/1.1"> | undefined;
  waiting: number;
  usedAt: number;
}

export function createDohClient(options: DohOptions): DohClient {
  const servers = new Map<string, Server>();

  function serverOf(url: string): Server {
    const known = servers.get(url);
    if (known !== undefined) return known;
    const server: Server = { url: new URL(url), session: undefined, waiting: 0, usedAt: performance.now() };
    servers.set(url, server);
    return server;
  }

  function end(server: Server): void {
    const { session } = server;
    server.session = undefined;
    session?.then(
      (open) => open === "http/1.1" || open.destroy(),
      () => {},
    );
  }

  return {
    want(urls) {
      for (const [url, server] of servers) {
        if (urls.includes(url)) continue;
        servers.delete(url);
        end(server);
      }
      for (const url of urls) sessionOf(options, serverOf(url)).catch(() => {});
    },
    ask: (url, message, signal) => ask(options, serverOf(url), message, signal),
    reset() {
      for (const server of servers.values()) {
        end(server);
        sessionOf(options, server).catch(() => {});
      }
    },
    close() {
      for (const server of servers.values()) end(server);
      servers.clear();
    },
  };
}

async function ask(
  options: DohOptions,
  server: Server,
  message: Uint8Array,
  signal: AbortSignal,
): Promise<DirectResult> {
  if (server.waiting >= WAITING_MAX)
    return { kind: "failed", reason: "too many queries wait for the server" };
  server.waiting++;
  let session: ClientHttp2Session | "http/1.1";
  try {
    session = await liveSession(options, server);
  } finally {
    server.waiting--;
  }
  server.usedAt = performance.now();
  const path = `${server.url.pathname}?dns=${Buffer.from(message).toString("base64url")}`;
  const answer =
    session === "http/1.1"
      ? await askByHttp1(options, server.url, path, signal)
      : await askByHttp2(session, server.url, path, signal);
  return toResult(answer);
}

/** What HTTP says, as far as it matters here. */
interface HttpAnswer {
  readonly status: number;
  readonly type: string;
  readonly age: string | undefined;
  readonly body: Uint8Array;
}

function toResult({ status, type, age, body }: HttpAnswer): DirectResult {
  if (status !== 200) return { kind: "failed", reason: `status ${status}` };
  const media = type.split(";")[0]?.trim().toLowerCase();
  if (media !== MEDIA_TYPE) return { kind: "failed", reason: `media type ${media}` };
  const ageS = age !== undefined && /^\d{1,9}$/.test(age) ? Number(age) : 0;
  return { kind: "message", message: body, ageS };
}

function askByHttp2(
  session: ClientHttp2Session,
  { host }: URL,
  path: string,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const stream = session.request(
      { ":authority": host, ":path": path, accept: MEDIA_TYPE },
      { endStream: true, signal },
    );
    let headers: Readonly<Record<string, unknown>> = {};
    stream.on("response", (received) => {
      headers = received;
    });
    collect(stream, reject, (body) =>
      resolve({
        status: Number(headers[":status"]),
        type: String(headers["content-type"] ?? ""),
        age: headers["age"] === undefined ? undefined : String(headers["age"]),
        body,
      }),
    );
  });
}

/** A connection per query: nobody runs such a server for many. */
async function askByHttp1(
  options: DohOptions,
  url: URL,
  path: string,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const socket = await openTls(options, url, ["http/1.1"]);
  return await new Promise((resolve, reject) => {
    const request = requestHttps(
      {
        createConnection: () => socket,
        host: url.hostname,
        path,
        headers: { host: url.host, accept: MEDIA_TYPE },
        signal,
      },
      (response) => {
        const { statusCode = 0, headers } = response;
        collect(response, reject, (body) =>
          resolve({ status: statusCode, type: headers["content-type"] ?? "", age: headers.age, body }),
        );
      },
    );
    request.on("error", reject);
    request.end();
  });
}

/** An endless body ends with its first octet too many. */
function collect(
  stream: NodeJS.ReadableStream & { destroy(error?: Error): unknown },
  reject: (error: Error) => void,
  resolve: (body: Uint8Array) => void,
): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  stream.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) stream.destroy(new Error("the answer is too long"));
    else chunks.push(chunk);
  });
  stream.on("error", reject);
  stream.on("end", () => resolve(Buffer.concat(chunks)));
  stream.on("close", () => reject(new Error("the connection was closed")));
}

/** Of a connection that is gone a runtime may tell later (Deno 2.9.6), and a query would find it still here. */
async function liveSession(options: DohOptions, server: Server): Promise<ClientHttp2Session | "http/1.1"> {
  const opening = sessionOf(options, server);
  const session = await opening;
  if (session === "http/1.1" || !(session.closed || session.destroyed)) return session;
  if (server.session === opening) server.session = undefined;
  return await sessionOf(options, server);
}

/** The open connection, or the one that is being opened; what fails is tried anew by the next query. */
function sessionOf(options: DohOptions, server: Server): Promise<ClientHttp2Session | "http/1.1"> {
  if (server.session !== undefined) return server.session;
  const opening = openSession(options, server);
  server.session = opening;
  const forget = (): void => {
    if (server.session === opening) server.session = undefined;
  };
  opening.then(
    (open) => {
      if (open === "http/1.1") return;
      open.on("close", forget);
      // No more queries on it; those under way may still be answered.
      open.on("goaway", forget);
      if (open.destroyed) forget();
    },
    (error: unknown) => {
      forget();
      options.log.debug?.("DoH server not reached", { url: server.url.href, reason: String(error) });
    },
  );
  return opening;
}

async function openSession(options: DohOptions, server: Server): Promise<ClientHttp2Session | "http/1.1"> {
  const socket = await openTls(options, server.url, ["h2", "http/1.1"]);
  if (socket.alpnProtocol !== "h2") {
    socket.destroy();
    return "http/1.1";
  }
  const session = connectHttp2(server.url.origin, { createConnection: () => socket });
  session.on("close", keepAlive(session, server));
  session.on("error", (error) => options.log.debug?.("DoH connection lost", { reason: error.message }));
  session.unref();
  return session;
}

/** A connection that does not answer is worse than none: queries would wait on it (DN-73). */
function keepAlive(session: ClientHttp2Session, server: Server): () => void {
  const timer = setInterval(() => {
    const idleMs = performance.now() - server.usedAt;
    if (idleMs >= IDLE_MS) return session.close();
    if (idleMs >= IN_USE_MS || session.destroyed) return;
    const late = setTimeout(() => session.destroy(), PING_ANSWER_MS).unref();
    session.ping(() => clearTimeout(late));
  }, PING_MS).unref();
  return () => clearInterval(timer);
}

async function openTls(options: DohOptions, url: URL, protocols: string[]): Promise<TLSSocket> {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const literal = parseIp(host);
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => reject(new Error("the server did not answer in time")), OPEN_MS_MAX).unref();
  });
  late.catch(() => {});
  const addresses = literal.ok ? [literal.value] : await Promise.race([options.resolve(host), late]);
  const port = url.port === "" ? HTTPS_PORT : Number(url.port);
  const socket = await inTime(firstSocket(options.openTcp, addresses, port), late);
  const { tls, secured } = shakeHands(socket, host, literal.ok, protocols, options.roots);
  try {
    return await Promise.race([secured, late]);
  } catch (error) {
    // Of a server that does not go on nobody else would close it.
    tls.destroy();
    throw error;
  }
}

/** What comes too late nobody wants any more. */
async function inTime(opening: Promise<Socket>, late: Promise<never>): Promise<Socket> {
  try {
    return await Promise.race([opening, late]);
  } catch (error) {
    opening.then(
      (socket) => socket.destroy(),
      () => {},
    );
    throw error;
  }
}

/** One address after the other, without waiting for the first to fail; who connects first wins. */
async function firstSocket(openTcp: OpenTcp, addresses: readonly IpAddress[], port: number): Promise<Socket> {
  let winner: Socket | undefined;
  const attempts = addresses.map(async (address, i) => {
    if (i > 0) await new Promise((resolve) => setTimeout(resolve, i * NEXT_ADDRESS_MS).unref());
    if (winner !== undefined) throw new Error("not needed");
    const socket = await openTcp({ address, port }, CONNECT_MS_MAX);
    if (winner !== undefined) socket.destroy();
    winner ??= socket;
    return socket;
  });
  return await Promise.any(attempts);
}

function shakeHands(
  socket: Socket,
  host: string,
  isLiteral: boolean,
  protocols: string[],
  ca: readonly string[],
): { readonly tls: TLSSocket; readonly secured: Promise<TLSSocket> } {
  const tls = connectTls({
    ...{ socket, host, ca: [...ca], ALPNProtocols: protocols, minVersion: "TLSv1.2" },
    // A literal address is no server name (RFC 6066 §3).
    ...(isLiteral ? {} : { servername: host }),
  });
  // Whoever uses it hears of its end.
  tls.on("error", () => {});
  const secured = new Promise<TLSSocket>((resolve, reject) => {
    tls.once("error", reject);
    tls.once("secureConnect", () => {
      tls.removeListener("error", reject);
      resolve(tls);
    });
  });
  secured.catch(() => {});
  return { tls, secured };
}
