import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { PosternError } from "../../../src/base/index.ts";
import { obstacleTo, parseScript, readScript } from "../../../src/program/demo/script.ts";

describe("the demo's script", () => {
  it("PG-86: steps stand between commas, blanks or on lines, with comments", () => {
    const steps = ["roam", "kill-relay", "start-relay", "roam"];
    expect(parseScript("roam,kill-relay, start-relay,roam")).toEqual({ ok: true, value: steps });
    expect(parseScript("roam # to the café\nkill-relay\n\nstart-relay roam\n")).toEqual({
      ok: true,
      value: steps,
    });
  });

  it.each([
    ["", "has no step"],
    ["# nothing\n", "has no step"],
    ["roam,fly", "has 'fly', which is none of roam, kill-relay, start-relay"],
    ["start-relay", "has 'start-relay' where the relay runs"],
    ["kill-relay,kill-relay", "has 'kill-relay' where the relay is dead"],
    ["kill-relay,roam", "has 'roam' where the relay is dead: nobody would tell the client its new address"],
    ["roam,".repeat(101), "has more than 100 steps"],
  ])("PG-86: %j is refused", (text, reason) => {
    expect(parseScript(text)).toMatchObject({ ok: false, reason });
  });

  it("PG-86: a hundred steps are taken, and each step knows when it makes sense", () => {
    expect(parseScript("roam,".repeat(100))).toMatchObject({ ok: true });
    expect(obstacleTo("start-relay", false)).toBeUndefined();
    expect(obstacleTo("roam", true)).toBeUndefined();
    expect(obstacleTo("kill-relay", true)).toBeUndefined();
  });

  it("PG-86: a file is read, and what is wrong with it is named", () => {
    const folder = mkdtempSync(join(tmpdir(), "postern-script-"));
    const file = join(folder, "steps");
    try {
      writeFileSync(file, "kill-relay\nstart-relay\n");
      expect(readScript(file)).toEqual(["kill-relay", "start-relay"]);
      writeFileSync(file, "sleep\n");
      expect(() => readScript(file)).toThrow(PosternError);
      expect(() => readScript(file)).toThrow(/--script .*steps has 'sleep'/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
