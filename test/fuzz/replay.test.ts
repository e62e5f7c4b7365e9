/**
 * The everyday part of fuzzing (TS-43): what has ever been worth keeping, and everything that has ever failed, once
 * more. `npm run test:fuzz -- --time 600` lets the corpora grow.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { nameOf, packCorpus, unpackCorpus } from "./loop/archive.ts";
import type { CreateTarget } from "./target.ts";

const FOLDER = new URL("./", import.meta.url);
const CORPUS_BYTES_MAX = 1 << 20;
const NAMES = readdirSync(new URL("targets", FOLDER)).map((name) => name.replace(".ts", ""));

function corpusOf(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`corpus/${name}.tar.gz`, FOLDER)));
}

function crashesOf(name: string): readonly string[] {
  const folder = new URL(`crashes/${name}/`, FOLDER);
  return existsSync(folder) ? readdirSync(folder) : [];
}

describe.each(NAMES)("TS-42: %s", (name) => {
  it("TS-38, TS-43: no input of its corpus, and none that ever failed, is a finding", {
    timeout: 60_000,
  }, async () => {
    const { createTarget }: { createTarget: CreateTarget } = await import(`./targets/${name}.ts`);
    const target = createTarget();
    const inputs = [
      ...target.seeds.map((input, i) => [`seed ${i}`, input] as const),
      ...unpackCorpus(corpusOf(name)).map((input) => [nameOf(input), input] as const),
      ...crashesOf(name).map((crash) => {
        const bytes = readFileSync(new URL(`crashes/${name}/${crash}`, FOLDER));
        return [`crash ${crash}`, new Uint8Array(bytes)] as const;
      }),
    ];
    expect(inputs.length).toBeGreaterThan(target.seeds.length);
    for (const [which, input] of inputs) {
      try {
        target.run(input);
      } catch (cause) {
        throw new Error(`${name}, ${which}: ${cause instanceof Error ? cause.message : cause}`, { cause });
      }
    }
  });

  it("TS-43: its corpus is small, and the same bytes whoever packs it", () => {
    const packed = corpusOf(name);
    expect(packed.length).toBeLessThanOrEqual(CORPUS_BYTES_MAX);
    const inputs = unpackCorpus(packed);
    expect(unpackCorpus(packCorpus([...inputs].reverse()))).toEqual(inputs);
    expect(packCorpus(inputs)).toEqual(packCorpus([...inputs].reverse()));
  });
});
