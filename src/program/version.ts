import { currentRuntime, runtimeLabel } from "../../bindings/runtime/index.ts";

/** The release of this program; a test compares it with `package.json`. */
export const VERSION = "0.1.0";

/** What runs it: `node 24.21.0`. */
export const RUNTIME = runtimeLabel();

/** The runtime of record for speed (D-28). */
const FASTEST_NODE = 24;

/** Names a faster runtime than this one; undefined where there is none. Bun's cipher is the slowest (PF-28a). */
export function fasterRuntime(): string | undefined {
  const isOld = Number(process.versions.node.split(".")[0]) < FASTEST_NODE;
  return isOld || currentRuntime() === "bun" ? `node ${FASTEST_NODE}` : undefined;
}
