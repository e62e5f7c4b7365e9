/**
 * Many connected UDP sockets at once, one per question (DN-61). The kernel signals when one may be readable; a
 * single call then says which, since signals merge and name no descriptor.
 */
import type { SocketAddress } from "../../src/base/index.ts";
import { type ConnectedUdp, connectUdp } from "./connected-udp.ts";
import { errnoName } from "./errno.ts";
import { POLLFD_BYTES, POLLIN } from "./file-constants.ts";
import type { Kernel } from "./kernel.ts";
import { askForSignal, watchReadable } from "./readable-signal.ts";
import type { SocketWay } from "./socket-way.ts";

export type QueryOutcome =
  | { readonly kind: "message"; readonly message: Uint8Array<ArrayBuffer> }
  | { readonly kind: "failed"; readonly reason: string };

export interface QuerySocketsOptions {
  readonly kernel: Kernel;
  /** Mark and device of the sockets. */
  readonly way: SocketWay;
  /** Never called from inside of `ask`. */
  readonly onOutcome: (token: number, outcome: QueryOutcome) => void;
}

export interface QuerySockets {
  /** Sends from a new socket, which stays open until `forget`. */
  ask(token: number, to: SocketAddress, message: Uint8Array): void;
  forget(token: number): void;
  close(): void;
}

type TokenAndSocket = readonly [token: number, socket: ConnectedUdp];

/** Descriptors per poll(2), which bounds the scratch memory. */
const POLL_BATCH = 256;
/** Datagrams per socket and round: whoever floods one socket does not hold up the others. */
const RECEIVES_MAX = 8;

export function openQuerySockets(options: QuerySocketsOptions): QuerySockets {
  const { kernel, way, onOutcome } = options;
  const open = new Map<number, ConnectedUdp>();
  let isLooking = false;

  function look(): void {
    if (isLooking) return;
    isLooking = true;
    // What is told may ask again, and one signal may stand for many datagrams.
    setImmediate(() => {
      isLooking = false;
      const ready = readable(kernel, [...open]);
      for (const [token, socket] of ready) receive(token, socket);
      if (ready.length > 0) look();
    });
  }

  function receive(token: number, socket: ConnectedUdp): void {
    for (let i = 0; i < RECEIVES_MAX && open.has(token); i++) {
      const message = socket.receive();
      if (message === undefined) return;
      if (typeof message === "number") return fail(token, errnoName(message));
      onOutcome(token, { kind: "message", message });
    }
  }

  function fail(token: number, reason: string): void {
    forget(token);
    onOutcome(token, { kind: "failed", reason });
  }

  function forget(token: number): void {
    open.get(token)?.close();
    open.delete(token);
  }

  const unlisten = watchReadable(kernel, [], look);
  return {
    ask(token, to, message) {
      try {
        const socket = connectUdp(kernel, to, way);
        open.set(token, socket);
        // Before the question, so that no answer comes unnoticed.
        const errno = askForSignal(kernel, socket.fd) || socket.send(message);
        if (errno !== 0) queueMicrotask(() => fail(token, errnoName(errno)));
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        queueMicrotask(() => fail(token, reason));
      }
    },
    forget,
    close() {
      for (const token of [...open.keys()]) forget(token);
      unlisten();
    },
  };
}

/** Those of the sockets that have something to say now. */
function readable({ sys, scratch }: Kernel, sockets: readonly TokenAndSocket[]): readonly TokenAndSocket[] {
  const ready: TokenAndSocket[] = [];
  for (let from = 0; from < sockets.length; from += POLL_BATCH) {
    const batch = sockets.slice(from, from + POLL_BATCH);
    scratch.frame((room) => {
      const at = room.take(batch.length * POLLFD_BYTES);
      for (const [i, [, socket]] of batch.entries()) {
        room.view.setInt32(at + i * POLLFD_BYTES, socket.fd, true);
        room.view.setUint32(at + i * POLLFD_BYTES + 4, POLLIN, true);
      }
      if (sys.poll(at, batch.length, 0) <= 0) return;
      for (const [i, entry] of batch.entries()) {
        if (room.view.getUint16(at + i * POLLFD_BYTES + 6, true) !== 0) ready.push(entry);
      }
    });
  }
  return ready;
}
