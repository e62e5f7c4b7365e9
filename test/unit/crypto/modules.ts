/** The compiled variants, for tests: what is tested is what `npm run build` made. */
import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";

export const VARIANTS = ["turbofan", "turboshaft", "wide", "jsc"] as const;

export function readVariant(name: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(new URL(`../../../build/plane-${name}.wasm`, import.meta.url)));
}

/** Compiles a variant. Node 20 knows the two of relaxed SIMD only behind a flag. */
export function compileVariant(name: string): WebAssembly.Module {
  const isNewer = Number.parseInt(process.versions.node, 10) >= 22;
  if (!isNewer) setFlagsFromString("--experimental-wasm-relaxed-simd");
  return new WebAssembly.Module(readVariant(name));
}
