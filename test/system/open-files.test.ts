import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { postern } from "../lib/program.ts";

/** The launcher under a limit of open files, hard unless said otherwise. */
function start(limit: string) {
  const { status, stdout, stderr } = spawnSync("sh", ["-c", `${limit}; exec ./postern --version`], {
    timeout: 60_000,
    encoding: "utf8",
    env: { ...process.env, POSTERN_RUNTIME: "system" },
  });
  return { status, stdout, stderr };
}

/** A command without the launcher. */
function startAlone(limit: string, ...args: readonly string[]) {
  const command = `${limit}; exec "$0" "$@"`;
  return spawnSync("sh", ["-c", command, ...postern(...args)], { timeout: 60_000, encoding: "utf8" });
}

describe("a limit of open files", () => {
  it.each([16, 32, 255])("PG-161: of %i is refused with one line, not with a stack", (files) => {
    const { status, stdout, stderr } = start(`ulimit -n ${files}`);
    expect(status).toBe(8);
    expect(stdout).toBe("");
    expect(stderr).toMatch(
      /^postern: at least 256 open files are needed, the hard limit is \d+; raise it .*\n$/,
    );
  });

  it("PG-161: that is only soft is raised", () => {
    const { status, stdout } = start("ulimit -S -n 32");
    expect(stdout).toMatch(/^postern \d/);
    expect(status).toBe(0);
  });

  it.each([
    [32, ["client", "--check"]],
    [40, ["gateway", "--check"]],
    [64, ["wg", "wg0.conf"]],
    [128, ["portal", "--dev"]],
    [255, ["relay"]],
  ])("PG-161: of %i ends any command with one line also without the launcher", (files, args) => {
    const { status, stdout, stderr } = startAlone(`ulimit -n ${files}`, ...args);
    expect(stderr).toMatch(
      /^postern: at least 256 open files are needed, the hard limit is \d+; raise it .*\n$/,
    );
    expect({ status, stdout }).toEqual({ status: 8, stdout: "" });
  });

  it("PG-161: of 256, or a soft one below, loads every command's modules without the launcher", () => {
    for (const limit of ["ulimit -n 256", "ulimit -S -n 64"]) {
      expect(startAlone(limit, "portal", "check", "missing.yaml").status).toBe(3);
      expect(startAlone(limit, "client", "--check", "--api-url", "ws://127.0.0.1:9").stderr).not.toContain(
        "EMFILE",
      );
    }
  });

  it("PG-161: of 256 is enough", () => {
    expect(start("ulimit -n 256").status).toBe(0);
  });
});
