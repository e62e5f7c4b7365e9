import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { COMMANDS } from "../../../src/cli/commands.ts";
import { formatCommand, formatDocument, formatOverview } from "../../../src/cli/help.ts";

describe("help", () => {
  it("PG-1: names every command in the overview, within 100 columns", () => {
    const text = formatOverview(COMMANDS, "1.2.3");
    for (const { name } of COMMANDS) expect(text).toMatch(new RegExp(`^  ${name} `, "m"));
    for (const line of text.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
  });

  it.each(COMMANDS.map((command) => [command.name, command] as const))(
    "PG-6: %s: every option stands in the help once, with examples",
    (_, command) => {
      const text = formatCommand(command);
      for (const name of Object.keys(command.options)) {
        expect(text.match(new RegExp(`--${name}(?=[ \\n])`, "g"))?.length, name).toBeGreaterThanOrEqual(1);
      }
      expect(command.examples.length).toBeGreaterThan(0);
      expect(text).not.toContain("undefined");
    },
  );

  it("style §10: docs/commands.md is what the tables make (npm run build && node scripts/gen/commands.mjs)", () => {
    expect(readFileSync("docs/commands.md", "utf8")).toBe(formatDocument(COMMANDS));
  });

  it("TS-75: every command and option that README shows exists", () => {
    const readme = readFileSync("README.md", "utf8");
    const lines = [...readme.matchAll(/^ {4}.*\.\/postern (\w+)(.*)$/gm)];
    expect(lines.length).toBeGreaterThan(3);
    for (const [, name = "", rest = ""] of lines) {
      const command = COMMANDS.find((candidate) => candidate.name === name);
      expect(command?.name ?? `README's '${name}'`).toBe(name);
      for (const [, option = ""] of rest.matchAll(/--([a-z-]+)/g)) {
        expect(Object.keys(command?.options ?? {}), `README: ${name}`).toContain(option);
      }
    }
  });
});
