/**
 * The runtimes that are pinned below `runtime/` (design D-28): where each lies, and how it starts a file.
 *
 *   node scripts/runtimes.mjs NAME…    installs those that are missing; ends with 1 where one cannot be
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ROOT } from "./steps.mjs";

const NODE = `node-linux-${process.arch}/bin/node`;
const BUN = `@oven/bun-linux-${process.arch === "arm64" ? "aarch64" : process.arch}/bin/bun`;

/** `words` stand between the runtime's program and the file; the launcher has the same. */
export const PINNED = {
  node24: { folder: "runtime", program: NODE, words: ["--"] },
  node26: { folder: "runtime/node26", program: NODE, words: ["--"] },
  deno: {
    folder: "runtime/deno",
    program: `@deno/linux-${process.arch}-glibc/deno`,
    words: ["run", "--allow-all", "--no-lock"],
  },
  bun: { folder: "runtime/bun", program: BUN, words: ["--no-env-file", "--no-install"] },
};

/** Its program, whether it is installed or not. */
export function pinnedPath(name) {
  const { folder, program } = PINNED[name];
  return join(ROOT, folder, "node_modules", program);
}

/**
 * Installs it unless it is there. Inside of the folder: with `--prefix` npm would pass by the system's npmrc.
 *
 * @returns what npm said where it failed
 */
export function installPinned(name) {
  if (existsSync(pinnedPath(name))) return undefined;
  const cwd = join(ROOT, PINNED[name].folder);
  const { status, stderr } = spawnSync("npm", ["ci"], { cwd, encoding: "utf8", timeout: 300_000 });
  if (status === 0 && existsSync(pinnedPath(name))) return undefined;
  return stderr.trim() || `npm ci in ${PINNED[name].folder} failed`;
}

function main(names) {
  for (const name of names) {
    const reason = installPinned(name);
    if (reason === undefined) continue;
    console.error(`${name} could not be installed into ${PINNED[name].folder}: ${reason}`);
    process.exitCode = 1;
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) main(process.argv.slice(2));
