/** What the build has compiled to WebAssembly. */
import { readFileSync } from "node:fs";

/** The bytes of `build/NAME.wasm`. */
export function readBuiltModule(name: string): Uint8Array<ArrayBuffer> {
  // The build folder is beside `bindings` for the sources, and above it for what tsc made of them.
  const folder = import.meta.url.endsWith(".ts") ? "../../build/" : "../../";
  return new Uint8Array(readFileSync(new URL(`${folder}${name}.wasm`, import.meta.url)));
}
