/**
 * Threads under Deno: those of node:worker_threads, but the port that a thread holds cannot be closed there;
 * the thread's own global object ends it.
 */
import { NODE_THREADS } from "./node.ts";
import type { ThreadBackEnd, ThreadPort } from "./thread.ts";

export const DENO_THREADS: ThreadBackEnd = { start: NODE_THREADS.start, port: threadPort };

function threadPort<Sent, Received>(): ThreadPort<Sent, Received> | undefined {
  const port = NODE_THREADS.port<Sent, Received>();
  if (port === undefined) return undefined;
  const thread = globalThis as unknown as { close(): void };
  return { ...port, close: () => thread.close() };
}
