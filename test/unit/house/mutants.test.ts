import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "./sources.ts";

const FOLDER = join(ROOT, "test", "mutants");
const PATCHES = readdirSync(FOLDER).filter((name) => name.endsWith(".patch"));

function valuesOf(text: string, key: string): readonly string[] {
  return [...text.matchAll(new RegExp(`^${key}: (.+)$`, "gm"))].map(([, value = ""]) => value);
}

describe("seeded faults (TS-45)", () => {
  it("TS-45: every fault of the table has its patch, in the same words", () => {
    const specification = readFileSync(join(ROOT, "docs", "spec", "testing.md"), "utf8");
    const rows = [...specification.matchAll(/^\| (\d+) \| ([\w ]+) \| ([^|]+) \| [^|]*\|$/gm)];
    const table = rows.map(([, number = "", room, fault]) => [number.padStart(2, "0"), `${room}: ${fault}`]);
    const patches = PATCHES.map((name) => [
      name.replace(".patch", ""),
      valuesOf(readFileSync(join(FOLDER, name), "utf8"), "Fault")[0],
    ]);
    expect(table).toHaveLength(30);
    expect(patches).toEqual(table);
  });

  it.each(PATCHES)(
    "TS-45: %s still applies, and its tests exist (else: --take of test/mutants/run.mjs)",
    (name) => {
      const path = join(FOLDER, name);
      const { stderr } = spawnSync("git", ["apply", "--check", path], {
        timeout: 600_000,
        cwd: ROOT,
        encoding: "utf8",
      });
      expect(stderr).toBe("");
      const tests = valuesOf(readFileSync(path, "utf8"), "Test");
      expect(tests.length).toBeGreaterThan(0);
      expect(tests.filter((test) => !existsSync(join(ROOT, test)))).toEqual([]);
    },
  );

  it("TS-45: a patch without a fault is told to survive, and fails the run", () => {
    const folder = mkdtempSync(join(tmpdir(), "postern-mutants-"));
    try {
      writeFileSync(join(folder, "99.patch"), "Fault: none\nTest: test/unit/base/json.test.ts\n");
      const runner = join(FOLDER, "run.mjs");
      const { status, stdout } = spawnSync(process.execPath, [runner, "--patches", folder], {
        timeout: 600_000,
        encoding: "utf8",
      });
      expect(stdout).toContain("SURVIVES test/unit/base/json.test.ts");
      expect(status).toBe(1);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }, 60_000);
});
