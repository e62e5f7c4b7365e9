/**
 * This tree without one thing that it has, built in `.cache/without/NAME`: what is the thing worth?
 *
 * The product keeps no switch for it. A patch beside this file takes it away from a copy of the tree; one that does not
 * apply any more is made anew by hand: change the sources, `git diff -U1 -- assembly > bench/compare/NAME.patch`, and
 * `git restore assembly`.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../../scripts/steps.mjs";
import { applyPatch, copyTree, environmentOf } from "../../scripts/tree-copy.mjs";
import { WORKED } from "../lib/limits.mjs";
import { removeAead } from "./aead.mjs";

const CACHE = join(ROOT, ".cache", "without");
/** Modules of the plane have a stamp by the hash of their sources: those of the last time are still good. */
const COMPILED = /^build\/(?:[\w-]+\.wasm|\.asc-[\w-]+)$/;

function patched(name) {
  return (copy) => applyPatch(copy, join(ROOT, "bench", "compare", `${name}.patch`));
}

/** By name: what takes the thing away, and what is measured of that unless somebody asks for something else. */
export const THINGS = {
  aead: {
    remove: removeAead,
    defaults: { cells: "tcp", mtu: "1420", pairs: "5", seconds: "4" },
  },
  "pf-79": {
    remove: patched("pf-79"),
    defaults: { cells: "tcp,udp-1200,ping", mtu: "1420,1280", pairs: "7", seconds: "2" },
  },
};

export class CannotBuild extends Error {}

/**
 * @param runtime for which the plane is built
 * @returns the folder of the built copy
 */
export function buildWithout(name, runtime) {
  const copy = join(CACHE, name);
  clear(copy);
  copyTree(copy, (path) => COMPILED.test(path));
  const refused = THINGS[name].remove(copy);
  if (refused !== undefined)
    throw new CannotBuild(
      `there is no tree without ${name}: ${refused}\nsee the head of bench/compare/without.mjs`,
    );
  console.error(`bench: building this tree without ${name} in ${copy.slice(ROOT.length + 1)}`);
  // In the runtime under test, which has the plane compiled for itself alone.
  const env = { ...environmentOf(copy), POSTERN_IS_LOCKED: "1" };
  const options = { cwd: copy, env, stdio: ["ignore", 2, 2] };
  const { status } = spawnSync(runtime.path, ["scripts/build.mjs", "--first"], { ...WORKED, ...options });
  if (status !== 0) throw new CannotBuild(`this tree without ${name} does not build`);
  return copy;
}

/** All but the compiled modules. */
function clear(copy) {
  if (!existsSync(copy)) return;
  const remove = (path) => rmSync(join(copy, path), { recursive: true, force: true });
  for (const file of readdirSync(copy)) if (file !== "build") remove(file);
  if (!existsSync(join(copy, "build"))) return;
  for (const file of readdirSync(join(copy, "build")).map((name) => `build/${name}`))
    if (!COMPILED.test(file)) remove(file);
}
