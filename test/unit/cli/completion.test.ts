/** Completion and man page, made from the tables, tried by the programs that read them where they are there. */
import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { COMMANDS } from "../../../src/cli/commands.ts";
import { formatCompletion, SHELLS } from "../../../src/cli/completion.ts";
import { formatMan } from "../../../src/cli/man.ts";

/** What bash offers behind these words; the last is the beginning of one. */
function complete(...words: readonly string[]): readonly string[] {
  const script = `${formatCompletion("bash", COMMANDS)}
COMP_WORDS=("$@")
COMP_CWORD=$(( $# - 1 ))
_postern
printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr, status } = spawnSync("bash", ["-c", script, "bash", ...words], {
    timeout: 60_000,
    encoding: "utf8",
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return stdout.split("\n").filter((line) => line !== "");
}

describe("bash", () => {
  it("PG-140: offers commands, then their words and options, then values", () => {
    expect(complete("postern", "cl")).toEqual(["client"]);
    expect(complete("postern", "help", "gate")).toEqual(["gateway"]);
    expect(complete("postern", "gateway", "set")).toEqual(["setup"]);
    expect(complete("postern", "service", "en")).toEqual(["enable"]);
    expect(complete("postern", "client", "--egress")).toEqual(["--egress-interface"]);
    expect(complete("postern", "client", "--log-format", "")).toEqual(["human", "json"]);
    expect(complete("postern", "portal", "--config", "/etc/host")).toContain("/etc/hosts");
    // Nobody knows which address it will be.
    expect(complete("postern", "client", "--api-url", "w")).toEqual([]);
  });

  it("PG-140: knows every option of every command", () => {
    for (const { name, options } of COMMANDS) {
      const offered = complete("postern", name, "--");
      expect(offered, name).toEqual(
        expect.arrayContaining(Object.keys(options).map((option) => `--${option}`)),
      );
    }
  });
});

describe("the others", () => {
  it.each(SHELLS)("PG-140: %s: each command and option is named, quotes are balanced", (shell) => {
    const text = formatCompletion(shell, COMMANDS);
    for (const { name, options } of COMMANDS) {
      expect(text).toContain(name);
      for (const option of Object.keys(options)) expect(text).toContain(option);
    }
    // The scripts have no comment or string but those in single quotes with an apostrophe of their own.
    expect((text.replaceAll("'\\''", "").match(/'/g)?.length ?? 0) % 2).toBe(0);
    expect(text).not.toContain("undefined");
  });

  it.each(["zsh", "fish"] as const)("PG-140: %s accepts its script, where it is installed", (shell) => {
    const { error, status, stderr } = spawnSync(shell, ["-n"], {
      timeout: 60_000,
      input: formatCompletion(shell, COMMANDS),
      encoding: "utf8",
    });
    if (error === undefined) expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });
});

describe("the man page", () => {
  const page = formatMan(COMMANDS);

  it("PG-140: has a section for each command, with each option", () => {
    for (const { name, options } of COMMANDS) {
      const section = page.split("\n.SS ").find((text) => text.startsWith(`postern ${name}`)) ?? "";
      for (const option of Object.keys(options)) {
        expect(section, name).toContain(`\\-\\-${option.replaceAll("-", "\\-")}`);
      }
    }
  });

  it("PG-140: every line with a dot in front is a request of man(7)", () => {
    const requests = page.split("\n").flatMap((line) => /^\.(\S*)/.exec(line)?.[1] ?? []);
    expect(new Set(requests)).toEqual(new Set(["TH", "SH", "B", "I", "SS", "TP", "PP", "IP", "br"]));
  });

  it("PG-140: groff has nothing to say about it, where it is installed", () => {
    const { error, stderr, stdout } = spawnSync("groff", ["-man", "-Tutf8", "-ww"], {
      timeout: 60_000,
      input: page,
      encoding: "utf8",
    });
    if (error !== undefined) return;
    expect(stderr).toBe("");
    // Bold is a character written over itself, in terminals of paper.
    const shown = stdout.split("\b").reduce((before, after) => before.slice(0, -1) + after);
    expect(shown).toContain("postern service print");
  });
});
