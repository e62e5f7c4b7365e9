/**
 * One WebSocket over a connection that is there already (PT-13, PT-18, PT-31).
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { WebSocket } from "ws";
import type { Secret } from "../base/index.ts";
import { startTls } from "../host/index.ts";
import {
  type ConnectFailure,
  isCertificateCode,
  MAX_PEER_FRAME_BYTES,
  type PortalUrl,
  toHeaderText,
} from "../portal/protocol/index.ts";

export interface WebSocketOptions {
  readonly url: PortalUrl;
  readonly token: Secret<string>;
  readonly userAgent: string;
  /** Absent: the runtime's own. */
  readonly roots?: readonly string[];
}

/** Exactly one of `open` and `failure` comes; `close` ends what was opened. */
export interface WebSocketEvents {
  readonly open: () => void;
  readonly failure: (failure: ConnectFailure) => void;
  readonly text: (text: string) => void;
  readonly binary: () => void;
  readonly close: (code: number) => void;
}

/** A body that says why an upgrade was refused is short. */
const MAX_BODY_BYTES = 16 * 1024;

/** @param socketUrl the URL with its parameters; it never holds the token (PT-13) */
export function openWebSocket(
  tcp: Socket,
  socketUrl: string,
  options: WebSocketOptions,
  events: WebSocketEvents,
): WebSocket {
  tcp.setNoDelay(true);
  const socket = new WebSocket(socketUrl, {
    createConnection: () => connection(tcp, options),
    headers: {
      "User-Agent": options.userAgent,
      "X-Authorization": `Bearer ${toHeaderText(options.token.reveal().trim())}`,
    },
    maxPayload: MAX_PEER_FRAME_BYTES,
    perMessageDeflate: false,
    followRedirects: false,
  });
  let isDecided = false;
  const failOnce = (failure: ConnectFailure): void => {
    if (isDecided) return;
    isDecided = true;
    events.failure(failure);
  };
  // Before the first byte is read: an oversized frame ends the process otherwise (PT-7).
  socket.on("error", (error: NodeJS.ErrnoException) => failOnce(toFailure(error, options.url)));
  socket.on("unexpected-response", (request, response) => {
    readBody(response, (body) => {
      request.destroy();
      failOnce(toRefusal(response, body));
    });
  });
  socket.on("open", () => {
    isDecided = true;
    events.open();
  });
  socket.on("message", (data, isBinary) => {
    if (isBinary) events.binary();
    else events.text(data.toString());
  });
  socket.on("close", (code) => events.close(code));
  return socket;
}

function connection(tcp: Socket, { url, roots }: WebSocketOptions): Socket {
  if (url.scheme === "ws") return tcp;
  return startTls(tcp, { servername: url.host, ...(roots === undefined ? {} : { ca: roots }) });
}

/** What a server that speaks TLS makes of a request in plain text: an alert, or just an end. */
const PLAIN_REFUSED = /^HPE_|^ECONNRESET$|socket hang up/;

function toFailure(error: NodeJS.ErrnoException, url: PortalUrl): ConnectFailure {
  const { code = "", message } = error;
  const isTls = isCertificateCode(code) || /^(ERR_SSL|ERR_TLS|EPROTO)/.test(code);
  if (isTls) return { kind: "tls", code };
  const detail = code === "" ? message : code;
  const mayBeTls = url.scheme === "ws" && (PLAIN_REFUSED.test(code) || PLAIN_REFUSED.test(message));
  return { kind: "broken", detail: mayBeTls ? `${detail}; if the portal speaks TLS, use wss://` : detail };
}

function toRefusal(response: IncomingMessage, body: string): ConnectFailure {
  const retryAfter = response.headers["retry-after"];
  const contentType = response.headers["content-type"];
  return {
    kind: "refused-upgrade",
    status: response.statusCode ?? 0,
    body,
    ...(retryAfter === undefined ? {} : { retryAfter }),
    ...(contentType === undefined ? {} : { contentType }),
  };
}

function readBody(response: IncomingMessage, onBody: (body: string) => void): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  let isDone = false;
  const finish = (): void => {
    if (isDone) return;
    isDone = true;
    onBody(Buffer.concat(chunks).toString());
  };
  response.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) finish();
  });
  response.on("end", finish);
  response.on("error", finish);
  response.on("close", finish);
}
