/** A connection through an HTTP proxy by CONNECT (RFC 9110 §9.3.6, RL-211). */
import type { Socket } from "node:net";
import { PosternError } from "../../base/index.ts";
import { startTls } from "../../host/index.ts";
import type { HttpProxy, Target } from "./choice.ts";

const ANSWER_BYTES_MAX = 16 << 10;
const PROXY_WITHIN_MS = 10_000;
const HEADER_END = "\r\n\r\n";

export interface ProxyOptions {
  /** Trusted for `https://` proxies; absent: the runtime's own. */
  readonly roots?: readonly string[];
}

/**
 * Asks the proxy at the other end of `tcp` for a connection to `target`.
 *
 * @returns the socket on which the target speaks
 * @throws PosternError `proxy-refused` with the proxy's status; the socket is closed then
 */
export async function connectThrough(
  tcp: Socket,
  proxy: HttpProxy,
  target: Target,
  options: ProxyOptions = {},
): Promise<Socket> {
  const { roots } = options;
  const socket =
    proxy.scheme === "http"
      ? tcp
      : startTls(tcp, { servername: proxy.host, ...(roots === undefined ? {} : { ca: roots }) });
  try {
    socket.write(requestOf(proxy, target));
    const header = await readHeader(socket, proxy);
    const status = /^HTTP\/1\.[01] (\d{3})/.exec(header)?.[1];
    if (status === undefined) throw refused(proxy, "did not answer in HTTP");
    if (!status.startsWith("2")) throw refused(proxy, `answered ${status} for ${authority(target)}`, status);
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

function requestOf({ credentials }: HttpProxy, target: Target): string {
  const to = authority(target);
  const lines = [`CONNECT ${to} HTTP/1.1`, `Host: ${to}`];
  if (credentials !== undefined) {
    lines.push(`Proxy-Authorization: Basic ${Buffer.from(credentials.reveal()).toString("base64")}`);
  }
  return lines.join("\r\n") + HEADER_END;
}

function authority({ host, port }: Target): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Reads up to the empty line; what the target has said already goes back to the socket. */
function readHeader(socket: Socket, proxy: HttpProxy): Promise<string> {
  return new Promise((resolve, reject) => {
    let read = Buffer.alloc(0);
    const end = (error: Error | undefined, header = ""): void => {
      clearTimeout(timer);
      // Without listeners for `readable` the socket is as new: whoever listens for `data` starts it.
      socket.off("readable", onReadable).off("error", onError).off("close", onClose);
      if (error === undefined) resolve(header);
      else reject(error);
    };
    const onError = (cause: Error): void => end(refused(proxy, `failed: ${cause.message}`));
    const onClose = (): void => end(refused(proxy, "closed the connection without an answer"));
    const onReadable = (): void => {
      const chunk: Buffer | null = socket.read();
      if (chunk === null) return;
      read = Buffer.concat([read, chunk]);
      const at = read.indexOf(HEADER_END);
      if (at < 0 && read.length <= ANSWER_BYTES_MAX) return;
      if (at < 0) return end(refused(proxy, `answered with more than ${ANSWER_BYTES_MAX} bytes of header`));
      const rest = read.subarray(at + HEADER_END.length);
      if (rest.length > 0) socket.unshift(rest);
      end(undefined, read.subarray(0, at).toString("latin1"));
    };
    const timer = setTimeout(
      () => end(refused(proxy, `did not answer within ${PROXY_WITHIN_MS / 1000} s`)),
      PROXY_WITHIN_MS,
    );
    socket.on("readable", onReadable).on("error", onError).on("close", onClose);
  });
}

function refused(proxy: HttpProxy, why: string, status?: string): PosternError {
  const hint =
    status === "407"
      ? "its credentials are missing or wrong: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"
      : "check HTTPS_PROXY, or name the host in NO_PROXY";
  return new PosternError("proxy-refused", `the proxy ${authority(proxy)} ${why}`, hint);
}
