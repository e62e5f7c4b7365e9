/** The status socket of WG-65: `/var/run/wireguard/NAME.sock`, spoken to by `wg`. */
import { existsSync, statSync, watch } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { fenced, type Log, PosternError } from "../../base/index.ts";
import { createUapiReader, type UapiRequest } from "../../wg/index.ts";
import { isAnswered, openPrivateServer, type PrivateServer } from "../private-socket.ts";

export const UAPI_FOLDER = "/var/run/wireguard";
const SOCKET_MODE = 0o600;

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

/** @throws PosternError `host` when the folder or the socket cannot be made */
export async function openUapiServer(options: UapiServerOptions): Promise<UapiServer> {
  const folder = options.folder ?? UAPI_FOLDER;
  const path = uapiPath(options.name, folder);
  let server: PrivateServer;
  try {
    server = await openPrivateServer({ path, mode: SOCKET_MODE, serve: (socket) => serve(socket, options) });
  } catch (error) {
    throw new PosternError("host", `cannot open the status socket ${path}`, undefined, { cause: error });
  }
  const stopWatching = watchFile(folder, path, options);
  return {
    close() {
      stopWatching();
      server.close();
    },
  };
}

/** Containers of one user share a small number of watches: without one the socket works, and is not missed. */
function watchFile(folder: string, path: string, { vanished, log }: UapiServerOptions): () => void {
  const unwatched = (error: unknown): void =>
    log.info?.("nobody would notice that the status socket is deleted", { path, reason: String(error) });
  try {
    const { ino } = statSync(path);
    const watcher = watch(folder, () => {
      const now = statSync(path, { throwIfNoEntry: false });
      if (now?.ino === ino) return;
      watcher.close();
      vanished();
    });
    watcher.on("error", unwatched);
    watcher.unref();
    return () => watcher.close();
  } catch (error) {
    unwatched(error);
    return () => {};
  }
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
