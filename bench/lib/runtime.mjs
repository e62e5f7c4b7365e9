/** Which Node the programs under test run on: `--runtime node20|node24|system|PATH` (G-1). */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../../scripts/steps.mjs";

const PINNED = join(ROOT, "runtime", "node_modules", `node-linux-${process.arch}`, "bin", "node");

/** @returns `{ path, version }` */
export function findRuntime(name) {
  const path = name === "node24" ? pinned() : name === "system" || name === "node20" ? "node" : name;
  const version = versionOf(path);
  if (version === undefined) throw new Error(`no runtime at ${path}`);
  const wanted = /^node(\d+)$/.exec(name)?.[1];
  if (wanted !== undefined && !version.startsWith(`v${wanted}.`)) {
    throw new Error(`--runtime ${name}: found ${version}; give the path of the executable instead`);
  }
  return { path, version };
}

function pinned() {
  if (!existsSync(PINNED)) {
    console.error("bench: installing Node 24 into runtime/");
    // Inside of the folder: --prefix would pass by the system's npmrc.
    spawnSync("npm", ["ci"], { cwd: join(ROOT, "runtime"), stdio: ["ignore", 2, 2] });
  }
  return PINNED;
}

function versionOf(path) {
  const { status, stdout } = spawnSync(path, ["--version"], { encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}
