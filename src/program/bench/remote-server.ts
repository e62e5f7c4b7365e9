/** `postern bench serve`: the far end of one run, for whoever has its secret; then it ends (PG-204). */
import { randomBytes } from "node:crypto";
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { networkInterfaces } from "node:os";
import {
  formatIp,
  formatSocketAddress,
  PosternError,
  parseSocketAddress,
  type SocketAddress,
} from "../../base/index.ts";
import { drain, GREETING, isSigned, pump, readLines, SECONDS_MAX, TOKEN_BYTES } from "./remote-protocol.ts";

const REQUEST_MS = 5000;
const RUN_MS = 15 * 60_000;
const CONNECTIONS_MAX = 160;
/** Until somebody comes. */
const WAIT_MS = 10 * 60_000;

export interface ServeOptions {
  readonly listen: string;
  readonly print: (line: string) => void;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

interface State {
  readonly secret: string;
  readonly say: (line: string) => void;
  readonly sockets: Set<Socket>;
  readonly udp: UdpSocket;
  /** Marks datagrams of the run. */
  readonly token: Buffer;
  counted: number;
  hasControl: boolean;
  /** Ends a run that takes too long. */
  running: NodeJS.Timeout | undefined;
  /** Resolves the run. */
  readonly end: (why: string) => void;
}

/** @throws PosternError `usage` for an address that is neither loopback nor a tunnel's; `host` when it is in use */
export async function serveOnce({ listen, print, say, signal }: ServeOptions): Promise<void> {
  const address = readAddress(listen);
  const secret = randomBytes(16).toString("hex");
  const { promise, resolve } = withResolvers<string>();
  const udp = createSocket(address.address.length === 4 ? "udp4" : "udp6");
  const state: State = {
    secret,
    say,
    udp,
    sockets: new Set(),
    token: randomBytes(TOKEN_BYTES),
    counted: 0,
    hasControl: false,
    running: undefined,
    end: resolve,
  };
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) =>
    admit(state, socket),
  );
  const port = await open(server, udp, address);
  udp.on("message", (datagram) => {
    if (state.token.equals(datagram.subarray(0, TOKEN_BYTES))) state.counted++;
  });
  print(`listening on ${formatSocketAddress({ ...address, port })}`);
  print(`POSTERN_BENCH_SECRET=${secret}`);
  const waiting = setTimeout(() => !state.hasControl && state.end("nobody came within 10 minutes"), WAIT_MS);
  const onAbort = (): void => state.end("stopped");
  signal.addEventListener("abort", onAbort);
  const why = await promise;
  signal.removeEventListener("abort", onAbort);
  clearTimeout(waiting);
  clearTimeout(state.running);
  for (const socket of state.sockets) socket.destroy();
  server.close();
  udp.close();
  say(`ended: ${why}`);
}

function readAddress(text: string): SocketAddress {
  const read = parseSocketAddress(text);
  if (!read.ok)
    throw new PosternError(
      "usage",
      `--listen ${text} is not ADDR:PORT`,
      "write 127.0.0.1:5202 or [::1]:5202",
    );
  const { address } = read.value;
  const own = formatIp(address);
  const devices = Object.entries(networkInterfaces());
  const device = devices.find(([, of]) => of?.some((one) => one.address === own))?.[0];
  const isLoopback = device === "lo" || own.startsWith("127.");
  if (isLoopback || (device !== undefined && existsSync(`/sys/class/net/${device}/tun_flags`)))
    return read.value;
  const hint = "name an address of loopback, or of a tunnel of this host: nobody else is to reach it";
  throw new PosternError("usage", `${own} is no address of a tunnel`, hint);
}

async function open(server: Server, udp: UdpSocket, { address, port }: SocketAddress): Promise<number> {
  const host = formatIp(address);
  try {
    server.listen(port, host);
    await once(server, "listening");
    const { port: taken } = server.address() as AddressInfo;
    udp.bind(taken, host);
    await once(udp, "listening");
    return taken;
  } catch (cause) {
    server.close();
    const what = `cannot listen on ${formatSocketAddress({ address, port })}`;
    throw new PosternError("host", what, "choose another port with --listen", { cause });
  }
}

function admit(state: State, socket: Socket): void {
  if (state.sockets.size >= CONNECTIONS_MAX) {
    socket.destroy();
    return;
  }
  state.sockets.add(socket);
  socket.setNoDelay(true);
  socket.on("error", () => {}).on("close", () => state.sockets.delete(socket));
  serve(state, socket).catch(() => socket.destroy());
}

async function serve(state: State, socket: Socket): Promise<void> {
  const nonce = randomBytes(16).toString("hex");
  const late = setTimeout(() => socket.destroy(), REQUEST_MS);
  socket.on("close", () => clearTimeout(late));
  socket.write(`${GREETING} ${nonce}\n`);
  const lines = readLines(socket);
  const [request = "", signature = ""] = (await lines.next()).split(" ");
  clearTimeout(late);
  if (!isSigned(state.secret, nonce, request, signature)) {
    state.say(`refused ${socket.remoteAddress}: it has another secret`);
    socket.destroy();
    return;
  }
  const [kind, seconds = ""] = request.split(":");
  if (kind === "control" && !state.hasControl) return await control(state, socket);
  if (!state.hasControl) return void socket.destroy();
  if (kind === "up") {
    const { bytes, ms } = await drain(socket);
    socket.end(`${bytes} ${ms.toFixed(3)}\n`);
  } else if (kind === "down" && Number(seconds) > 0 && Number(seconds) <= SECONDS_MAX) {
    const stop = pump(socket);
    setTimeout(stop, Number(seconds) * 1000);
  } else {
    socket.destroy();
  }
}

async function control(state: State, socket: Socket): Promise<void> {
  state.hasControl = true;
  state.running = setTimeout(() => state.end("a run may take 15 minutes"), RUN_MS);
  state.say(`a run from ${socket.remoteAddress}`);
  socket.on("close", () => state.end("the other end has gone"));
  const lines = readLines(socket);
  for (;;) {
    switch (await lines.next()) {
      case "ping":
        socket.write("pong\n");
        break;
      case "udp":
        state.counted = 0;
        socket.write(`udp ${state.token.toString("hex")}\n`);
        break;
      case "count":
        socket.write(`count ${state.counted}\n`);
        break;
      case "end":
        socket.end();
        state.end("the run is over");
        return;
      default:
        socket.destroy();
        return;
    }
  }
}

function withResolvers<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((yes) => {
    resolve = yes;
  });
  return { promise, resolve };
}
