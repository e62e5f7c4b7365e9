import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parsePortalFile } from "../../../src/portal/config/index.ts";
import { ROOT } from "./sources.ts";

const NOTHING_OUTSIDE = { readEnv: () => undefined, readFile: () => undefined };
const DEV = { gateway: "aa".repeat(32), relay: "bb".repeat(32), client: "cc".repeat(32) };

function example(name: string): string {
  return readFileSync(join(ROOT, "examples", name), "utf8");
}

describe("examples", () => {
  it("PT-110: portal.yaml passes `portal check` by itself", () => {
    expect(parsePortalFile(example("portal.yaml"), NOTHING_OUTSIDE)).toMatchObject({ ok: true });
  });

  it("PT-111: dev.yaml is what --dev takes, and README shows it", () => {
    const text = example("dev.yaml");
    expect(parsePortalFile(text, { ...NOTHING_OUTSIDE, dev: { tokens: DEV } })).toMatchObject({ ok: true });
    const shown = text.replace(/^#.*\n/, "");
    expect(readFileSync(join(ROOT, "README.md"), "utf8")).toContain(`\`\`\`yaml\n${shown}\`\`\``);
  });

  it("there is no example that nothing looks at", () => {
    // Programs are run by this one.
    const runs = readFileSync(join(ROOT, "test/system/examples.test.ts"), "utf8");
    const others = readdirSync(join(ROOT, "examples")).filter((name) => !runs.includes(`"examples/${name}"`));
    expect(others.sort()).toEqual(["dev.yaml", "portal.yaml"]);
  });
});
