/** What the portal reads from an HTTP request and answers without a WebSocket (PT-70, PT-73, PT-117). */
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { type IpAddress, type Prefix, parseIp } from "../../base/index.ts";
import { forwardedAddress, type Refusal, type UpgradeRequest } from "../../portal/server/index.ts";
import { type Document, plainDocument } from "../http-service.ts";

/** `too-often`: the address has asked more than it may. */
export type Readiness = "serving" | "closing" | "too-often";

/** What the portal's own port serves besides health; `undefined`: it has no such path. */
export type PortalDocuments = (path: string, headers: IncomingMessage["headers"]) => Document | undefined;

export function answer(
  request: IncomingMessage,
  response: ServerResponse,
  readiness: Readiness,
  documents: PortalDocuments,
): void {
  const { status = 200, type = "text/plain", body } = documentFor(request, readiness, documents);
  response.writeHead(status, {
    "content-type": type,
    connection: "close",
    ...(readiness === "too-often" ? { "retry-after": "1" } : {}),
  });
  response.end(request.method === "HEAD" ? undefined : body);
}

function documentFor(
  { url, headers }: IncomingMessage,
  readiness: Readiness,
  documents: PortalDocuments,
): Document {
  if (readiness === "too-often") return plainDocument(503);
  const path = url?.split("?")[0] ?? "";
  if (path === "/healthz") return plainDocument(200);
  if (path === "/readyz") return plainDocument(readiness === "closing" ? 503 : 200);
  return documents(path, headers) ?? plainDocument(404);
}

/** @param peer the address of the connection; `undefined` when it is closed already */
export function toUpgradeRequest(
  request: IncomingMessage,
  peer: string | undefined,
  trustedProxies: readonly Prefix[],
): UpgradeRequest | undefined {
  const address = addressOf(peer);
  const target = request.url ?? "";
  if (address === undefined || !target.startsWith("/")) return undefined;
  const [path = "", query = ""] = target.split("?", 2);
  const headers: Record<string, string | undefined> = {};
  for (const name of ["host", "origin", "user-agent", "x-authorization"]) {
    const value = request.headers[name];
    if (typeof value === "string") headers[name] = value;
  }
  const remote = forwardedAddress(address, request.headers["x-forwarded-for"], trustedProxies);
  return { path, query: new URLSearchParams(query), headers, remote };
}

/** A refusal as RFC 9457 wants it (PT-70). */
export function refuse(connection: Socket, { status, code, detail, retryAfterS }: Refusal): void {
  const title = STATUS_CODES[status] ?? "Refused";
  const body = code === undefined ? "" : JSON.stringify({ type: "about:blank", title, status, code, detail });
  const headers = [
    `HTTP/1.1 ${status} ${title}`,
    "Connection: close",
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...(body === "" ? [] : ["Content-Type: application/problem+json"]),
    ...(retryAfterS === undefined ? [] : [`Retry-After: ${retryAfterS}`]),
  ];
  connection.end(`${headers.join("\r\n")}\r\n\r\n${body}`);
  // The peer may leave its half open for ever; ours is done.
  connection.destroySoon();
}

/** An IPv4 peer on a socket of both families comes as `::ffff:192.0.2.1`. */
export function addressOf(text: string | undefined): IpAddress | undefined {
  const address = parseIp((text ?? "").replace(/^::ffff:(?=\d+\.)/i, "").replace(/%.*$/, ""));
  return address.ok ? address.value : undefined;
}
