/**
 * The counters of a fuzzing process: those that the bundle carries (`instrument.mjs`) and those of WebAssembly.
 *
 * Every module that is compiled gets counters of its own (`count-wasm.mjs`). To the target that is invisible: the
 * constructors are wrapped.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { COUNTING_IMPORT } from "./counting-import.mjs";

/** Of what is done to modules: kept ones of another version are not used. */
const VERSION = "2";

declare global {
  /** Of the bundle: TypeScript's counters first, those of WebAssembly behind them. */
  var __postern_blocks: Uint32Array | undefined;
}

export interface Counters {
  readonly blocks: Uint32Array;
  /** Where those of WebAssembly begin. */
  readonly scriptBlocks: number;
  /** Where they end, so far. */
  end: number;
}

export function openCounters(scriptBlocks: number): Counters {
  const blocks = globalThis.__postern_blocks;
  if (blocks === undefined) throw new Error("the target was bundled without counters");
  return { blocks, scriptBlocks, end: scriptBlocks };
}

/**
 * From now on every module counts.
 * @param cache a folder for instrumented modules, by the hash of what they were and the number of their counters
 */
export async function countWasm(counters: Counters, cache: string): Promise<void> {
  const { withCounters } = await import("./count-wasm.mjs");
  const { blocks } = counters;
  const first = new WeakMap<WebAssembly.Module, number>();
  const { Module, Instance } = WebAssembly;
  mkdirSync(cache, { recursive: true });

  function instrumented(bytes: Uint8Array): { bytes: Uint8Array<ArrayBuffer>; count: number } {
    const hash = createHash("sha256").update(VERSION).update(bytes).digest("hex").slice(0, 20);
    const kept = readdirSync(cache).find((name) => name.startsWith(hash));
    if (kept !== undefined) {
      return { bytes: new Uint8Array(readFileSync(join(cache, kept))), count: Number(kept.split(/[-.]/)[1]) };
    }
    const made = withCounters(bytes);
    writeFileSync(join(cache, `${hash}-${made.count}.wasm`), made.bytes);
    return made;
  }

  WebAssembly.Module = new Proxy(Module, {
    construct(target, [original]: [Uint8Array]) {
      const { bytes, count } = instrumented(original);
      const module = new target(bytes);
      first.set(module, counters.end);
      counters.end += count;
      if (counters.end > blocks.length) throw new Error("too many counters: raise BLOCKS_MAX");
      return module;
    },
  });
  WebAssembly.Instance = new Proxy(Instance, {
    construct(target, [module, imports]: [WebAssembly.Module, WebAssembly.Imports | undefined]) {
      const at = first.get(module) ?? 0;
      const count = (id: number): void => {
        blocks[at + id] = (blocks[at + id] ?? 0) + 1;
      };
      return new target(module, { ...imports, env: { ...imports?.["env"], [COUNTING_IMPORT]: count } });
    },
  });
}
