import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { COMMANDS } from "../../src/cli/commands.ts";
import { postern as ourProgram } from "../lib/program.ts";
import { describeWith } from "../lib/requirements.ts";

const LAUNCHER = join(import.meta.dirname, "../../postern");
const VERSION = (JSON.parse(readFileSync("package.json", "utf8")) as { version: string }).version;

function postern(args: readonly string[], env: Record<string, string> = {}) {
  const [command, ...words] = ourProgram(...args);
  return spawnSync(command, words, { timeout: 60_000, encoding: "utf8", env: { ...process.env, ...env } });
}

describeWith(["build"], "the executable", () => {
  const FORMS = [
    (name: string) => ["help", name],
    (name: string) => [name, "--help"],
    (name: string) => [name, "-h"],
  ];

  it("PG-1: help goes to stdout with 0, for the whole and for each command, by all forms in turn", () => {
    const overview = postern(["help"]);
    expect(overview).toMatchObject({ status: 0, stderr: "" });
    for (const [index, { name }] of COMMANDS.entries()) {
      expect(overview.stdout).toContain(`  ${name} `);
      const { status, stdout } = postern(FORMS[index % FORMS.length]?.(name) ?? []);
      expect(status).toBe(0);
      expect(stdout).toContain("Examples:");
    }
  });

  it("PG-1: all forms give the same help", () => {
    const [first, ...others] = FORMS.map((form) => postern(form("gateway")).stdout);
    expect(others).toEqual([first, first]);
  });

  it.each(["-V", "--version"])("PG-1: %s prints the name and the version", (flag) => {
    expect(postern([flag])).toMatchObject({ status: 0, stdout: `postern ${VERSION}\n`, stderr: "" });
  });

  it.each([
    [["dmeo"], "postern: unknown command 'dmeo'; did you mean 'demo'?\n"],
    [["--verson"], "postern: unknown option '--verson'; did you mean '--version'?\n"],
    [["demo", "--jsno"], "postern: unknown option '--jsno' of demo; did you mean '--json'?\n"],
    [["demo", "stray"], "postern: demo: 'stray' is unexpected; usage: postern demo\n"],
    [
      ["demo", "--log", "loud"],
      "postern: unknown level 'loud' in log filter; known: off, error, warn, info, debug, trace\n",
    ],
    [
      ["demo", "--token=abc"],
      "postern: tokens are not accepted on the command line; use POSTERN_TOKEN or --token-path\n",
    ],
  ])("PG-1, PG-14: %j is one line on stderr and exit 2", (args, line) => {
    const { status, stdout, stderr } = postern(args);
    expect(stderr).toBe(line);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  });

  it("PG-4, PG-14: an env file that cannot be read is exit 3", () => {
    const { status, stderr } = postern(["demo", "--env-file", "/nonexistent"]);
    expect(status).toBe(3);
    expect(stderr).toMatch(/^postern: cannot read \/nonexistent: .*\n$/);
  });
});

describeWith(["build"], "the launcher", () => {
  it("D-28: starts the command from anywhere, also through a symbolic link", () => {
    const folder = mkdtempSync(join(tmpdir(), "postern-launch-"));
    const link = join(folder, "link");
    symlinkSync(LAUNCHER, link);
    const env = { ...process.env, POSTERN_RUNTIME: "system" };
    for (const command of [LAUNCHER, link]) {
      const { status, stdout } = spawnSync(command, ["--version"], {
        timeout: 60_000,
        cwd: folder,
        env,
        encoding: "utf8",
      });
      expect({ status, stdout }).toEqual({ status: 0, stdout: `postern ${VERSION}\n` });
    }
    rmSync(folder, { recursive: true });
  });

  it("PG-14: passes exit codes through, and refuses an unknown runtime with 2", () => {
    const run = (runtime: string, ...args: string[]) =>
      spawnSync(LAUNCHER, args, {
        timeout: 60_000,
        env: { ...process.env, POSTERN_RUNTIME: runtime },
        encoding: "utf8",
      });
    expect(run("system", "nonsense").status).toBe(2);
    const refused = run("fastest", "--version");
    expect(refused.status).toBe(2);
    expect(refused.stderr).toBe(
      "postern: POSTERN_RUNTIME is 'fastest'; known: system, node, node26, deno, bun\n",
    );
  });
});
