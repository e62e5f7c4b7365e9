/**
 * The C library through koffi, for Node has no FFI of its own: pointers are plain numbers (PF-17, PF-18).
 * Each thread opens its own: `errno` belongs to the thread that called.
 */
import { createRequire } from "node:module";
import { PosternError } from "../../src/base/index.ts";
import type { CFunction, CLibrary, CType } from "./c-library.ts";

type Koffi = typeof import("koffi");

const TYPES = {
  int: "int",
  uint: "uint32_t",
  ulong: "ulong",
  pointer: "uintptr_t",
  text: "str",
} as const satisfies Record<CType, string>;

/**
 * Opens the C library for a shared memory.
 *
 * @throws PosternError `host` when koffi or the C library cannot be loaded (PG-134).
 */
export function openKoffi(memory: WebAssembly.Memory): CLibrary {
  const koffi = loadKoffi();
  const library = loadLibrary(koffi);
  // A shared buffer itself is refused by `address`; a view on it is not (PF-17).
  const base = koffi.address(new Uint8Array(memory.buffer));
  // User addresses lie below 2^47, so the sum with an offset stays exact.
  const start = Number(base);
  return {
    base,
    address: (offset) => start + offset,
    bind(name, parameters) {
      const types = parameters.map((type) => TYPES[type]);
      const call: CFunction = library.func(name, "int", types);
      return call;
    },
    errno: () => koffi.errno(),
  };
}

/** glibc under its fixed name; on musl the C library is already part of the process. */
function loadLibrary(koffi: Koffi): ReturnType<Koffi["load"]> {
  try {
    return koffi.load("libc.so.6");
  } catch {
    return koffi.load(null);
  }
}

function loadKoffi(): Koffi {
  try {
    return createRequire(import.meta.url)("koffi") as Koffi;
  } catch (cause) {
    throw new PosternError(
      "host",
      "cannot make system calls: the optional package koffi is not installed for this platform",
      "install with optional dependencies (npm install --include=optional), or use --mode userspace",
      { cause },
    );
  }
}
