import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { compileVariant, readVariant, VARIANTS } from "./modules.ts";
import { dataSegments, mutableGlobals } from "./wasm-sections.ts";

/** 32-bit words, little-endian. */
const words = (...values: readonly number[]) => Buffer.from(Uint32Array.from(values).buffer).toString("hex");

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
};

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
  expect(() => execFileSync(process.execPath, [generator, "--check"])).not.toThrow();
});
