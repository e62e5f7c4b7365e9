/** The C library as a back end offers it: one file per runtime. */

/** Types of parameters; every function here returns an `int`. */
export type CType = "int" | "uint" | "ulong" | "pointer" | "text";

/** An absolute address as the runtime's FFI takes it fastest. */
export type Address = number | bigint;

export type CFunction = (...values: readonly (Address | string)[]) => number;

/** The C library of the process, with a shared memory whose bytes it reads and writes. */
export interface CLibrary {
  /** Absolute address of the memory's first byte. */
  readonly base: bigint;
  address(offset: number): Address;
  bind(name: string, parameters: readonly CType[]): CFunction;
  errno(): number;
}

/** glibc, and musl under the names that it has on the two architectures (PG-138). */
export const LIBRARY_NAMES = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];

/** A value as an FFI without strings takes it: a text is bytes with a zero behind. */
export function withText(value: Address | string): Address | Uint8Array {
  return typeof value === "string" ? new TextEncoder().encode(`${value}\0`) : value;
}
