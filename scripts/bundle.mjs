/**
 * Puts what a program loads into a few files: `build/program/`, from the sources.
 *
 * Of what a start costs, opening some 300 modules one by one was the largest part. Each entry becomes one file,
 * and what several of them need becomes files that they share. Source maps lead back to the sources.
 */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./steps.mjs";

const OUT = join(ROOT, "build", "program");
/** What is started by name; `bindings/runtime/places.ts` says where the running program finds each. */
const ENTRIES = {
  main: "src/cli/main.ts",
  "postern-wg": "src/cli/postern-wg.ts",
  worker: "bindings/worker/main.ts",
  tool: "src/program/demo/tool.ts",
  candidates: "bindings/cipher/candidates.ts",
};
/** Not JavaScript alone, or another runtime's own. */
const EXTERNAL = [/^node:/, /^bun:/, /^koffi$/];

/**
 * Bundles the programs. Where this machine cannot run the bundler, they are what tsc makes.
 * @returns `{ status, output }` as `step` wants them
 */
export async function bundle({ out = OUT, load = () => import("rolldown") } = {}) {
  mkdirSync(out, { recursive: true });
  const rolldown = await load().then(
    (module) => module.rolldown,
    () => undefined,
  );
  try {
    removeAllBut(out, rolldown === undefined ? writeStandIns(out) : await write(out, rolldown));
    return { status: 0, output: "" };
  } catch (error) {
    return { status: 1, output: error.message };
  }
}

/** Whether the programs are bundled, rather than what tsc makes. */
export function isBundled(out = OUT) {
  return existsSync(join(out, "main.js.map"));
}

async function write(out, rolldown) {
  const input = Object.fromEntries(Object.entries(ENTRIES).map(([name, path]) => [name, join(ROOT, path)]));
  const build = await rolldown({
    input,
    cwd: ROOT,
    platform: "node",
    external: EXTERNAL,
    transform: { target: "node20" },
    logLevel: "warn",
  });
  const { output } = await build.write({
    dir: out,
    format: "esm",
    sourcemap: true,
    entryFileNames: "[name].js",
    // A program that runs while this builds finds what it loads later: names change with the contents.
    chunkFileNames: "[name]-[hash].js",
  });
  await build.close();
  return output.map(({ fileName }) => fileName);
}

/** Each entry leads to the file that tsc makes of its source. */
function writeStandIns(out) {
  return Object.entries(ENTRIES).map(([name, path]) => {
    writeFileSync(join(out, `${name}.js`), `export * from "../${path.replace(/ts$/, "js")}";\n`);
    return `${name}.js`;
  });
}

function removeAllBut(out, names) {
  for (const name of readdirSync(out)) {
    if (!names.includes(name)) rmSync(join(out, name), { force: true });
  }
}
