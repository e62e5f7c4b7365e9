/** A connection of the stack as a pair of web streams (PG-120, PG-125), which are made when they are asked for. */
import type { TcpSocket } from "./face.ts";
import { createRawTcp, type Done, type RawTcp, type TcpHandle, type TcpParts } from "./raw-tcp.ts";
import type { Unread } from "./unread.ts";

type Streams = Pick<TcpSocket, "readable" | "writable">;

/** Of sockets whose streams nobody has asked for. */
const rawBySocket = new WeakMap<TcpSocket, () => RawTcp>();

export function createTcpSocket(parts: TcpParts): {
  readonly socket: TcpSocket;
  readonly handle: TcpHandle;
} {
  const { raw, handle } = createRawTcp(parts);
  return { socket: socketOf(raw), handle };
}

/** Streams around a connection that nobody has opened yet. */
export function socketOf(raw: RawTcp): TcpSocket {
  let made: Streams | undefined;
  const streams = (): Streams => {
    made ??= streamsOf(raw);
    rawBySocket.delete(socket);
    return made;
  };
  const socket: TcpSocket = {
    ...{ local: raw.local, remote: raw.remote, closed: raw.closed, abort: raw.abort },
    get readable() {
      return streams().readable;
    },
    get writable() {
      return streams().writable;
    },
    setKeepAlive: raw.setKeepAlive,
    setNoDelay: () => {},
    async [Symbol.asyncDispose]() {
      raw.abort();
      await raw.closed;
    },
  };
  rawBySocket.set(socket, () => {
    made = lockedStreams();
    return raw;
  });
  return socket;
}

/** The connection below a socket for a caller who makes other streams of it; the socket's own are locked then. */
export function takeRaw(socket: TcpSocket): RawTcp | undefined {
  const take = rawBySocket.get(socket);
  rawBySocket.delete(socket);
  return take?.();
}

function lockedStreams(): Streams {
  const streams = { readable: new ReadableStream({ type: "bytes" }), writable: new WritableStream() };
  streams.readable.getReader();
  streams.writable.getWriter();
  return streams;
}

function streamsOf(raw: RawTcp): Streams {
  let [reader, writer]: [ReadableByteStreamController?, WritableStreamDefaultController?] = [];
  let isReadable = true;
  // Of bytes, so that a reader may bring its own memory (`getReader({ mode: "byob" })`).
  const readable = new ReadableStream({
    type: "bytes",
    start(controller) {
      reader = controller;
    },
    pull: () => raw.want(),
    cancel(reason) {
      // Nobody reads any more: what still comes cannot be acknowledged honestly.
      isReadable = false;
      raw.abort(reason);
    },
  });
  const writable = new WritableStream<Uint8Array>({
    start(controller) {
      writer = controller;
    },
    write: (chunk) => promised((done) => raw.write(chunk, done)),
    close() {
      writer = undefined;
      return promised(raw.end);
    },
    abort: raw.abort,
  });
  raw.open({
    take: (unread) => (reader === undefined ? 0 : handOver(reader, unread)),
    ended() {
      isReadable = false;
      reader?.close();
      // Whoever waits with memory of its own gets that back.
      reader?.byobRequest?.respond(0);
    },
    failed(error) {
      if (isReadable) reader?.error(error);
      isReadable = false;
      writer?.error(error);
    },
  });
  return { readable, writable };
}

function promised(act: (done: Done) => void): Promise<void> {
  return new Promise((resolve, reject) => act((error) => (error === undefined ? resolve() : reject(error))));
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
