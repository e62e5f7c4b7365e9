/** Ways into the tunnel for programs that know proxies: SOCKS 5 and HTTP's CONNECT, on loopback (PG-129). */
import { createHash, timingSafeEqual } from "node:crypto";
import { createServer, type Server, type Socket } from "node:net";
import {
  contains,
  formatIp,
  formatSocketAddress,
  LOOPBACK,
  type Log,
  PosternError,
  parseSocketAddress,
  type Secret,
  type SocketAddress,
} from "../../../base/index.ts";
import type { ProxyClient, ProxyParts } from "./face.ts";
import { serveHttpConnect } from "./http-connect.ts";
import { serveSocks } from "./socks.ts";

export interface ProxyOptions {
  readonly client: ProxyClient;
  /** `ADDR:PORT`. */
  readonly socks: string | undefined;
  readonly httpProxy: string | undefined;
  readonly password: Secret<string> | undefined;
  readonly log: Log;
}

export interface Proxies {
  /** Where they listen. */
  readonly addresses: readonly SocketAddress[];
  close(): void;
}

/** Whoever has the password has this name. */
export const PROXY_USER = "postern";
const CONNECTIONS_MAX = 1_024;
/** Until a peer has said what it wants. */
const GREETING_MS = 10_000;

type Serve = (parts: ProxyParts, socket: Socket) => Promise<void>;

/** @throws PosternError `usage`, `socket-listen` */
export async function openProxies(options: ProxyOptions): Promise<Proxies> {
  const { client, password, log } = options;
  const parts: ProxyParts = {
    ...{ dial: client.dial, udp: client.udp, password },
    isAllowed: (user, given) =>
      user === PROXY_USER && password !== undefined && isEqual(given, password.reveal()),
  };
  const wanted = [
    { option: "--socks", text: options.socks, serve: serveSocks },
    { option: "--http-proxy", text: options.httpProxy, serve: serveHttpConnect },
  ];
  const servers: { readonly server: Server; readonly close: () => void; readonly address: SocketAddress }[] =
    [];
  try {
    for (const { option, text, serve } of wanted) {
      if (text === undefined) continue;
      const address = readAddress(option, text, password, log);
      servers.push(await listen(option, address, (socket) => serveOne(parts, serve, socket, log)));
      log.info?.("proxy listens", {
        option,
        address: formatSocketAddress(servers.at(-1)?.address ?? address),
      });
    }
  } catch (error) {
    for (const { close } of servers) close();
    throw error;
  }
  return {
    addresses: servers.map(({ address }) => address),
    close() {
      for (const { close } of servers) close();
    },
  };
}

function readAddress(
  option: string,
  text: string,
  password: Secret<string> | undefined,
  log: Log,
): SocketAddress {
  const address = parseSocketAddress(text);
  if (!address.ok)
    throw new PosternError("usage", `${option} ${text} is not ADDR:PORT`, "for example 127.0.0.1:1080");
  if (LOOPBACK.some((range) => contains(range, address.value.address))) return address.value;
  if (password === undefined) {
    throw new PosternError(
      "usage",
      `${option} ${text} would let everybody on the network use this client`,
      "listen on 127.0.0.1 or [::1], or give --proxy-password-path",
    );
  }
  log.warn?.("proxy can be reached from other machines; its password goes over the network as it is", {
    option,
    text,
  });
  return address.value;
}

function listen(
  option: string,
  { address, port }: SocketAddress,
  serve: (socket: Socket) => void,
): Promise<{ readonly server: Server; readonly close: () => void; readonly address: SocketAddress }> {
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    serve(socket);
  });
  server.maxConnections = CONNECTIONS_MAX;
  return new Promise((resolve, reject) => {
    server.once("error", (cause) => {
      const what = `${option} cannot listen on ${formatSocketAddress({ address, port })}`;
      reject(new PosternError("socket-listen", `${what}: ${cause.message}`, undefined, { cause }));
    });
    server.listen(port, formatIp(address), () => {
      const bound = server.address();
      const boundPort = typeof bound === "object" && bound !== null ? bound.port : port;
      resolve({
        server,
        address: { address, port: boundPort },
        close() {
          server.close();
          for (const socket of open) socket.destroy();
        },
      });
    });
  });
}

function serveOne(parts: ProxyParts, serve: Serve, socket: Socket, log: Log): void {
  socket.on("error", () => {});
  socket.setTimeout(GREETING_MS, () => socket.destroy());
  serve(parts, socket).catch((error: unknown) => {
    log.debug?.("proxy: connection given up", { error });
    socket.destroy();
  });
}

/** Takes as long whatever is wrong. */
function isEqual(a: string, b: string): boolean {
  const [left, right] = [a, b].map((text) => createHash("sha256").update(text).digest());
  return left !== undefined && right !== undefined && timingSafeEqual(left, right);
}
