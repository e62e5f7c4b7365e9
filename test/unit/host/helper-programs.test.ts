import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runLater } from "../../../src/host/helper-programs.ts";
import { findHelper, helperEnvironment } from "../../../src/host/index.ts";

let folder = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-helper-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function addProgram(name: string, mode = 0o755): string {
  const path = join(folder, name);
  writeFileSync(path, "#!/bin/sh\necho found\n");
  chmodSync(path, mode);
  return path;
}

/** More than the kernel takes (E2BIG), of which Node tells by throwing at once. */
const TOO_LONG = "x".repeat(4 << 20);

describe("PG-173: a helper in the background", () => {
  const limits = { timeout: 60_000 };

  it("is given its input, and gives what it prints", async () => {
    expect(await runLater("cat", [], limits, "told")).toBe("told");
  });

  it.each([
    ["fails", "false", []],
    ["is not there", "no-such-program", []],
    ["cannot be started now", "true", [TOO_LONG]],
  ] as const)("TS-64: gives nothing when it %s", async (_, name, parameters) => {
    expect(await runLater(name, parameters, limits)).toBeUndefined();
  });
});

describe("PG-173: helper programs", () => {
  it("are looked for in PATH, then in the folders for administrators, each once", () => {
    expect(helperEnvironment({ PATH: `${folder}:/sbin`, A: "b" })).toEqual({
      PATH: `${folder}:/sbin:/usr/local/sbin:/usr/sbin`,
      A: "b",
    });
    expect(helperEnvironment({})["PATH"]).toBe("/usr/local/sbin:/usr/sbin:/sbin");
  });

  it("a program of PATH is found by its path, one that cannot be executed is not", () => {
    const path = addProgram("postern-helper");
    expect(findHelper("postern-helper", { PATH: `/nowhere:${folder}` })).toBe(path);
    expect(findHelper("postern-helper", { PATH: "/nowhere" })).toBeUndefined();
    addProgram("postern-plain", 0o644);
    // Root may execute nothing that nobody may.
    expect(findHelper("postern-plain", { PATH: folder })).toBeUndefined();
  });

  it("a program that lies in /usr/sbin or /sbin is found and started with an ordinary user's PATH", () => {
    const ordinary = { PATH: "/usr/local/bin:/usr/bin:/bin" };
    // Every Debian has it, for every user, in one of the two.
    expect(findHelper("ldconfig", ordinary)).toMatch(/^(\/usr)?\/sbin\/ldconfig$/);
    const { status } = spawnSync("ldconfig", ["--version"], {
      timeout: 60_000,
      env: helperEnvironment(ordinary),
    });
    expect(status).toBe(0);
    expect(spawnSync("ldconfig", ["--version"], { timeout: 60_000, env: ordinary }).error).toMatchObject({
      code: "ENOENT",
    });
  });
});
