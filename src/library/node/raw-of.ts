/** The connection below a socket, without the web streams that would stand between it and a Duplex. */
import type { PosternError } from "../../base/index.ts";
import {
  createUnread,
  type RawReader,
  type RawTcp,
  type TcpSocket,
  takeRaw,
} from "../../program/userspace/index.ts";

export function rawOf(socket: TcpSocket): RawTcp {
  return takeRaw(socket) ?? rawOfStreams(socket);
}

/** Of a socket whose streams are in use already, or that is of another's making. */
function rawOfStreams(socket: TcpSocket): RawTcp {
  const reader = socket.readable.getReader();
  const writer = socket.writable.getWriter();
  // What goes wrong is told by reads and writes.
  reader.closed.catch(() => {});
  writer.closed.catch(() => {});
  const unread = createUnread();
  let whose: RawReader | undefined;
  return {
    ...{ local: socket.local, remote: socket.remote, closed: socket.closed },
    open(one) {
      whose = one;
    },
    want() {
      reader.read().then(
        ({ done, value }) => {
          if (done) return whose?.ended();
          unread.push(value);
          whose?.take(unread);
        },
        (error: PosternError) => whose?.failed(error),
      );
    },
    write: (chunk, done) => void writer.write(chunk).then(() => done(), done),
    end: (done) => void writer.close().then(() => done(), done),
    abort: (reason) => socket.abort(reason),
    setKeepAlive: (ms) => socket.setKeepAlive(ms),
  };
}
