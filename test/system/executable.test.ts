/** The executable that Bun makes of the programs (PG-137). */
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createLab } from "../../src/program/lab/index.ts";
import { describeWith } from "../lib/requirements.ts";
import { startWgPair } from "../lib/wg-ends.ts";

describeWith(["bun", "build", "netns", "tun", "wg"], "the executable", () => {
  let folder: string;
  let postern: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "postern-executable-"));
    postern = join(folder, "postern");
    execFileSync(process.execPath, ["scripts/executable.mjs", postern], { timeout: 600_000 });
    copyFileSync("examples/portal.yaml", join(folder, "portal.yaml"));
  });
  afterAll(() => folder !== undefined && rmSync(folder, { recursive: true }));

  /** Somewhere else than in the clone, and without a PATH in which a runtime could be found. */
  const run = (...args: readonly string[]) =>
    spawnSync(postern, args, { timeout: 600_000, cwd: folder, encoding: "utf8", env: { PATH: "" } });

  it("PG-137: starts by itself, and reads a portal's file", () => {
    expect(run("--version")).toMatchObject({ status: 0, stdout: expect.stringMatching(/^postern \d/) });
    const { status, stdout, stderr } = run("portal", "check", "portal.yaml");
    expect(status, stdout + stderr).toBe(0);
    expect(run("portal", "check", "nothing.yaml").status).toBe(3);
  });

  it("PG-137: has workers and the plane in it: postern wg carries, and ends", async () => {
    const lab = createLab();
    try {
      const { near, far, program } = await startWgPair(lab, [postern]);
      const args = ["-c", "3", "-i", "0.1", "-w", "10", far.inner];
      expect(await near.namespace.run("ping", args, { withinMs: 15_000 })).toContain("3 received");
      expect(await program.stop()).toMatchObject({ status: 0 });
    } finally {
      await lab.close();
    }
  }, 60_000);
});
