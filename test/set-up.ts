/**
 * Before each file of tests: programs that it starts keep locks, sockets and identifiers in folders of this file,
 * which are gone at its end, however the programs ended, or when a later file begins if it was killed (TS-81). In a lab each machine has its own.
 */
import { mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { makeOwnFolder } from "./own-folder.mjs";

const folder = makeOwnFolder(tmpdir());
for (const [variable, name] of [
  ["RUNTIME_DIRECTORY", "run"],
  ["STATE_DIRECTORY", "state"],
] as const) {
  const path = join(folder, name);
  mkdirSync(path);
  process.env[variable] = path;
}

// As the launcher starts Deno, which would ask its maker for newer versions, also by name servers of a test (D-28).
process.env["DENO_NO_UPDATE_CHECK"] = "1";

afterAll(() => rmSync(folder, { recursive: true, force: true }));
