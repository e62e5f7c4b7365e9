/** The name of a worker's thread, as `top -H`, `ps -L` and `perf` show it (PG-65). */
import { OFFSETS } from "../memory/index.ts";
import type { SysCalls } from "../sys/index.ts";
import type { WorkerKind } from "../thread/index.ts";

/** The kernel keeps 15 characters. */
export const THREAD_NAMES: Readonly<Record<WorkerKind, string>> = {
  egress: "postern-egress",
  ingress: "postern-ingress",
  "relay-client": "postern-clients",
  "relay-peer": "postern-peers",
};

const WRITE_ONLY = 1;

/**
 * Names the thread that calls. By system calls, since in every runtime they are made on that thread itself; the
 * worker's field for the time holds the text meanwhile. A host without /proc shows the runtime's name: no harm.
 */
export function nameThread(
  sys: SysCalls,
  memory: WebAssembly.Memory,
  kind: WorkerKind,
  worker: number,
): void {
  const fd = sys.open("/proc/thread-self/comm", WRITE_ONLY, 0);
  if (fd < 0) return;
  const at = worker + OFFSETS.worker.time;
  const text = new TextEncoder().encode(THREAD_NAMES[kind]);
  new Uint8Array(memory.buffer, at, text.length).set(text);
  sys.write(fd, at, text.length);
  sys.close(fd);
}
