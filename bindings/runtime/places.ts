/**
 * Where the parts of a clone or a package lie. This code runs as it is, as what tsc makes of it (`build/src`,
 * `build/bindings`), as a part of the files that programs are bundled into (`build/program`), and inside of an
 * executable that Bun makes of those (PG-137).
 */
import { readFileSync } from "node:fs";

/** What is started by name: its source, whose name in the bundle is the key. */
const ENTRIES = {
  main: "src/cli/main",
  worker: "bindings/worker/main",
  tool: "src/program/demo/tool",
} as const;

export type Entry = keyof typeof ENTRIES;

type Form = "source" | "compiled" | "bundled" | "executable";

/** Where an executable of Bun's shows the files that are in it. */
const INSIDE_EXECUTABLE = "file:///$bunfs/root/";

const FORM = formOf(import.meta.url);
const ROOT =
  FORM === "executable"
    ? new URL(INSIDE_EXECUTABLE)
    : new URL(FORM === "compiled" ? "../../../" : "../../", import.meta.url);

/** Runtime and program are one file, which is started by itself. */
export const IS_EXECUTABLE = FORM === "executable";

/** A file of the clone, by its path from the root; a package has not all of them. */
export function rootFile(path: string): URL {
  return new URL(path, ROOT);
}

/** What starts as a program or a thread of its own, in the form that this code has. */
export function entryFile(entry: Entry): URL {
  if (FORM === "executable") return rootFile(`program/${entry}.js`);
  if (FORM === "bundled") return rootFile(`build/program/${entry}.js`);
  return rootFile(FORM === "compiled" ? `build/${ENTRIES[entry]}.js` : `${ENTRIES[entry]}.ts`);
}

/** The bytes of `build/NAME.wasm`. */
export function readBuiltModule(name: string): Uint8Array<ArrayBuffer> {
  const file = `${name}.wasm`;
  return new Uint8Array(readFileSync(rootFile(IS_EXECUTABLE ? file : `build/${file}`)));
}

function formOf(url: string): Form {
  if (url.endsWith("/bindings/runtime/places.ts")) return "source";
  if (url.endsWith("/bindings/runtime/places.js")) return "compiled";
  return url.startsWith(INSIDE_EXECUTABLE) ? "executable" : "bundled";
}
