/**
 * Threads under Deno: those of node:worker_threads, but for two things. The port that a thread holds cannot be
 * closed there; the thread's own global object ends it. And what a thread dies of Deno prints by itself, with its
 * stack, before anybody hears of it (2.9.6): so it is told as a message, as programs end with one line (PG-14).
 */
import { NODE_THREADS } from "./node.ts";
import type { Thread, ThreadBackEnd, ThreadPort } from "./thread.ts";

export const DENO_THREADS: ThreadBackEnd = { start: startThread, port: threadPort };

/** The last that a thread says. */
interface Death {
  readonly diedOf: unknown;
}

/** What is used of the global object of a thread. */
interface ThreadScope {
  addEventListener(
    kind: "error",
    handle: (event: { readonly error: unknown; preventDefault(): void }) => void,
  ): void;
  close(): void;
}

function startThread<Sent, Received>(url: URL, name: string): Thread<Sent, Received> {
  const thread = NODE_THREADS.start<Sent, Received | Death>(url, name);
  const died = new Promise<never>((_resolve, reject) => {
    thread.onMessage((message) => isDeath(message) && reject(message.diedOf));
  });
  const failed = Promise.race([thread.failed, died]);
  failed.catch(() => undefined);
  return {
    ...thread,
    failed,
    onMessage: (handle) => thread.onMessage((message) => isDeath(message) || handle(message)),
  };
}

function threadPort<Sent, Received>(): ThreadPort<Sent, Received> | undefined {
  const port = NODE_THREADS.port<Sent | Death, Received>();
  if (port === undefined) return undefined;
  const scope = globalThis as unknown as ThreadScope;
  scope.addEventListener("error", (event) => {
    event.preventDefault();
    port.post({ diedOf: event.error });
    scope.close();
  });
  return { ...port, close: () => scope.close() };
}

function isDeath(message: unknown): message is Death {
  return typeof message === "object" && message !== null && "diedOf" in message;
}
