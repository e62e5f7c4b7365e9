/** A connection of the stack joined to a socket of the host, half-close, resets and back-pressure included (PG-129). */
import type { Socket } from "node:net";
import { copyOf } from "../../base/index.ts";
import type { Engine } from "./engine.ts";
import type { TcpHandle } from "./raw-tcp.ts";

export function pumpToHost(engine: Pick<Engine, "withStack">, id: number, socket: Socket): TcpHandle {
  let unsent: Uint8Array = new Uint8Array(0);
  let isOver = false;

  function sendUnsent(): void {
    if (isOver || unsent.length === 0) return;
    const taken = engine.withStack((stack, now) => stack.send(now, id, unsent));
    unsent = unsent.subarray(taken);
    if (unsent.length > 0) return;
    if (socket.readableEnded) engine.withStack((stack, now) => stack.end(now, id));
    else socket.resume();
  }

  socket.on("data", (bytes: Buffer) => {
    // Paused at the first octet that does not fit, so there is one piece at most.
    unsent = bytes;
    sendUnsent();
    if (unsent.length > 0) socket.pause();
  });
  socket.on("end", () => {
    if (!isOver && unsent.length === 0) engine.withStack((stack, now) => stack.end(now, id));
  });
  socket.on("error", () => {});
  socket.on("close", (hadError) => {
    if (isOver || !hadError) return;
    isOver = true;
    engine.withStack((stack, now) => stack.abort(now, id));
  });
  return {
    data(bytes) {
      socket.write(copyOf(bytes), (error) => {
        if (!error && !isOver) engine.withStack((stack, now) => stack.take(now, id, bytes.length));
      });
    },
    ended: () => void socket.end(),
    writable: sendUnsent,
    closed(reason) {
      isOver = true;
      if (reason === "done") socket.destroySoon();
      else if (typeof socket.resetAndDestroy === "function") socket.resetAndDestroy();
      else socket.destroy();
    },
  };
}
