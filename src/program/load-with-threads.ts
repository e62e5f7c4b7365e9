/**
 * The threads of the plane's workers come up on another processor while this one loads the program that
 * needs them: `postern wg` is ready 40 to 50 ms earlier (G-15).
 */
import {
  type PlaneThreads,
  spawnPlaneThreads,
  TUNNEL_WORKERS,
  type WorkerKind,
} from "../../bindings/thread/index.ts";
import { PosternError } from "../base/index.ts";

export interface LoadedProgram<Program> {
  readonly program: Program;
  readonly threads: PlaneThreads;
}

export async function loadWithThreads<Program>(
  load: () => Promise<Program>,
  kinds: readonly WorkerKind[] = TUNNEL_WORKERS,
): Promise<LoadedProgram<Program>> {
  const threads = spawnPlaneThreads(kinds);
  // Both: no thread may be compiling while the choice of the cipher variant changes V8's flags (D-26).
  const [program] = await Promise.all([load(), threads.loaded]);
  return { program, threads };
}

/**
 * Without a TUN device there is one pair of workers, or none (PG-122, PG-176).
 * @throws PosternError `usage`
 */
export function refusePairs({ threads }: { readonly threads: number }): void {
  if (threads === 1) return;
  throw new PosternError(
    "usage",
    "--threads needs the TUN device: --mode userspace has no queues to share out",
  );
}
