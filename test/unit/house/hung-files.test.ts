import { spawn } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "..", "..", "..");
const VITEST = join(ROOT, "node_modules", "vitest", "vitest.mjs");

it("TS-82: a file that never ends is named with its place, and is ended; the others run on", async () => {
  const args = [VITEST, "run", "--config", "test/planted/vitest.config.ts"];
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  const said = { out: "", err: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    said.out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said.err += text;
  });
  const status = await new Promise((resolve) => child.on("close", resolve));
  expect(status).toBe(1);
  expect(said.err).toContain("HANGS test/planted/hangs.planted.ts: ");
  expect(said.err).toContain("turnForEver");
  expect(said.out).toContain('"numPassedTests":1,');
});
