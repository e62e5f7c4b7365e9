import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { compileVariant, readVariant, VARIANTS } from "./modules.ts";
import { dataSegments, mutableGlobals } from "./wasm-sections.ts";

/** 32-bit words, little-endian. */
const words = (...values: readonly number[]) => Buffer.from(Uint32Array.from(values).buffer).toString("hex");

/** RFC 7693 §2.7. */
const SIGMA = [
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
  [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
  [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
  [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
  [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
  [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
  [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
  [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
  [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
  [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];
/** Even and odd words of each half, as offsets: what the four vectors of a round take. */
const schedule = SIGMA.flatMap((round) =>
  [0, 8].flatMap((half) =>
    [0, 1].flatMap((odd) => [0, 2, 4, 6].map((i) => 4 * (round[half + i + odd] ?? 0))),
  ),
);

/** All constant tables of the plane, in hexadecimal. A new one belongs here, and must never be written to. */
const TABLES = {
  "2^32 and 2^34 − 1 of Poly1305": "0000000001000000" + "ffffffff03000000",
  "shuffles by 16 and by 8":
    "0203000106070405" + "0a0b08090e0f0c0d" + "0300010207040506" + "0b08090a0f0c0d0e",
  "constants of ChaCha20, counters":
    words(0x61707865).repeat(8) +
    words(0x3320646e).repeat(8) +
    words(0x79622d32).repeat(8) +
    words(0x6b206574).repeat(8) +
    words(0, 1, 2, 3, 4, 5, 6, 7),
  "message schedule of BLAKE2s": Buffer.from(schedule).toString("hex"),
  "head of the filter against floods (PG-160)":
    passingUnless(0x80, 0, 156) +
    passingUnless(0x20, 8, 0x01000000) +
    words(0x20, 140) +
    [144, 148, 152].map((at) => words(0x07, 0, 0x20, at, 0x4c, 0)).join("") +
    words(0x0003_0015, 0) +
    [0x0004_0035, 0x0001_0035].map((test) => words(0x20, 0xfffff038, test, 0, 0x06, 0xffffffff)).join(""),
};

/** Three instructions: a packet passes unless what is loaded from `at` is that number. */
function passingUnless(load: number, at: number, value: number): string {
  return words(load, at, 0x0001_0015, value, 0x06, 0xffffffff);
}

describe.each(VARIANTS)("module of the plane, variant %s", (name) => {
  const bytes = readVariant(name);

  test("PF-12: its data segments are the known constant tables, above the layout's first page", () => {
    const segments = dataSegments(bytes);
    const found = segments.map((segment) => Buffer.from(segment.bytes).toString("hex"));
    expect(found).toEqual(expect.arrayContaining(Object.values(TABLES)));
    for (const segment of found) expect(Object.values(TABLES)).toContain(segment);
    for (const { address } of segments) expect(address).toBeGreaterThanOrEqual(65536);
  });

  test("PF-11: it has no global that changes, so nothing is allocated either", () => {
    expect(mutableGlobals(bytes)).toBe(0);
  });

  test("PF-5: it imports one memory, and functions of `sys` only", () => {
    const imports = WebAssembly.Module.imports(compileVariant(name));
    expect(imports.filter(({ kind }) => kind === "memory")).toEqual([
      { module: "env", name: "memory", kind: "memory" },
    ]);
    for (const { kind, module } of imports) {
      if (kind !== "memory") expect({ kind, module }).toEqual({ kind: "function", module: "sys" });
    }
  });
});

test("D-26: the variants in the tree are what their generator makes", () => {
  const generator = fileURLToPath(new URL("../../../scripts/gen/aead.mjs", import.meta.url));
  expect(() => execFileSync(process.execPath, [generator, "--check"], { timeout: 60_000 })).not.toThrow();
});
