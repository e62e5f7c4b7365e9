/**
 * The head of one HTTP request per connection (PT-72). Node's parser takes whatever a read brings, which
 * may be thousands of pipelined requests; here it is given one head, and the rest is read by nobody, or
 * by the WebSocket that the request asked for.
 */
import type { Socket } from "node:net";
import { Duplex } from "node:stream";

export const MAX_HEADER_BYTES = 16 * 1024;

const END = Buffer.from("\r\n\r\n");
/** The type of a TLS record with a handshake message (RFC 8446 §5.1): no request of HTTP begins with it. */
const TLS_HANDSHAKE = 22;

/** What the HTTP server is given instead of the connection. */
export interface Carrier {
  readonly stream: Duplex;
  readonly connection: Socket;
  /** What came behind the head. */
  readonly rest: Buffer;
  /** From now on the connection is somebody else's. */
  release(): void;
}

/**
 * Calls back once, with the head read; a head that is too long ends the connection. Who speaks TLS to a portal without
 * it is not kept waiting for what never comes (PT-33).
 */
export function readOneRequest(connection: Socket, onRequest: (carrier: Carrier) => void): void {
  let read: Buffer = Buffer.alloc(0);
  const onData = (chunk: Buffer): void => {
    if (read.length === 0 && chunk[0] === TLS_HANDSHAKE) {
      connection.destroy();
      return;
    }
    const from = Math.max(0, read.length - END.length);
    read = read.length === 0 ? chunk : Buffer.concat([read, chunk]);
    const end = read.indexOf(END, from);
    if (end < 0 && read.length <= MAX_HEADER_BYTES) return;
    connection.pause();
    connection.removeListener("data", onData);
    if (end < 0 || end > MAX_HEADER_BYTES) {
      connection.end("HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n");
      connection.destroySoon();
      return;
    }
    const headEnd = end + END.length;
    onRequest(carry(connection, read.subarray(0, headEnd), read.subarray(headEnd)));
  };
  connection.on("data", onData);
  connection.resume();
}

function carry(connection: Socket, head: Buffer, rest: Buffer): Carrier {
  let isReleased = false;
  const stream = new Duplex({
    read: () => undefined,
    write: (chunk, _encoding, done) => connection.write(chunk, () => done()),
    final(done) {
      connection.end();
      // The peer may leave its half open for ever; ours is done.
      connection.destroySoon();
      done();
    },
    destroy(error, done) {
      if (!isReleased) connection.destroySoon();
      done(error);
    },
  });
  stream.push(head);
  return {
    stream,
    connection,
    rest,
    release() {
      isReleased = true;
    },
  };
}
