/** One file of a target, all it is made of, and the loop; what is ours and no test has counters. */
import { mkdirSync } from "node:fs";
import { join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { rolldown } from "rolldown";
import { ROOT } from "../../../scripts/steps.mjs";
import { instrument } from "./instrument.mjs";

const EXTERNAL = [/^node:/, /^bun:/, /^koffi$/, /^binaryen$/, /^fast-check$/, /^vitest$/];
const ENTRY = "\0entry";
/** How many counters there are for TypeScript; those of WebAssembly follow (`loop/counters.ts`). */
const BLOCKS_MAX = 1 << 16;

/** Whether coverage of that file tells anything: the code under test, neither tests nor libraries. */
function isMeasured(path) {
  return /^(src|bindings|test\/fuzz\/planted)\b/.test(path);
}

/**
 * @param module a file that exports `createTarget`, from the root of the clone
 * @param kind `whole`: no target and no loop, only the module itself
 * @returns the path of the bundle, and of each counter `[file, offset]`
 */
export async function bundleTarget(module, out, kind = "target") {
  const blocks = [];
  const build = await rolldown({
    input: { target: kind === "whole" ? join(ROOT, module) : ENTRY },
    cwd: ROOT,
    platform: "node",
    external: EXTERNAL,
    transform: { target: "node20" },
    logLevel: "silent",
    plugins: [entryOf(module), counting(blocks)],
  });
  mkdirSync(out, { recursive: true });
  await build.write({
    dir: out,
    format: "esm",
    entryFileNames: "[name].mjs",
    codeSplitting: false,
    banner: `const __blocks = (globalThis.__postern_blocks = new Uint32Array(${2 * BLOCKS_MAX}));`,
  });
  await build.close();
  if (blocks.length > BLOCKS_MAX) throw new Error(`${module} has ${blocks.length} blocks: raise BLOCKS_MAX`);
  return { path: join(out, "target.mjs"), blocks };
}

function entryOf(module) {
  const text = `
    import { runProcess } from ${JSON.stringify(join(ROOT, "test/fuzz/loop/process.ts"))};
    import { createTarget } from ${JSON.stringify(join(ROOT, module))};
    export const run = (options) => runProcess(createTarget, options);`;
  return {
    name: "entry",
    resolveId: (id) => (id === ENTRY ? ENTRY : undefined),
    load: (id) => (id === ENTRY ? { code: text, moduleType: "js" } : undefined),
  };
}

function counting(blocks) {
  return {
    name: "counting",
    transform(code, id) {
      if (!id.endsWith(".ts")) return undefined;
      const path = relative(ROOT, id);
      // The bundle lies elsewhere, and modules look for files beside themselves.
      const own = code.replaceAll("import.meta.url", JSON.stringify(pathToFileURL(id).href));
      if (!isMeasured(path)) return { code: own, map: null };
      const counted = instrument(own, blocks.length);
      blocks.push(...counted.places.map((offset) => [path, offset]));
      return { code: counted.code, map: null };
    },
  };
}
