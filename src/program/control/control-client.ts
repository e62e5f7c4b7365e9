/** Asks a running program over its control socket (PG-108). */
import { readdirSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { PosternError, parseJson } from "../../base/index.ts";
import type { QueuedEvent } from "./events.ts";
import type { ControlErrorCode } from "./protocol.ts";

const ANSWER_WITHIN_MS = 10_000;

export interface ControlClient {
  readonly path: string;
  /** @throws PosternError `control-refused` with what the program said; `no-instance` when it has gone */
  ask(method: string, params?: Readonly<Record<string, unknown>>): Promise<unknown>;
  /** Events after `subscribe`, until the connection ends. */
  events(): AsyncIterable<QueuedEvent>;
  close(): void;
}

interface Answer {
  readonly id?: number;
  readonly result?: unknown;
  readonly error?: { readonly code: ControlErrorCode; readonly message: string };
  readonly event?: string;
}

/** The sockets of instances that answer, in the first folder first. */
export async function findInstances(folders: readonly string[]): Promise<readonly string[]> {
  const found: string[] = [];
  for (const folder of folders) {
    for (const name of socketsIn(folder)) {
      const socket = await dial(join(folder, name)).catch(() => undefined);
      socket?.destroy();
      if (socket !== undefined) found.push(name.replace(/\.sock$/, ""));
    }
  }
  return found;
}

function socketsIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith(".sock"))
      .sort();
  } catch {
    // Nobody has made the folder yet, or it is not for us: no instance there.
    return [];
  }
}

/** @throws PosternError `no-instance` (exit 10) when nobody answers */
export async function openControlClient(
  instance: string,
  folders: readonly string[],
): Promise<ControlClient> {
  let refused: string | undefined;
  for (const folder of folders) {
    const path = join(folder, `${instance}.sock`);
    try {
      return converse(path, await dial(path));
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      if (code === "EACCES" || code === "EPERM") refused = path;
    }
  }
  if (refused !== undefined) {
    throw new PosternError(
      "no-instance",
      `${refused} may not be used by this user`,
      "run it as root, or as a member of the group postern",
    );
  }
  const looked = folders.map((folder) => join(folder, `${instance}.sock`)).join(", ");
  throw new PosternError("no-instance", `no running instance '${instance}' (looked at ${looked})`);
}

function dial(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path }, () => {
      socket.removeListener("error", reject);
      resolve(socket);
    });
    socket.once("error", reject);
  });
}

interface Talk {
  readonly path: string;
  readonly socket: Socket;
  readonly waiting: Map<number, (answer: Answer | undefined) => void>;
  readonly events: QueuedEvent[];
  wake: () => void;
  isEnded: boolean;
}

function converse(path: string, socket: Socket): ControlClient {
  const talk: Talk = { path, socket, waiting: new Map(), events: [], wake: () => {}, isEnded: false };
  let text = "";
  socket.setEncoding("utf8");
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk) => {
    const lines = (text + String(chunk)).split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) hear(talk, line);
  });
  socket.once("close", () => {
    talk.isEnded = true;
    for (const resolve of talk.waiting.values()) resolve(undefined);
    talk.wake();
  });
  let next = 1;
  return {
    path,
    ask: (method, params = {}) => ask(talk, next++, method, params),
    events: () => follow(talk),
    close: () => socket.destroy(),
  };
}

/** The program is ours and of our own release: its lines are taken as they are. */
function hear(talk: Talk, line: string): void {
  const json = parseJson(line);
  if (!json.ok) return;
  const answer = json.value as Answer;
  if (answer.event !== undefined) {
    talk.events.push(answer as QueuedEvent);
    talk.wake();
  } else if (answer.id !== undefined) {
    talk.waiting.get(answer.id)?.(answer);
    talk.waiting.delete(answer.id);
  }
}

async function ask(talk: Talk, id: number, method: string, params: unknown): Promise<unknown> {
  const { socket, waiting, path } = talk;
  const answered = new Promise<Answer | undefined>((resolve) => waiting.set(id, resolve));
  const timer = setTimeout(() => socket.destroy(), ANSWER_WITHIN_MS);
  if (talk.isEnded) waiting.get(id)?.(undefined);
  else socket.write(`${JSON.stringify({ id, method, params })}\n`);
  const answer = await answered;
  clearTimeout(timer);
  if (answer === undefined) throw new PosternError("no-instance", `${path} gave no answer to ${method}`);
  if (answer.error === undefined) return answer.result;
  const { code, message } = answer.error;
  throw new PosternError(code === "bad_params" ? "usage" : "control-refused", `${method}: ${message}`);
}

async function* follow(talk: Talk): AsyncGenerator<QueuedEvent> {
  for (;;) {
    const event = talk.events.shift();
    if (event !== undefined) yield event;
    else if (talk.isEnded) return;
    else {
      await new Promise<void>((resolve) => {
        talk.wake = resolve;
      });
    }
  }
}
