/** Runs in every test file of `npm run test:coverage`: writes down what its counters say at the end (TS-37). */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, expect } from "vitest";
import { COUNTING_IMPORT } from "../fuzz/loop/counting-import.mjs";
import { hashOf, MODULES } from "./modules.mjs";

declare global {
  /** By path of a source file: its counters. */
  var __postern_coverage: Record<string, Uint32Array> | undefined;
}

const FOLDER = fileURLToPath(new URL("../../.cache/coverage/", import.meta.url));
/** By hash of the module. */
const counted = new Map<string, Uint8Array>();
const BLOCKS_MAX = 1 << 14;

/** Modules of the plane are exchanged for those that count; all others stay as they are. */
function countModules(): void {
  const { Module, Instance } = WebAssembly;
  const hashes = new WeakMap<WebAssembly.Module, string>();
  WebAssembly.Module = new Proxy(Module, {
    construct(target, [bytes]: [Uint8Array<ArrayBuffer>]) {
      const hash = hashOf(bytes);
      const path = `${MODULES}/${hash}.wasm`;
      if (!existsSync(path)) return new target(bytes);
      const module = new target(readFileSync(path));
      hashes.set(module, hash);
      return module;
    },
  });
  WebAssembly.Instance = new Proxy(Instance, {
    construct(target, [module, imports]: [WebAssembly.Module, WebAssembly.Imports | undefined]) {
      const hash = hashes.get(module);
      if (hash === undefined) return new target(module, imports);
      const reached = counted.get(hash) ?? new Uint8Array(BLOCKS_MAX);
      counted.set(hash, reached);
      const count = (block: number): void => {
        reached[block] = 1;
      };
      return new target(module, { ...imports, env: { ...imports?.["env"], [COUNTING_IMPORT]: count } });
    },
  });
}

countModules();

afterAll(() => {
  const all = [...Object.entries(globalThis.__postern_coverage ?? {}), ...counted];
  const reached = all.map(([of, blocks]) => [of, [...blocks.keys()].filter((block) => blocks[block] !== 0)]);
  mkdirSync(FOLDER, { recursive: true });
  const name = (expect.getState().testPath ?? "").replace(/\W+/g, "-");
  writeFileSync(`${FOLDER}${name}.json`, JSON.stringify(Object.fromEntries(reached)));
});
