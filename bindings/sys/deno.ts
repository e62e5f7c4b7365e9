/**
 * The C library through `Deno.dlopen`, which takes an address fastest as a BigInt (PF-25, PF-26). Each
 * thread opens its own: `errno` belongs to the thread that called.
 */
import { PosternError } from "../../src/base/index.ts";
import { type CFunction, type CLibrary, type CType, LIBRARY_NAMES, withText } from "./c-library.ts";

/** What is used of the runtime's own object; its types are not those of Node. */
interface DenoFfi {
  dlopen(
    path: string,
    symbols: Readonly<Record<string, { readonly parameters: readonly string[]; readonly result: string }>>,
  ): { readonly symbols: Readonly<Record<string, (...values: readonly unknown[]) => unknown>> };
  readonly UnsafePointer: { of(view: Uint8Array): unknown; value(pointer: unknown): bigint };
  readonly UnsafePointerView: new (pointer: unknown) => { getInt32(): number };
}

const TYPES = {
  int: "i32",
  uint: "u32",
  ulong: "usize",
  pointer: "usize",
  text: "buffer",
} as const satisfies Record<CType, string>;

/**
 * Opens the C library for a shared memory.
 *
 * @throws PosternError `host` when the program may not use FFI, or the C library is not found.
 */
export function openDeno(memory: WebAssembly.Memory): CLibrary {
  const { Deno: ffi } = globalThis as unknown as { readonly Deno: DenoFfi };
  const path = findLibrary(ffi);
  const base = ffi.UnsafePointer.value(ffi.UnsafePointer.of(new Uint8Array(memory.buffer)));
  const location = symbol(ffi, path, "__errno_location", [], "pointer");
  return {
    base,
    address: (offset) => base + BigInt(offset),
    bind(name, parameters) {
      const call = symbol(
        ffi,
        path,
        name,
        parameters.map((type) => TYPES[type]),
        "i32",
      );
      // `i32` is a number in every call.
      if (!parameters.includes("text")) return call as CFunction;
      return (...values) => call(...values.map(withText)) as number;
    },
    errno: () => new ffi.UnsafePointerView(location()).getInt32(),
  };
}

function symbol(ffi: DenoFfi, path: string, name: string, parameters: readonly string[], result: string) {
  const found = ffi.dlopen(path, { [name]: { parameters, result } }).symbols[name];
  if (found === undefined) throw new PosternError("host", `the C library ${path} has no ${name}`);
  return found;
}

function findLibrary(ffi: DenoFfi): string {
  let cause: unknown;
  for (const path of LIBRARY_NAMES) {
    try {
      ffi.dlopen(path, {});
      return path;
    } catch (error) {
      cause ??= error;
    }
  }
  throw new PosternError(
    "host",
    "cannot make system calls: Deno cannot open the C library",
    "run it with --allow-ffi, or use --mode userspace",
    { cause },
  );
}
