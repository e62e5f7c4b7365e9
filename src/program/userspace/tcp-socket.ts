/** A connection of the stack as a pair of web streams (PG-120, PG-125). */
import { Buffer } from "node:buffer";
import { formatIp, PosternError, type SocketAddress } from "../../base/index.ts";
import type { TcpEnd } from "../../stack/index.ts";
import type { Engine } from "./engine.ts";
import type { Addr, TcpSocket } from "./face.ts";
import { createUnread, type Unread } from "./unread.ts";

/** What a socket hears of its connection. */
export interface TcpHandle {
  readonly socket: TcpSocket;
  /** Borrows `bytes` for the time of the call. */
  data(bytes: Uint8Array): void;
  ended(): void;
  writable(): void;
  closed(reason: TcpEnd | "closed"): void;
}

export interface TcpParts {
  readonly engine: Pick<Engine, "withStack">;
  readonly id: number;
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
}

interface State extends TcpParts {
  readonly unread: Unread;
  reader: ReadableByteStreamController | undefined;
  writer: WritableStreamDefaultController | undefined;
  /** Somebody waits for octets. */
  isWanted: boolean;
  /** What has come is handed over behind this turn, when more of it has come. */
  isDue: boolean;
  hasEnded: boolean;
  isReadable: boolean;
  /** Who waits for room in the send buffer. */
  resume: (() => void) | undefined;
  end: TcpEnd | "closed" | undefined;
  reason: unknown;
}

export function createTcpSocket(parts: TcpParts): TcpHandle {
  const state: State = {
    ...parts,
    ...{
      unread: createUnread(),
      reader: undefined,
      writer: undefined,
      isWanted: false,
      isDue: false,
      hasEnded: false,
      isReadable: true,
    },
    ...{ resume: undefined, end: undefined, reason: undefined },
  };
  let settle = (): void => {};
  const closed = new Promise<void>((resolve) => {
    settle = resolve;
  });
  const abort = (reason?: unknown): void => {
    if (state.end !== undefined) return;
    state.reason = reason;
    parts.engine.withStack((stack, now) => stack.abort(now, parts.id));
    close(state, "closed");
    settle();
  };
  const socket: TcpSocket = {
    local: toAddr(parts.local),
    remote: toAddr(parts.remote),
    readable: readableOf(state, abort),
    writable: writableOf(state, abort),
    abort,
    setKeepAlive: (ms) =>
      parts.engine.withStack((stack, now) => stack.keepAlive(now, parts.id, ms === 0 ? undefined : ms)),
    setNoDelay: () => {},
    closed,
    async [Symbol.asyncDispose]() {
      abort();
      await closed;
    },
  };
  return {
    socket,
    data(bytes) {
      state.unread.push(bytes);
      if (state.isWanted) deliverSoon(state);
    },
    ended() {
      state.hasEnded = true;
      deliver(state);
    },
    writable: () => state.resume?.(),
    closed(reason) {
      // What has come before a reset in the same turn is still whose who waits for it.
      if (state.isWanted) deliver(state);
      close(state, reason);
      settle();
    },
  };
}

export function toAddr({ address, port }: SocketAddress): Addr {
  return { address: formatIp(address), port };
}

/** Of bytes, so that a reader may bring its own memory (`getReader({ mode: "byob" })`). */
function readableOf(state: State, abort: (reason?: unknown) => void): TcpSocket["readable"] {
  return new ReadableStream({
    type: "bytes",
    start(controller) {
      state.reader = controller;
    },
    pull() {
      state.isWanted = true;
      deliver(state);
    },
    cancel(reason) {
      // Nobody reads any more: what still comes cannot be acknowledged honestly.
      state.isReadable = false;
      state.unread.clear();
      abort(reason);
    },
  });
}

/** Whoever reads gets all of a turn at once: fewer pieces, and full ones. */
function deliverSoon(state: State): void {
  if (state.isDue) return;
  state.isDue = true;
  queueMicrotask(() => {
    state.isDue = false;
    deliver(state);
  });
}

function deliver(state: State): void {
  const { reader, unread } = state;
  if (reader === undefined || !state.isReadable) return;
  if (state.isWanted && !unread.isEmpty()) {
    state.isWanted = false;
    const octets = handOver(reader, unread);
    state.engine.withStack((stack, now) => stack.take(now, state.id, octets));
    return;
  }
  if (!state.hasEnded || !unread.isEmpty()) return;
  state.isReadable = false;
  reader.close();
  // Whoever waits with memory of its own gets that back.
  reader.byobRequest?.respond(0);
}

/** @returns how many octets */
function handOver(reader: ReadableByteStreamController, unread: Unread): number {
  const request = reader.byobRequest;
  if (request?.view) {
    const { buffer, byteOffset, byteLength } = request.view;
    const octets = unread.copyTo(new Uint8Array(buffer, byteOffset, byteLength));
    request.respond(octets);
    return octets;
  }
  const next = unread.shift();
  const octets = next.length;
  reader.enqueue(next);
  return octets;
}

function writableOf(state: State, abort: (reason?: unknown) => void): TcpSocket["writable"] {
  return new WritableStream<Uint8Array>({
    start(controller) {
      state.writer = controller;
    },
    write: (chunk) => write(state, chunk),
    close() {
      state.writer = undefined;
      if (state.end === undefined) state.engine.withStack((stack, now) => stack.end(now, state.id));
    },
    abort,
  });
}

/** Resolves when all of it is in the send buffer. */
async function write(state: State, chunk: Uint8Array): Promise<void> {
  // The stack sends from it until it is acknowledged; whoever wrote it may use its own again.
  let left: Uint8Array = Buffer.allocUnsafeSlow(chunk.length);
  left.set(chunk);
  for (;;) {
    if (state.end !== undefined) throw errorOf(state);
    const taken = state.engine.withStack((stack, now) => stack.send(now, state.id, left));
    left = left.subarray(taken);
    if (left.length === 0) return;
    await new Promise<void>((resolve) => {
      state.resume = resolve;
    });
    state.resume = undefined;
  }
}

function close(state: State, end: TcpEnd | "closed"): void {
  if (state.end !== undefined) return;
  state.end = end;
  state.resume?.();
  const isClean = end === "done" && state.hasEnded;
  if (isClean) return;
  const error = errorOf(state);
  if (state.isReadable) {
    state.isReadable = false;
    state.unread.clear();
    state.reader?.error(error);
  }
  state.writer?.error(error);
}

const MESSAGES: Readonly<Record<TcpEnd | "closed", string>> = {
  done: "the connection is closed",
  closed: "the connection was closed by this side",
  reset: "the connection was reset by the other side",
  timeout: "the other side does not answer any more",
  refused: "the connection was refused",
  prohibited: "access was taken away",
  unreachable: "the other side is not reachable any more",
};

function errorOf({ end = "closed", reason, remote }: State): PosternError {
  const code = end === "done" ? "closed" : end;
  const { address, port } = toAddr(remote);
  return new PosternError(code, `${address} port ${port}: ${MESSAGES[end]}`, undefined, {
    ...(reason !== undefined && { cause: reason }),
  });
}
