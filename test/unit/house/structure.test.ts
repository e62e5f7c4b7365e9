import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "./sources.ts";

/** What the repository consists of. */
const TRACKED = spawnSync("git", ["ls-files", "-z"], { timeout: 60_000, cwd: ROOT, encoding: "utf8" })
  .stdout.split("\0")
  .filter((path) => path !== "" && existsSync(join(ROOT, path)));

const LINES_MAX = 500;

function read(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

function isCode(path: string): boolean {
  return /\.(ts|mjs|js|sh)$/.test(path) || path === "postern";
}

function isGenerated(path: string): boolean {
  return /generated (by|from)/i.test(read(path).slice(0, 400));
}

describe("the repository", () => {
  it(`style §2: no hand-written file has more than ${LINES_MAX} lines`, () => {
    const long = TRACKED.filter(isCode)
      .filter((path) => !isGenerated(path))
      .map((path) => [path, read(path).split("\n").length - 1] as const)
      .filter(([, lines]) => lines > LINES_MAX);
    expect(long).toEqual([]);
  });

  it("CONTRIBUTING: what a room of src promises is proved below test/unit, under the room's name", () => {
    const rooms = [...new Set(TRACKED.flatMap((path) => /^src\/([^/]+)\//.exec(path)?.[1] ?? []))];
    const proved = (room: string) => TRACKED.some((path) => path.startsWith(`test/unit/${room}/`));
    expect(rooms.filter((room) => !proved(room))).toEqual([]);
  });

  it("documents and rules name files and folders that exist", () => {
    // What is made when it is needed, and a name that stands for many.
    const absent = new Set(["test/quarantine", "test/mutants/NN.patch"]);
    const documents = TRACKED.filter((path) => /^[A-Z]+\.md$|^docs\/[\w/-]+\.md$/.test(path));
    const named = documents.flatMap((document) =>
      [
        ...read(document).matchAll(
          /`((?:src|bindings|assembly|test|scripts|docs|examples|bench)\/[\w./-]*\w)\/?`/g,
        ),
      ].map(([, path = ""]) => ({ document, path })),
    );
    expect(named.length).toBeGreaterThan(50);
    expect(named.filter(({ path }) => !absent.has(path) && !existsSync(join(ROOT, path)))).toEqual([]);
  });

  it("links between documents lead somewhere", () => {
    const links = TRACKED.filter((path) => path.endsWith(".md")).flatMap((document) =>
      [...read(document).matchAll(/\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)/g)].map(([, target = ""]) => ({
        document,
        target,
      })),
    );
    expect(links.length).toBeGreaterThan(30);
    const isThere = (path: string) => existsSync(join(ROOT, path));
    expect(links.filter(({ document, target }) => !isThere(join(dirname(document), target)))).toEqual([]);
  });

  it("style §2: files have names of the domain", () => {
    const shapeless = TRACKED.filter((path) =>
      /(^|\/)(helpers?|utils?|common|misc|manager|types)\.(ts|mjs)$/.test(path),
    );
    expect(shapeless).toEqual([]);
  });

  it("holds no path of a machine that somebody worked on", () => {
    const suspicious = TRACKED.filter(
      (path) => !path.startsWith("docs/spec/") && path !== "package-lock.json",
    )
      .filter((path) => statSync(join(ROOT, path)).size < 1 << 20)
      .filter((path) => /(^|[\s"'`(=])\/(work|home|root|Users)\/\w/m.test(read(path)));
    expect(suspicious).toEqual([]);
  });

  it("locks name versions and checksums, not where somebody's registry was", () => {
    for (const path of ["package-lock.json", "runtime/package-lock.json"]) {
      const { packages } = JSON.parse(read(path)) as { packages: Record<string, Record<string, unknown>> };
      const resolved = Object.entries(packages).filter(([, entry]) => "resolved" in entry);
      expect(resolved, path).toEqual([]);
      const unchecked = Object.entries(packages).filter(
        ([name, entry]) => name !== "" && !("integrity" in entry),
      );
      expect(unchecked, path).toEqual([]);
    }
  });

  it("pins every dependency exactly", () => {
    const manifest = JSON.parse(read("package.json")) as Record<string, Record<string, string>>;
    for (const kind of ["dependencies", "optionalDependencies", "devDependencies"]) {
      for (const [name, version] of Object.entries(manifest[kind] ?? {})) {
        expect(version, name).toMatch(/^\d+\.\d+\.\d+$/);
      }
    }
  });

  it("carries its licence and the documents of a project", () => {
    expect(read("LICENSE")).toMatch(/Apache License\s+Version 2\.0, January 2004/);
    for (const path of [
      "NOTICE",
      "README.md",
      "ARCHITECTURE.md",
      "CHANGELOG.md",
      "SECURITY.md",
      "CONTRIBUTING.md",
    ]) {
      expect(existsSync(join(ROOT, path)), path).toBe(true);
    }
  });
});
