/** A Unix socket that from its first instant only those may use who are meant to. */
import { chmodSync, chownSync, mkdirSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";

const FOLDER_MODE = 0o755;
/** Beyond it a connection is closed at once (PG-107, WG-67). */
const CONNECTIONS_MAX = 16;

/** Only the owner, until mode and group are set. */
const PRIVATE_UMASK = 0o177;
/** How long somebody who holds a socket may take to answer. */
const PROBE_MS = 1_000;

export interface PrivateSocket {
  readonly path: string;
  readonly mode: number;
  /** Absent: the process's own. */
  readonly group?: number;
  readonly serve: (socket: Socket) => void;
}

export interface PrivateServer {
  /** Lets what was written go out, ends all connections and unlinks the socket. */
  close(): void;
}

/** Makes the folder, replaces a leftover and listens. Rejects with what the system said. */
export async function openPrivateServer(options: PrivateSocket): Promise<PrivateServer> {
  const { path, serve } = options;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    if (sockets.size >= CONNECTIONS_MAX) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    // Who hangs up early gets no answer.
    socket.on("error", () => socket.destroy());
    serve(socket);
  });
  mkdirSync(dirname(path), { recursive: true, mode: FOLDER_MODE });
  rmSync(path, { force: true });
  await listen(server, options);
  return {
    close() {
      server.close();
      for (const socket of sockets) socket.destroySoon();
      rmSync(path, { force: true });
    },
  };
}

function listen(server: Server, { path, mode, group }: PrivateSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    const umask = process.umask(PRIVATE_UMASK);
    server.once("error", (error) => {
      process.umask(umask);
      reject(error);
    });
    server.listen({ path }, () => {
      process.umask(umask);
      try {
        if (group !== undefined) chownSync(path, process.geteuid?.() ?? 0, group);
        chmodSync(path, mode);
        resolve();
      } catch (error) {
        server.close();
        reject(error);
      }
    });
  });
}

/** Whether somebody serves the socket: a file that nobody answers is a leftover. */
export function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const finish = (answered: boolean) => () => {
      socket.destroy();
      resolve(answered);
    };
    socket.once("connect", finish(true));
    socket.once("error", finish(false));
    // Listening but not accepting: somebody is there.
    socket.setTimeout(PROBE_MS, finish(true));
  });
}
