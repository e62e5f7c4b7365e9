/** The tests of the loop itself (TS-41, testing.md §10). */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { instrument } from "./loop/instrument.mjs";

const RUN = fileURLToPath(new URL("run.mjs", import.meta.url));

/** What the loop finds in a target that lies beside the others. */
async function find(module: string): Promise<{ readonly kind: string; readonly message: string } | null> {
  const args = [RUN, "--module", module, "--time", "60", "--seed", "1"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    output += chunk;
  });
  await new Promise((resolve) => child.on("close", resolve));
  return JSON.parse(output);
}

describe("the loop", () => {
  it.each([
    ["TypeScript", "test/fuzz/planted/script.ts", /^Error: planted/],
    ["WebAssembly", "test/fuzz/planted/wasm.ts", /^RuntimeError: unreachable/],
  ])(
    "TS-40, TS-41: finds a defect behind three bytes in %s",
    async (_, module, message) => {
      expect(await find(module)).toMatchObject({ kind: "throws", message: expect.stringMatching(message) });
    },
    120_000,
  );
});

describe("counters in TypeScript", () => {
  /** How often each counter of a function's code counted. */
  function count(code: string, ...args: readonly unknown[]): readonly number[] {
    const { code: counting, places } = instrument(`(${code})`, 0);
    const blocks = places.map(() => 0);
    new Function("__blocks", "args", `${counting}(...args)`)(blocks, args);
    return blocks;
  }

  it.each([
    ["a function", "function (a) { a; }", [1], [1]],
    ["an `if` without `else`, taken", "(a) => { if (a) a; }", [true], [1, 0, 1]],
    ["an `if` without `else`, not taken", "(a) => { if (a) a; }", [false], [1, 1, 0]],
    ["`else if`", "(a) => { if (a > 2) a; else if (a > 1) a; else a; }", [2], [1, 0, 1, 1, 0]],
    ["both sides of a choice", "(a) => (a ? 1 : 2)", [0], [1, 0, 1]],
    ["the right side of `&&`", "(a) => a > 1 && a > 2", [2], [1, 1]],
    ["the right side of `??`, not needed", "(a) => a ?? 0", [2], [1, 0]],
    ["each round of a loop", "(a) => { for (const b of a) b; }", [[1, 2, 3]], [1, 3]],
    [
      "cases, and those that lead on",
      "(a) => { switch (a) { case 1: case 2: a; break; default: a; } }",
      [2],
      [1, 0, 1, 0],
    ],
    ["a `catch`", "(a) => { try { throw a; } catch { a; } }", [1], [1, 1]],
  ] as const)("TS-41: %s counts", (_, code, args, expected) => {
    expect(count(code, ...args)).toEqual(expected);
  });

  it("TS-41: types are no code", () => {
    const { code } = instrument("type A = B extends C ? D : E;\nconst a = b as F;", 0);
    expect(code).toBe("type A = B extends C ? D : E;\nconst a = b as F;");
  });
});
