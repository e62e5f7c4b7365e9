/**
 * The control socket of a running program (PG-107): a Unix socket on which each line is a request.
 *
 *     bytes ─▶ lines ─▶ one request after the other ─▶ its method ─▶ one line of answer
 *                                     └─ subscribe ──▶ events, from a queue of fixed length
 */
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { setImmediate as otherWork } from "node:timers/promises";
import * as v from "valibot";
import { fenced, type Log } from "../../base/index.ts";
import { isAnswered, openPrivateServer } from "../private-socket.ts";
import { createEventQueue, EVENT_NAMES, type EventBus } from "./events.ts";
import { answerRequest, type ControlMethods, method } from "./methods.ts";
import {
  ControlRefusal,
  type ControlRequest,
  createLineReader,
  errorLine,
  type ReadLine,
  resultLine,
} from "./protocol.ts";

/** The file's mode alone decides who may ask (PG-107). */
const SOCKET_MODE = 0o660;
const GROUP = "postern";
const IDLE_MS = 600_000;
/** Lines that are no request; the last of them ends the connection (PG-108). */
const BAD_LINES_MAX = 3;

export interface ControlServerOptions {
  readonly instance: string;
  /** Of these the first that can be written (PG-10). */
  readonly folders: readonly string[];
  readonly methods: ControlMethods;
  readonly events: EventBus;
  readonly log: Log;
}

export interface ControlServer {
  readonly path: string;
  /** Refuses requests from now on; who listens still hears events. */
  refuse(reason: string): void;
  /** Closes all connections and unlinks the socket. */
  close(): void;
}

export function controlPath(folder: string, instance: string): string {
  return join(folder, `${instance}.sock`);
}

/** `undefined`: there can be none, which the log says; the program works without it. */
export async function openControlServer(options: ControlServerOptions): Promise<ControlServer | undefined> {
  const { instance, folders, log } = options;
  let refusal: unknown;
  for (const folder of folders) {
    const path = controlPath(folder, instance);
    try {
      return await openAt(path, options);
    } catch (error) {
      refusal = error;
    }
  }
  log.info?.("no control socket: the program cannot be asked or commanded", { instance, reason: refusal });
  return undefined;
}

/** What the connections share. */
interface Hall {
  readonly options: ControlServerOptions;
  refusal: string | undefined;
}

async function openAt(path: string, options: ControlServerOptions): Promise<ControlServer> {
  if (await isAnswered(path)) throw new Error(`${path} is another program's`);
  const hall: Hall = { options, refusal: undefined };
  const group = process.geteuid?.() === 0 ? groupNumber(readFileSync("/etc/group", "utf8")) : undefined;
  const { close } = await openPrivateServer({
    path,
    mode: SOCKET_MODE,
    ...(group === undefined ? {} : { group }),
    serve: (socket) => converse(hall, socket),
  });
  return {
    path,
    refuse(reason) {
      hall.refusal = reason;
    },
    close,
  };
}

/** The number of the group `postern` in the text of group(5). */
export function groupNumber(text: string): number | undefined {
  const line = text.split("\n").find((each) => each.startsWith(`${GROUP}:`));
  const number = line?.split(":")[2];
  return number === undefined || !/^\d+$/.test(number) ? undefined : Number(number);
}

interface Conversation {
  readonly hall: Hall;
  readonly socket: Socket;
  readonly methods: ControlMethods;
  badLines: number;
}

function converse(hall: Hall, socket: Socket): void {
  const reader = createLineReader();
  const conversation: Conversation = {
    hall,
    socket,
    methods: { ...hall.options.methods, subscribe: subscription(hall, socket) },
    badLines: 0,
  };
  socket.setTimeout(IDLE_MS, () => socket.destroy());
  socket.on("data", (chunk: Buffer) => {
    const lines = fenced(() => reader.push(chunk));
    if (!lines.ok) {
      hall.options.log.error?.("reading a request failed; its connection is closed", { error: lines.error });
      socket.destroy();
      return;
    }
    // Nothing more is read before these are answered, and their answers taken.
    socket.pause();
    void answerAll(conversation, lines.value).then(() => socket.resume());
  });
}

async function answerAll(conversation: Conversation, lines: readonly ReadLine[]): Promise<void> {
  const { socket } = conversation;
  for (const line of lines) {
    if (socket.destroyed) return;
    if (line.kind === "too-long") {
      socket.destroy();
      return;
    }
    await sent(socket, await answer(conversation, line));
    if (conversation.badLines >= BAD_LINES_MAX) socket.destroySoon();
    await otherWork();
  }
}

async function answer(
  conversation: Conversation,
  line: Exclude<ReadLine, { kind: "too-long" }>,
): Promise<string> {
  if (line.kind === "request") return await answerOne(conversation, line.request);
  conversation.badLines++;
  return errorLine(line.id, "bad_request", line.message);
}

async function answerOne({ hall, methods }: Conversation, request: ControlRequest): Promise<string> {
  if (hall.refusal !== undefined) return errorLine(request.id, "not_ready", hall.refusal);
  try {
    return resultLine(request.id, await answerRequest(methods, request));
  } catch (error) {
    if (error instanceof ControlRefusal) return errorLine(request.id, error.code, error.message);
    hall.options.log.error?.("a request could not be answered", { method: request.method, error });
    return errorLine(request.id, "internal", "the request could not be answered; the log says why");
  }
}

/** Resolves when the peer takes more, or is gone. */
function sent(socket: Socket, text: string): Promise<void> {
  if (socket.write(text)) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off("drain", done);
      socket.off("close", done);
      resolve();
    };
    socket.once("drain", done);
    socket.once("close", done);
  });
}

/** From the answer on, events follow; a second `subscribe` replaces the first. */
function subscription({ options }: Hall, socket: Socket) {
  const queue = createEventQueue();
  let end = (): void => {};

  function flush(): void {
    while (!socket.destroyed && !socket.writableNeedDrain) {
      const event = queue.shift();
      if (event === undefined) return;
      socket.write(`${JSON.stringify(event)}\n`);
    }
  }

  socket.on("drain", flush);
  socket.once("close", () => end());
  return method({ events: v.optional(v.array(v.picklist(EVENT_NAMES)), [...EVENT_NAMES]) }, ({ events }) => {
    end();
    socket.setTimeout(0);
    end = options.events.listen((event) => {
      if (!events.includes(event.event)) return;
      queue.push(event);
      flush();
    });
    return { events };
  });
}
