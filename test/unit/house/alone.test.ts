import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ALONE } from "../../alone.mjs";

const ROOT = join(import.meta.dirname, "..", "..", "..");

it.each(Object.keys(ALONE))("TS-68: %s, which runs alone, is a file of the everyday command", (path) => {
  expect(path).toMatch(/^test\/(system|interop)\/[a-z-]+\.test\.ts$/);
  expect(existsSync(join(ROOT, path)), "vitest says nothing of a path that is not there").toBe(true);
  expect(ALONE[path], "a reason").not.toBe("");
});
