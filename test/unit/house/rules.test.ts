import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { REASON_NAMES } from "../../../bindings/memory/reasons.ts";
import { ROOT } from "./sources.ts";

/** Where the rules are cited that a test is not about. */
const CITED = { "docs/todo/room.md": "| SN-1, SN-2 | all of it |\n" };

const SPECIFICATION = `# A room

- **SN-1** A rule of two lines,
  of which this is the second.
- **SN-2** Another.

| goal | figure |
| --- | --- |
| G-1 | twice |

## Another heading
`;

/** What `scripts/rule.mjs` says of a repository that consists of these files. */
function rule(args: readonly string[], files: Record<string, string> = {}): ReturnType<typeof run> {
  const root = mkdtempSync(join(tmpdir(), "postern-rules-"));
  try {
    for (const [path, text] of Object.entries({ "docs/spec/room.md": SPECIFICATION, ...files })) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    return run([...args, "--root", root]);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

function run(args: readonly string[], script = "rule.mjs") {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(ROOT, "scripts", script), ...args], {
    timeout: 60_000,
    encoding: "utf8",
  });
  return { status, lines: stdout.trimEnd().split("\n"), stderr };
}

describe("reasons of drops and who counts them", () => {
  const reason = (...args: readonly string[]) => run(args, "reason.mjs");

  it("a reason is shown with its meaning, rule, code and tests, as the table or a snapshot spells it", () => {
    const { status, lines } = reason("not-allowed");
    expect({ status, first: lines[0] }).toEqual({
      status: 0,
      first: "not-allowed: source is not granted to the client",
    });
    expect(lines[1]).toMatch(/^ {2}rule TN-62/);
    expect(lines.filter((line) => /^ {2}assembly\/.*Drop\.NOT_ALLOWED/.test(line))).not.toEqual([]);
    expect(lines.filter((line) => line.startsWith("  test/unit/plane/drops.test.ts"))).not.toEqual([]);
    expect(reason("drop_not_allowed").lines).toEqual(lines);
  });

  it("every reason of the table is known to it; an unknown one is exit 2 with those near it", () => {
    const listed = reason().stderr.trimEnd().split("\n");
    expect(listed.map((line) => line.trim().split(" ")[0])).toEqual(REASON_NAMES.slice(1));
    expect(reason("too-big")).toMatchObject({ status: 2, stderr: expect.stringContaining("ip-too-big") });
  });
});

describe("rules of the specification and who cites them", () => {
  it("every cited rule exists, and none stands without words", () => {
    expect(run(["--check"])).toEqual({ status: 0, lines: [""], stderr: "" });
  });

  it("a citation of a rule that does not exist is named with its place", () => {
    const unknown = ["SN", "3"].join("-");
    const { status, lines } = rule(["--check"], {
      ...CITED,
      "src/a.ts": `// Fine (SN-1).\n// Wrong (${unknown}, G-1).\n`,
    });
    expect(status).toBe(1);
    expect(lines).toEqual([`src/a.ts:2: no rule ${unknown}`]);
  });

  it.each([
    ["/** SN-1. */", 1],
    ["const a = 1; // SN-1, SN-2", 1],
    ["// see SN-1", 1],
    ["/** What it is for (SN-1). */", 0],
    ["// SN-1: first come, first served.", 0],
    ["expect(a, 'SN-1').toBe(1);", 0],
  ])("a comment of ids alone is a fault: %s", (line, faults) => {
    const { status, lines } = rule(["--check"], { ...CITED, "src/a.ts": `${line}\n` });
    expect(status).toBe(faults);
    expect(lines[0]?.startsWith("src/a.ts:1: nothing but a rule's id") ?? false).toBe(faults === 1);
  });

  it("a number that two rules have is a fault", () => {
    const { status, lines } = rule(["--check"], { ...CITED, "docs/spec/z.md": "**SN-1** Something else.\n" });
    expect(status).toBe(1);
    expect(lines).toEqual(["docs/spec/z.md:1: SN-1 is also the rule at docs/spec/room.md:3"]);
  });

  it("a rule that neither code nor test nor docs/todo cites is named", () => {
    const { status, lines } = rule(["--check"], { "src/a.ts": "/** Does it (SN-1). */\n" });
    expect(status).toBe(1);
    expect(lines).toEqual(["docs/spec/room.md:5: nobody cites SN-2: neither code nor test nor docs/todo"]);
  });

  it("shows the rule's text, the code and the tests that cite it, ranges included", () => {
    const { lines } = rule(["sn-1"], {
      "src/a.ts": "/** Does it (SN-1). */\n",
      "test/a.test.ts": 'it("SN-1 to SN-2: works");\n',
      "docs/todo/room.md": "| SN-1 | all of it |\n",
    });
    expect(lines).toEqual([
      "SN-1  docs/spec/room.md:3",
      "",
      "- **SN-1** A rule of two lines,",
      "  of which this is the second.",
      "",
      "Code",
      "  src/a.ts:1  /** Does it (SN-1). */",
      "",
      "Tests",
      '  test/a.test.ts:1  it("SN-1 to SN-2: works");',
      "",
      "Documents",
      "  docs/todo/room.md:1  | SN-1 | all of it |",
      "",
      "docs/todo says what of it is missing.",
    ]);
  });

  it("a rule in the middle of a range is cited by it, and one row of a table is one rule", () => {
    expect(rule(["SN-2"], { "test/a.test.ts": 'it("SN-1–2: works");\n' }).lines).toContain(
      '  test/a.test.ts:1  it("SN-1–2: works");',
    );
    expect(rule(["G-1"]).lines.slice(0, 4)).toEqual(["G-1  docs/spec/room.md:9", "", "| G-1 | twice |", ""]);
  });

  it("an unknown rule is exit 2", () => {
    const unknown = ["SN", "9"].join("-");
    expect(rule([unknown])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining(`no rule ${unknown}`),
    });
  });
});
