/**
 * Before each file of tests: programs that it starts keep locks, sockets and identifiers in folders of this file,
 * which are gone at its end, however the programs ended (TS-81). In a lab each machine has its own.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "pt-own-"));
for (const [variable, name] of [
  ["RUNTIME_DIRECTORY", "run"],
  ["STATE_DIRECTORY", "state"],
] as const) {
  const path = join(folder, name);
  mkdirSync(path);
  process.env[variable] = path;
}

afterAll(() => rmSync(folder, { recursive: true, force: true }));
