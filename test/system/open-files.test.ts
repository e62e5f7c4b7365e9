import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";

/** The launcher under a limit of open files, hard unless said otherwise. */
function start(limit: string) {
  const { status, stdout, stderr } = spawnSync("sh", ["-c", `${limit}; exec ./postern --version`], {
    encoding: "utf8",
    env: { ...process.env, POSTERN_RUNTIME: "system" },
  });
  return { status, stdout, stderr };
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

  it("PG-161: of 256 is enough", () => {
    expect(start("ulimit -n 256").status).toBe(0);
  });
});
