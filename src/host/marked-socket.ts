/**
 * TCP connections that bypass the tunnel (PG-43, PG-64).
 *
 * A runtime connects its sockets before anybody can mark them. So socket, mark and connect are our own
 * system calls, and the connected descriptor is handed to the runtime.
 */
import { connect, Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import {
  errnoNumber,
  type Kernel,
  type SocketWay,
  SystemCallError,
  startTcp,
} from "../../bindings/linux/index.ts";
import { currentRuntime } from "../../bindings/runtime/index.ts";
import { formatSocketAddress, PosternError, parseIp, type SocketAddress } from "../base/index.ts";

export const POLL_MS_MAX = 50;

/** Without mark and device: an ordinary connection. */
export interface MarkedTarget extends SocketWay {
  readonly to: SocketAddress;
  readonly timeoutMs: number;
}

/**
 * Connects to an address.
 *
 * @throws PosternError `connect-failed` with the system's reason; `privilege` for a refused mark
 */
export async function openMarkedSocket(kernel: Kernel, target: MarkedTarget): Promise<Socket> {
  const { to, timeoutMs } = target;
  try {
    return adopt(await connectMarked(kernel, to, target, timeoutMs));
  } catch (cause) {
    if (cause instanceof PosternError && cause.code === "privilege") throw cause;
    const what = `cannot connect to ${formatSocketAddress(to)}`;
    throw new PosternError("connect-failed", what, "check the address and the network", { cause });
  }
}

export interface TlsTrust {
  readonly servername: string;
  /** All roots to trust (PEM), in place of the runtime's; absent: the runtime's. */
  readonly ca?: readonly string[];
  /** Protocols to offer (RFC 7301); absent: none. */
  readonly alpn?: readonly string[];
}

/** A connected descriptor as a socket of the runtime. Bun's `Socket` leaves `fd` alone, but its `connect` takes it. */
function adopt(fd: number): Socket {
  if (currentRuntime() !== "bun") return new Socket({ fd });
  const options: { readonly fd: number } = { fd };
  return connect(options as Parameters<typeof connect>[0] & object);
}

/** TLS over a connected socket: what `ws` wants from `createConnection` for `wss`. */
export function startTls(socket: Socket, trust: TlsTrust): Socket {
  // A literal address is no server name (RFC 6066 §3).
  const servername = parseIp(trust.servername).ok ? {} : { servername: trust.servername };
  const ca = trust.ca === undefined ? {} : { ca: [...trust.ca] };
  const alpn = trust.alpn === undefined ? {} : { ALPNProtocols: [...trust.alpn] };
  return connectTls({ socket, host: trust.servername, ...servername, ...ca, ...alpn });
}

/**
 * Returns a connected descriptor, or throws. It looks now and then until the handshake is over: a runtime
 * offers no way to wait for a descriptor that it does not know, and a connection to the portal is made
 * once in hours.
 */
async function connectMarked(
  kernel: Kernel,
  to: SocketAddress,
  way: SocketWay,
  timeoutMs: number,
): Promise<number> {
  const attempt = startTcp(kernel, to, way);
  let waitedMs = 0;
  for (let pauseMs = 1; waitedMs <= timeoutMs; pauseMs = Math.min(2 * pauseMs, POLL_MS_MAX)) {
    const result = attempt.result();
    if (result === 0) return attempt.fd;
    if (result !== errnoNumber("EINPROGRESS")) {
      attempt.close();
      throw new SystemCallError(`connect to ${formatSocketAddress(to)}`, result);
    }
    await wait(pauseMs);
    waitedMs += pauseMs;
  }
  attempt.close();
  throw new SystemCallError(`connect to ${formatSocketAddress(to)}`, errnoNumber("ETIMEDOUT"));
}
