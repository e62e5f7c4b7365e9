import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { startCommand } from "../command-in-process.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-bench-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

it.each(["--output", "--plot"])(
  "PG-201, PG-202: a file of %s that cannot be written is told of before anything is measured",
  async (option) => {
    for (const path of [join(folder, "none", "file"), folder]) {
      expect(await startCommand("bench", [option, path], { folder }).ended).toBe("file-unwritable");
    }
  },
);
