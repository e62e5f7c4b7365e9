/**
 * One file that is Bun and Postern together (PG-137): needs nothing but the kernel and the C library.
 *
 *   node scripts/executable.mjs [FILE]    default: build/postern
 *
 * Workers are further entry points; the plane's modules are embedded as they are.
 */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { installPinned, pinnedPath } from "./runtimes.mjs";
import { ROOT } from "./steps.mjs";

const BUILD = join(ROOT, "build");

function main([file = join(BUILD, "postern")]) {
  const reason = installPinned("bun");
  if (reason !== undefined) throw new Error(`bun cannot be installed: ${reason}`);
  const programs = ["main", "worker"].map((name) => join(BUILD, "program", `${name}.js`));
  const modules = readdirSync(BUILD).filter((name) => name.endsWith(".wasm"));
  const options = [
    "--compile",
    "--root",
    BUILD,
    "--asset-naming",
    "[name].[ext]",
    "--outfile",
    resolve(file),
  ];
  const inputs = [...programs, ...modules.map((name) => join(BUILD, name))];
  const { status, stderr } = spawnSync(pinnedPath("bun"), ["build", ...options, ...inputs], {
    timeout: 600_000,
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`bun build failed: ${stderr}`);
}

main(process.argv.slice(2));
