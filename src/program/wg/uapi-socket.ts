/** The status socket of WG-65: `/var/run/wireguard/NAME.sock`, spoken to by `wg`. */
import { chmodSync, existsSync, mkdirSync, rmSync, statSync, watch } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { fenced, type Log, PosternError } from "../../base/index.ts";
import { createUapiReader, type UapiRequest } from "../../wg/index.ts";

export const UAPI_FOLDER = "/var/run/wireguard";
const FOLDER_MODE = 0o755;
const SOCKET_MODE = 0o600;
const PRIVATE_UMASK = 0o177;
/** Beyond it a connection is closed at once (WG-67). */
const CONNECTIONS_MAX = 16;
/** How long somebody who holds the socket may take to answer. */
const PROBE_MS = 1_000;

export interface UapiServer {
  /** Closes all connections and unlinks the socket. */
  close(): void;
}

export interface UapiServerOptions {
  readonly name: string;
  readonly folder?: string;
  /** Answers one request; requests of one connection wait for each other. */
  readonly answer: (request: Exclude<UapiRequest, { kind: "refused" }>) => Promise<string>;
  /** The socket's file was deleted or replaced from outside. */
  readonly vanished: () => void;
  readonly log: Log;
}

export function uapiPath(name: string, folder = UAPI_FOLDER): string {
  return join(folder, `${name}.sock`);
}

/**
 * Whether somebody serves the socket of that name. A file that nobody answers is a leftover.
 *
 * @throws PosternError `in-use` (exit 9)
 */
export async function requireUnused(name: string, folder?: string): Promise<void> {
  const path = uapiPath(name, folder);
  if (!existsSync(path) || !(await isAnswered(path))) return;
  throw new PosternError(
    "in-use",
    `interface ${name} is in use: ${path} answers`,
    "stop the program that serves it, or choose another name",
  );
}

function isAnswered(path: string): Promise<boolean> {
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

/** @throws PosternError `host` when the folder or the socket cannot be made */
export async function openUapiServer(options: UapiServerOptions): Promise<UapiServer> {
  const folder = options.folder ?? UAPI_FOLDER;
  const path = uapiPath(options.name, folder);
  const connections = new Set<Socket>();
  const server = createServer((socket) => {
    if (connections.size >= CONNECTIONS_MAX) {
      socket.destroy();
      return;
    }
    connections.add(socket);
    socket.once("close", () => connections.delete(socket));
    // Whoever hangs up early gets no answer; that is his affair.
    socket.on("error", () => socket.destroy());
    serve(socket, options);
  });
  try {
    mkdirSync(folder, { recursive: true, mode: FOLDER_MODE });
    rmSync(path, { force: true });
    await listen(server, path);
  } catch (error) {
    throw new PosternError("host", `cannot open the status socket ${path}`, undefined, { cause: error });
  }
  const stopWatching = watchFile(folder, path, options.vanished);
  return {
    close() {
      stopWatching();
      server.close();
      for (const socket of connections) socket.destroy();
      rmSync(path, { force: true });
    },
  };
}

/** Nobody else may connect in the instant before the mode is set, hence the umask. */
function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const umask = process.umask(PRIVATE_UMASK);
    server.once("error", (error) => {
      process.umask(umask);
      reject(error);
    });
    server.listen({ path }, () => {
      process.umask(umask);
      chmodSync(path, SOCKET_MODE);
      resolve();
    });
  });
}

function watchFile(folder: string, path: string, vanished: () => void): () => void {
  const { ino } = statSync(path);
  const watcher = watch(folder, () => {
    const now = statSync(path, { throwIfNoEntry: false });
    if (now?.ino === ino) return;
    watcher.close();
    vanished();
  });
  watcher.unref();
  return () => watcher.close();
}

function serve(socket: Socket, options: UapiServerOptions): void {
  const reader = createUapiReader();
  let last = Promise.resolve();
  socket.setEncoding("utf8");
  socket.on("data", (text) => {
    const requests = fenced(() => [...reader.push(String(text))]);
    if (!requests.ok) {
      options.log.error?.("reading a request failed; its connection is closed", { error: requests.error });
      socket.destroy();
      return;
    }
    for (const request of requests.value) last = last.then(() => answer(socket, request, options));
  });
}

async function answer(socket: Socket, request: UapiRequest, options: UapiServerOptions): Promise<void> {
  if (socket.destroyed) return;
  if (request.kind === "refused") {
    socket.destroy();
    return;
  }
  socket.write(await options.answer(request));
}
