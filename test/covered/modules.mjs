/** Where modules with counters lie, and under which name: loaded with every test file, so it loads nothing itself. */
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";

export const MODULES = fileURLToPath(new URL("../../.cache/covered-wasm", import.meta.url));

/** The name of what a module stands for. */
export function hashOf(bytes) {
  return createHash("sha256").update(bytes).digest("hex").slice(0, 20);
}
