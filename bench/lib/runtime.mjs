/** Which runtime the programs under test run on: `--runtime node20|node24|node26|deno|bun|system|PATH` (G-1). */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { installPinned, PINNED, pinnedPath } from "../../scripts/runtimes.mjs";
import { ASKED } from "./limits.mjs";

/** @returns `{ path, version, label, words }`: its program, and the words between that and the file to run */
export function findRuntime(name) {
  const path = name in PINNED ? pinned(name) : name === "system" || name === "node20" ? "node" : name;
  const version = versionOf(path);
  if (version === undefined) throw new Error(`no runtime at ${path}`);
  const wanted = /^node(\d+)$/.exec(name)?.[1];
  if (wanted !== undefined && !version.startsWith(`v${wanted}.`)) {
    throw new Error(`--runtime ${name}: found ${version}; give the path of the executable instead`);
  }
  const maker = name === "deno" || name === "bun" ? name : "node";
  return { path, version, label: `${maker} ${version}`, words: PINNED[name]?.words ?? [] };
}

function pinned(name) {
  if (!existsSync(pinnedPath(name))) {
    console.error(`bench: installing ${name} into ${PINNED[name].folder}/`);
    const reason = installPinned(name);
    if (reason !== undefined) console.error(reason);
  }
  return pinnedPath(name);
}

/** Deno prints more than its version. */
function versionOf(path) {
  const { status, stdout } = spawnSync(path, ["--version"], { ...ASKED, encoding: "utf8" });
  return status === 0 ? (/v?\d+\.\d+\.\d+/.exec(stdout)?.[0] ?? stdout.trim()) : undefined;
}
