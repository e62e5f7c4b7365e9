/** TCP connections of the host's kernel, in the shape of those of the stack (PG-120, PG-125). */
import { connect as connectTcp, type Socket } from "node:net";
import { formatIp, type PosternError, parseIp, type SocketAddress } from "../../base/index.ts";
import type { TcpEnd } from "../../stack/index.ts";
import type { TcpSocket } from "../userspace/index.ts";
import { endError, type RawReader, type RawTcp, toAddr } from "../userspace/raw-tcp.ts";
import { connectError } from "../userspace/sockets.ts";
import { socketOf } from "../userspace/tcp-socket.ts";
import { createUnread, type Unread } from "../userspace/unread.ts";

export interface HostTcp {
  readonly socket: TcpSocket;
  readonly remote: SocketAddress;
  /** By RST; who reads or writes is told why. */
  end(reason: "closed" | "prohibited"): void;
}

interface State {
  readonly socket: Socket;
  readonly remote: SocketAddress;
  readonly unread: Unread;
  reader: RawReader | undefined;
  /** The reader waits for octets. */
  isWanted: boolean;
  hasEnded: boolean;
  isReadable: boolean;
  failure: PosternError | undefined;
}

/** What the kernel says of a connection; of IPv4 it tells *prohibited* as unreachable. */
const ENDS: Readonly<Record<string, TcpEnd>> = {
  ECONNREFUSED: "refused",
  EACCES: "prohibited",
  EPERM: "prohibited",
  EHOSTUNREACH: "unreachable",
  EHOSTDOWN: "unreachable",
  ENETUNREACH: "unreachable",
  ENETDOWN: "unreachable",
  EADDRNOTAVAIL: "unreachable",
  ETIMEDOUT: "timeout",
};

/** Rejects with a PosternError of PG-124, or with the signal's reason. */
export function connectByHost(remote: SocketAddress, signal: AbortSignal): Promise<HostTcp> {
  if (signal.aborted) return Promise.reject(signal.reason);
  const { address, port } = toAddr(remote);
  const socket = connectTcp({ host: address, port, allowHalfOpen: true });
  return new Promise((resolve, reject) => {
    const aborted = (): void => {
      socket.destroy();
      reject(signal.reason);
    };
    const refused = (error: Error): void => {
      signal.removeEventListener("abort", aborted);
      reject(connectError(endOf(error), remote));
    };
    signal.addEventListener("abort", aborted, { once: true });
    socket.once("error", refused);
    socket.once("connect", () => {
      signal.removeEventListener("abort", aborted);
      const opened = open(socket, remote);
      socket.removeListener("error", refused);
      resolve(opened);
    });
  });
}

function endOf(error: Error): TcpEnd {
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  return ENDS[code] ?? "reset";
}

function open(socket: Socket, remote: SocketAddress): HostTcp {
  const state: State = {
    ...{ socket, remote, unread: createUnread(), reader: undefined },
    ...{ isWanted: false, hasEnded: false, isReadable: true, failure: undefined },
  };
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  // One read at a time: what nobody takes stays in the kernel, and closes the receive window.
  socket.pause();
  socket.on("data", (bytes: Uint8Array) => {
    socket.pause();
    state.unread.push(bytes);
    deliver(state);
  });
  socket.on("end", () => {
    state.hasEnded = true;
    deliver(state);
  });
  socket.on("error", (error) => fail(state, endError({ end: endOf(error), remote })));
  socket.on("close", () => {
    if (!state.hasEnded || !socket.writableFinished) fail(state, endError({ end: "closed", remote }));
  });
  const end = (end: "closed" | "prohibited", reason?: unknown): void => {
    fail(state, endError({ end, remote, reason }));
    reset(socket);
  };
  return { socket: socketOf(rawOf(state, closed, end)), remote, end };
}

function rawOf(state: State, closed: Promise<void>, end: (end: "closed", reason: unknown) => void): RawTcp {
  const { socket, remote } = state;
  return {
    ...{ local: localOf(socket), remote: toAddr(remote), closed },
    open(reader) {
      state.reader = reader;
      if (state.failure !== undefined) reader.failed(state.failure);
    },
    want() {
      state.isWanted = true;
      if (!deliver(state) && !state.hasEnded) socket.resume();
    },
    write(chunk, done) {
      if (state.failure !== undefined) return done(state.failure);
      socket.write(chunk, (error) => done(failureOf(state, error)));
    },
    end(done) {
      if (state.failure !== undefined) return done(state.failure);
      socket.end((error?: Error | null) => done(failureOf(state, error)));
    },
    abort: (reason) => end("closed", reason),
    setKeepAlive: (ms) => void socket.setKeepAlive(ms > 0, ms),
  };
}

function localOf({ localAddress = "", localPort = 0 }: Socket): RawTcp["local"] {
  const parsed = parseIp(localAddress);
  return { address: parsed.ok ? formatIp(parsed.value) : localAddress, port: localPort };
}

/** @returns whether the reader has got something */
function deliver(state: State): boolean {
  const { reader, unread } = state;
  if (reader === undefined || !state.isReadable) return false;
  if (state.isWanted && !unread.isEmpty()) {
    state.isWanted = false;
    reader.take(unread);
    return true;
  }
  if (!state.hasEnded || !unread.isEmpty()) return false;
  state.isReadable = false;
  reader.ended();
  return true;
}

function fail(state: State, error: PosternError): void {
  if (state.failure !== undefined) return;
  state.failure = error;
  state.unread.clear();
  if (!state.isReadable) return;
  state.isReadable = false;
  state.reader?.failed(error);
}

function failureOf({ failure, remote }: State, error: Error | null | undefined): PosternError | undefined {
  if (error === undefined || error === null) return undefined;
  return failure ?? endError({ end: endOf(error), remote });
}

/** By RST, where the runtime can. */
function reset(socket: Socket): void {
  if (typeof socket.resetAndDestroy === "function") socket.resetAndDestroy();
  else socket.destroy();
}
