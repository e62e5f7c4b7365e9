/** A copy of the tree, in which something is changed by a patch, built and run: seeded faults, comparisons. */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { ROOT } from "./steps.mjs";

const ASKED = { timeout: 60_000, encoding: "utf8" };

/** Git must not take a copy for a part of the clone around it. */
export function environmentOf(copy) {
  return { ...process.env, GIT_CEILING_DIRECTORIES: dirname(copy) };
}

/**
 * Copies everything that git knows or would take, the build with its times, and the packages by links.
 * @param skips says of a path below the root that it is left out
 */
export function copyTree(copy, skips = () => false) {
  const { stdout } = spawnSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    ...ASKED,
    cwd: ROOT,
    maxBuffer: 1 << 26,
  });
  for (const file of stdout.split("\0")) {
    if (file === "" || !existsSync(join(ROOT, file)) || skips(file)) continue;
    mkdirSync(dirname(join(copy, file)), { recursive: true });
    cpSync(join(ROOT, file), join(copy, file), { preserveTimestamps: true });
  }
  cpSync(join(ROOT, "build"), join(copy, "build"), {
    recursive: true,
    preserveTimestamps: true,
    filter: (from) => !skips(from.slice(ROOT.length + 1)),
  });
  for (const packages of ["node_modules", "runtime/node_modules"]) {
    if (existsSync(join(ROOT, packages))) symlinkSync(join(ROOT, packages), join(copy, packages));
  }
}

/** @returns why the patch does not apply there; `undefined`: it has been applied */
export function applyPatch(copy, patch, ...options) {
  const { status, stderr } = spawnSync("git", ["apply", ...options, patch], {
    ...ASKED,
    cwd: copy,
    env: environmentOf(copy),
  });
  return status === 0 ? undefined : stderr.trim();
}
