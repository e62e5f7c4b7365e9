/**
 * Builds when a source is saved, and then runs tests.
 *
 *   npm run watch                             builds
 *   npm run watch -- test/unit/ice [-t NAME]  builds, then vitest with these arguments
 *
 * For tests that start programs or workers, which run what is in build/. Where a test imports sources only,
 * `npx vitest FILE` watches by itself.
 */
import { spawn } from "node:child_process";
import { existsSync, watch } from "node:fs";
import { join } from "node:path";
import { BIN, ROOT } from "./steps.mjs";

const FOLDERS = ["src", "bindings", "assembly", "test", "scripts"];
/** An editor's save is several events. */
const QUIET_MS = 200;

/** Runs a program with our terminal; resolves to its exit status. */
function runHere(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: ROOT, stdio: "inherit" });
    child.on("error", () => resolve(127));
    child.on("close", (status) => resolve(status ?? 1));
  });
}

async function round(tests) {
  const status = await runHere(process.execPath, [join(ROOT, "scripts", "build.mjs")]);
  if (status === 0 && tests.length > 0) await runHere(join(BIN, "vitest"), ["run", ...tests]);
  console.error(
    status === 0 ? "watch: waiting for a change" : "watch: the build failed; waiting for a change",
  );
}

function main(tests) {
  let isRunning = false;
  let isDue = false;
  let timer;
  const start = async () => {
    if (isRunning) return;
    isRunning = true;
    while (isDue) {
      isDue = false;
      await round(tests);
    }
    isRunning = false;
  };
  const request = () => {
    isDue = true;
    clearTimeout(timer);
    timer = setTimeout(start, QUIET_MS);
  };
  for (const folder of FOLDERS.filter((name) => existsSync(join(ROOT, name)))) {
    watch(join(ROOT, folder), { recursive: true }, request);
  }
  request();
}

main(process.argv.slice(2));
