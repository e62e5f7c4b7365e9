/**
 * The C library through `bun:ffi`, which takes addresses as numbers (PF-27). Each thread opens its own:
 * `errno` belongs to the thread that called.
 */
import { createRequire } from "node:module";
import { PosternError } from "../../src/base/index.ts";
import { type CLibrary, type CType, LIBRARY_NAMES, withText } from "./c-library.ts";

/** What is used of the runtime's own module; its types are not those of Node. */
interface BunFfi {
  dlopen(
    path: string,
    symbols: Readonly<Record<string, { readonly args: readonly string[]; readonly returns: string }>>,
  ): { readonly symbols: Readonly<Record<string, (...values: readonly unknown[]) => number>> };
  ptr(view: Uint8Array): number;
  readonly read: { i32(address: number): number };
}

const TYPES = {
  int: "i32",
  uint: "u32",
  ulong: "u64",
  pointer: "ptr",
  text: "ptr",
} as const satisfies Record<CType, string>;

/**
 * Opens the C library for a shared memory.
 *
 * @throws PosternError `host` when the C library is not found.
 */
export function openBun(memory: WebAssembly.Memory): CLibrary {
  const ffi = createRequire(import.meta.url)("bun:ffi") as BunFfi;
  const path = findLibrary(ffi);
  const start = ffi.ptr(new Uint8Array(memory.buffer));
  const location = symbol(ffi, path, "__errno_location", [], "ptr");
  return {
    base: BigInt(start),
    address: (offset) => start + offset,
    bind(name, parameters) {
      const call = symbol(
        ffi,
        path,
        name,
        parameters.map((type) => TYPES[type]),
        "i32",
      );
      if (!parameters.includes("text")) return call;
      return (...values) => call(...values.map(withText));
    },
    errno: () => ffi.read.i32(location()),
  };
}

function symbol(
  ffi: BunFfi,
  path: string,
  name: string,
  args: readonly string[],
  returns: string,
): (...values: readonly unknown[]) => number {
  const found = ffi.dlopen(path, { [name]: { args, returns } }).symbols[name];
  if (found === undefined) throw new PosternError("host", `the C library ${path} has no ${name}`);
  return found;
}

function findLibrary(ffi: BunFfi): string {
  let cause: unknown;
  for (const path of LIBRARY_NAMES) {
    try {
      ffi.dlopen(path, { geteuid: { args: [], returns: "i32" } });
      return path;
    } catch (error) {
      cause ??= error;
    }
  }
  throw new PosternError("host", "cannot make system calls: Bun cannot open the C library", undefined, {
    cause,
  });
}
