/** HTTP's CONNECT (RFC 9110 §9.3.6), for programs that know nothing but HTTP proxies. */
import type { Socket } from "node:net";
import { PosternError } from "../../../base/index.ts";
import { createByteReader, release } from "./byte-reader.ts";
import type { ProxyParts } from "./face.ts";
import { join } from "./join.ts";

const HEAD_BYTES_MAX = 16 << 10;
const CONNECT = /^CONNECT (?:\[([0-9a-fA-F:.]+)\]|([^\s:]+)):(\d{1,5}) HTTP\/1\.[01]\r?\n/;

/** Rejects when the peer ends, or sends too much. */
export async function serveHttpConnect(parts: ProxyParts, socket: Socket): Promise<void> {
  const head = `${await createByteReader(socket).until("\r\n\r\n", HEAD_BYTES_MAX)}\r\n`;
  const [, v6, name, port = ""] = CONNECT.exec(head) ?? [];
  const host = v6 ?? name;
  if (host === undefined || Number(port) > 65_535) {
    return refuse(socket, "405 Method Not Allowed", "this proxy knows CONNECT only", "Allow: CONNECT\r\n");
  }
  if (parts.password !== undefined && !hasPassword(parts, head)) {
    const challenge = 'Proxy-Authenticate: Basic realm="postern"\r\n';
    return refuse(socket, "407 Proxy Authentication Required", "a password is needed", challenge);
  }
  release(socket);
  socket.setTimeout(0);
  const gone = new AbortController();
  const leave = (): void => gone.abort();
  socket.once("close", leave);
  try {
    const tunnel = await parts.dial({ host, port: Number(port), signal: gone.signal });
    socket.removeListener("close", leave);
    socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
    await join(socket, tunnel);
  } catch (error) {
    refuse(socket, statusFor(error), error instanceof Error ? error.message : String(error));
  }
}

function hasPassword({ isAllowed }: ProxyParts, head: string): boolean {
  const [, encoded = ""] = /^proxy-authorization:\s*basic\s+([A-Za-z0-9+/=]+)\s*$/im.exec(head) ?? [];
  const text = Buffer.from(encoded, "base64").toString();
  const at = text.indexOf(":");
  return at >= 0 && isAllowed(text.slice(0, at), text.slice(at + 1));
}

function refuse(socket: Socket, status: string, why: string, headers = ""): void {
  const body = `${why}\n`;
  const length = Buffer.byteLength(body);
  socket.end(
    `HTTP/1.1 ${status}\r\n${headers}Content-Type: text/plain\r\nContent-Length: ${length}\r\nConnection: close\r\n\r\n${body}`,
  );
}

function statusFor(error: unknown): string {
  switch (error instanceof PosternError ? error.code : "") {
    case "not_a_resource":
    case "prohibited":
      return "403 Forbidden";
    case "timeout":
      return "504 Gateway Timeout";
    default:
      return "502 Bad Gateway";
  }
}
