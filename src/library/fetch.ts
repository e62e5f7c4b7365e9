/** `client.fetch`: the web's fetch for resources, alike in all runtimes (PG-121). */
import { type IncomingMessage, request as requestPlain } from "node:http";
import { request as requestTls } from "node:https";
import { Readable } from "node:stream";
import type { Client, ClientFetch, FetchOptions } from "./face.ts";
import { HttpAgent, HttpsAgent } from "./node/agents.ts";

const REDIRECTS = [301, 302, 303, 307, 308];
const REDIRECTS_MAX = 20;
const WITHOUT_BODY = [101, 103, 204, 205, 304];
/** Headers that say something about the sender or the body, which another origin or a GET does not get. */
const OF_ORIGIN = ["authorization", "cookie", "proxy-authorization"];
const OF_BODY = [
  "content-length",
  "content-type",
  "content-encoding",
  "content-language",
  "content-location",
];

interface Agents {
  readonly http: HttpAgent;
  readonly https: HttpsAgent;
}

interface Hop {
  readonly url: URL;
  readonly method: string;
  readonly headers: Headers;
  readonly body: Uint8Array | ReadableStream<Uint8Array> | undefined;
}

/** Connections are kept for the next request, until the client is closed. */
export function createFetch(client: Pick<Client, "dial" | "closed">): ClientFetch {
  const agents: Agents = { http: new HttpAgent(client), https: new HttpsAgent(client) };
  void client.closed.then(() => {
    agents.http.destroy();
    agents.https.destroy();
  });
  return async (input, { tls = {}, ...options } = {}) => {
    const isStream = options.body instanceof ReadableStream;
    const request = new Request(input, isStream ? ({ duplex: "half", ...options } as RequestInit) : options);
    const { method, headers, redirect, signal } = request;
    const body = await bodyOf(request, isStream);
    let hop: Hop = { url: new URL(request.url), method, headers: new Headers(headers), body };
    for (let count = 0; ; count++) {
      const message = await send(agents, hop, tls, signal);
      const next = redirect === "manual" ? undefined : follow(hop, message);
      if (next === undefined) return toResponse(message, hop, count > 0);
      message.resume();
      if (redirect === "error") throw new TypeError(`${hop.url} redirects to ${next.url}`);
      if (count >= REDIRECTS_MAX)
        throw new TypeError(`${request.url} redirects more than ${REDIRECTS_MAX} times`);
      hop = next;
    }
  };
}

/** What is not a stream is known whole, and can be sent again. */
async function bodyOf(request: Request, isStream: boolean): Promise<Hop["body"]> {
  if (request.body === null) return undefined;
  return isStream ? request.body : new Uint8Array(await request.arrayBuffer());
}

function send(
  agents: Agents,
  hop: Hop,
  tls: NonNullable<FetchOptions["tls"]>,
  signal: AbortSignal,
  isAgain = false,
): Promise<IncomingMessage> {
  const { url, method, headers, body } = hop;
  if (body instanceof Uint8Array) headers.set("content-length", String(body.length));
  const isTls = url.protocol === "https:";
  if (!isTls && url.protocol !== "http:")
    throw new TypeError(`fetch knows http and https, not ${url.protocol}`);
  const options = { method, headers: Object.fromEntries(headers), signal };
  return new Promise((resolve, reject) => {
    const request = isTls
      ? requestTls(url, { ...options, ...tls, agent: agents.https }, resolve)
      : requestPlain(url, { ...options, agent: agents.http }, resolve);
    request.on("error", (error) => {
      if (signal.aborted) return reject(signal.reason);
      // The server has closed a kept connection while this was on its way: it has seen nothing of it.
      if (!isAgain && request.reusedSocket && !(hop.body instanceof ReadableStream) && isGone(error)) {
        return resolve(send(agents, hop, tls, signal, true));
      }
      reject(error);
    });
    if (body === undefined || body instanceof Uint8Array) return void request.end(body);
    const source = Readable.fromWeb(body as import("node:stream/web").ReadableStream);
    source.on("error", (error) => request.destroy(error));
    source.pipe(request);
  });
}

function isGone(error: Error): boolean {
  return "code" in error && ["ECONNRESET", "EPIPE", "reset", "closed"].includes(String(error.code));
}

/** `undefined`: it is the answer. */
function follow(hop: Hop, { statusCode = 0, headers: { location } }: IncomingMessage): Hop | undefined {
  if (location === undefined || !REDIRECTS.includes(statusCode)) return undefined;
  const url = new URL(location, hop.url);
  const headers = new Headers(hop.headers);
  if (url.origin !== hop.url.origin) for (const name of OF_ORIGIN) headers.delete(name);
  const isPost = hop.method === "POST" && (statusCode === 301 || statusCode === 302);
  const becomesGet = isPost || (statusCode === 303 && hop.method !== "GET" && hop.method !== "HEAD");
  if (becomesGet) {
    for (const name of OF_BODY) headers.delete(name);
    return { url, method: "GET", headers, body: undefined };
  }
  if (hop.body instanceof ReadableStream)
    throw new TypeError(`${hop.url} redirects, and its body cannot be sent again`);
  return { ...hop, url, headers };
}

function toResponse(message: IncomingMessage, { url, method }: Hop, isRedirected: boolean): Response {
  const { statusCode: status = 0, statusMessage: statusText = "", rawHeaders } = message;
  const headers = new Headers();
  for (let i = 0; i + 1 < rawHeaders.length; i += 2)
    headers.append(rawHeaders[i] ?? "", rawHeaders[i + 1] ?? "");
  const isEmpty = method === "HEAD" || WITHOUT_BODY.includes(status);
  if (isEmpty) message.resume();
  const body = isEmpty ? null : (Readable.toWeb(message) as ReadableStream<Uint8Array<ArrayBuffer>>);
  const response = new Response(body, { status, statusText, headers });
  Object.defineProperties(response, { url: { value: url.href }, redirected: { value: isRedirected } });
  return response;
}
