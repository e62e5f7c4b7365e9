import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { type Entry, entryFile, rootFile } from "../../../../bindings/runtime/index.ts";

const ENTRIES: readonly Entry[] = ["main", "worker", "tool"];
const folders: string[] = [];

interface Bundler {
  bundle(options: {
    readonly out: string;
    readonly load?: () => Promise<unknown>;
  }): Promise<{ readonly status: number; readonly output: string }>;
  isBundled(out: string): boolean;
}

const loadBundler = async (): Promise<Bundler> => await import(rootFile("scripts/bundle.mjs").href);

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "postern-bundle-"));
  folders.push(folder);
  return folder;
}

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

describe("D-32: where the parts lie", () => {
  it.each(ENTRIES)("%s is there for the sources, compiled, and bundled", (entry) => {
    const source = entryFile(entry).pathname.slice(rootFile("").pathname.length);
    expect(source).toMatch(/\.ts$/);
    for (const path of [source, `build/${source.replace(/ts$/, "js")}`, `build/program/${entry}.js`]) {
      expect(existsSync(rootFile(path)), path).toBe(true);
    }
  });

  it("code that tsc has made finds compiled code", async () => {
    const compiled: { entryFile: typeof entryFile } = await import(
      rootFile("build/bindings/runtime/index.js").href
    );
    expect(compiled.entryFile("worker")).toEqual(rootFile("build/bindings/worker/main.js"));
  });
});

describe("D-32: the bundle", () => {
  it("has the entries, what they share, and nothing of an earlier build", async () => {
    const out = temporaryFolder();
    const { bundle, isBundled } = await loadBundler();
    expect(await bundle({ out, load: () => Promise.reject(new Error("no bundler")) })).toMatchObject({
      status: 0,
    });
    expect(isBundled(out)).toBe(false);
    expect(readFileSync(join(out, "main.js"), "utf8")).toBe('export * from "../src/cli/main.js";\n');

    expect(await bundle({ out })).toEqual({ status: 0, output: "" });
    expect(isBundled(out)).toBe(true);
    const imported = readdirSync(out)
      .filter((name) => name.endsWith(".js"))
      .flatMap((name) => [
        ...readFileSync(join(out, name), "utf8").matchAll(/(?:from|import\() ?"\.\/([^"]+)"/g),
      ])
      .map((match) => match[1] ?? "");
    expect(imported.length).toBeGreaterThan(10);
    for (const name of imported) expect(readdirSync(out)).toContain(name);

    await bundle({ out, load: () => Promise.reject(new Error("no bundler")) });
    expect(readdirSync(out).sort()).toEqual([
      ...["candidates.js", "main.js", "postern-wg.js", "tool.js", "worker.js"],
    ]);
  });
});
