/** Threads by node:worker_threads, which Deno and Bun have as well (PF-28). */
import { parentPort, Worker, workerData } from "node:worker_threads";
import type { Thread, ThreadBackEnd, ThreadPort } from "./thread.ts";

/** Marks a thread of ours: test runners run their files in threads, too. */
const MARK = "postern thread";

export const NODE_THREADS: ThreadBackEnd = { start: startThread, port: threadPort };

function startThread<Sent, Received>(url: URL, name: string): Thread<Sent, Received> {
  const worker = new Worker(url, { workerData: MARK, name });
  worker.unref();
  const exited = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
  const failed = new Promise<never>((_resolve, reject) => worker.once("error", reject));
  // The pool hears of a failure when the thread is taken; until then it must not end the process.
  failed.catch(() => undefined);
  return {
    exited,
    failed,
    post: (message) => worker.postMessage(message),
    onMessage: (handle) => void worker.on("message", handle),
    keepAlive: () => worker.ref(),
  };
}

function threadPort<Sent, Received>(): ThreadPort<Sent, Received> | undefined {
  const port = parentPort;
  if (port === null || workerData !== MARK) return undefined;
  return {
    post: (message) => port.postMessage(message),
    onMessage: (handle) => void port.on("message", handle),
    close: () => port.close(),
  };
}
