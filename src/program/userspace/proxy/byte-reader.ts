/** Octets of a socket, as many as a protocol wants at a time; what was not wanted stays in the socket. */
import type { Socket } from "node:net";

export interface ByteReader {
  /** Rejects when the peer ends before. */
  take(count: number): Promise<Buffer>;
  /** Up to and without `end`; rejects when it does not come within `limit` octets. */
  until(end: string, limit: number): Promise<string>;
}

export function createByteReader(socket: Socket): ByteReader {
  let ended = false;
  let wake = (): void => {};
  const tell = (): void => wake();
  socket.on("readable", tell);
  for (const event of ["end", "error", "close"]) {
    socket.once(event, () => {
      ended = true;
      wake();
    });
  }
  const more = async (): Promise<void> => {
    if (ended || socket.destroyed) throw new Error("the peer has ended");
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  };

  async function take(count: number): Promise<Buffer> {
    for (;;) {
      const bytes: Buffer | null = count === 0 ? Buffer.alloc(0) : socket.read(count);
      if (bytes !== null && bytes.length === count) return bytes;
      // At its end a stream gives what is left, however short.
      await more();
    }
  }

  return {
    take,
    async until(end, limit) {
      let text = "";
      while (!text.endsWith(end)) {
        if (text.length >= limit) throw new Error("the request is too long");
        text += (await take(1)).toString("latin1");
      }
      return text.slice(0, -end.length);
    },
  };
}

/** Hands the socket on: from now on others read. */
export function release(socket: Socket): void {
  socket.removeAllListeners("readable");
}
