/** UDP sockets on the stack (PG-120, PG-125). */
import { isIP } from "node:net";
import { PosternError, type SocketAddress } from "../../base/index.ts";
import type { Addr, UdpSocket } from "./face.ts";
import { readPort } from "./port.ts";

/** Datagrams that wait to be received. */
const QUEUED_MAX = 256;

interface Received {
  readonly data: Uint8Array<ArrayBuffer>;
  readonly from: Addr;
}

interface Waiting {
  readonly resolve: (received: Received) => void;
  readonly reject: (error: unknown) => void;
}

export interface UdpHandle {
  readonly socket: UdpSocket;
  datagram(data: Uint8Array<ArrayBuffer>, from: SocketAddress): void;
  /** Whoever waits is told. */
  closed(): void;
}

export interface UdpParts {
  readonly local: Addr;
  readonly send: UdpSocket["send"];
  readonly release: () => void;
  readonly toAddr: (from: SocketAddress) => Addr;
}

export function createUdpSocket({ local, send, release, toAddr }: UdpParts): UdpHandle {
  const queued: Received[] = [];
  const waiting = new Set<Waiting>();
  let isClosed = false;
  let sendable: string | undefined;

  function close(): void {
    if (isClosed) return;
    isClosed = true;
    release();
    for (const { reject } of waiting) reject(closedError());
    waiting.clear();
  }

  return {
    socket: {
      local,
      send(data, to) {
        if (isClosed) throw closedError();
        // Once per destination: who sends much sends it to one.
        if (to.host !== sendable) requireFamily(local, to.host);
        sendable = to.host;
        send(data, { ...to, port: readPort(to.port) });
      },
      receive: ({ signal } = {}) => {
        if (signal?.aborted) return Promise.reject(signal.reason);
        const next = queued.shift();
        if (next !== undefined) return Promise.resolve(next);
        if (isClosed) return Promise.reject(closedError());
        return waitFor(waiting, signal);
      },
      close,
      async [Symbol.asyncDispose]() {
        close();
      },
    },
    datagram(data, from) {
      const received = { data, from: toAddr(from) };
      for (const first of waiting) {
        waiting.delete(first);
        return first.resolve(received);
      }
      if (queued.length < QUEUED_MAX) queued.push(received);
    },
    closed: close,
  };
}

/** Neither a kernel nor the stack could send it, and nobody would hear that it did not go. */
function requireFamily(local: Addr, host: string): void {
  const family = isIP(host.replace(/^\[(.*)\]$/, "$1"));
  const own = isIP(local.address);
  if (family === 0 || family === own) return;
  throw new PosternError(
    "unreachable",
    `${host} is an IPv${family} address, and the socket is one for IPv${own}`,
    `open another one: client.udp({ family: ${family} })`,
  );
}

function waitFor(waiting: Set<Waiting>, signal: AbortSignal | undefined): Promise<Received> {
  return new Promise((resolve, reject) => {
    const forget = (): void => {
      waiting.delete(one);
      signal?.removeEventListener("abort", aborted);
    };
    const aborted = (): void => {
      forget();
      reject(signal?.reason);
    };
    const one: Waiting = {
      resolve(received) {
        forget();
        resolve(received);
      },
      reject(error) {
        forget();
        reject(error);
      },
    };
    signal?.addEventListener("abort", aborted);
    waiting.add(one);
  });
}

function closedError(): PosternError {
  return new PosternError("closed", "the socket is closed");
}
