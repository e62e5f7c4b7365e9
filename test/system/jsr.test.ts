/** What would be published at jsr.io (PG-136); `deno publish --dry-run` needs no network. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { describeWith } from "../lib/requirements.ts";
import { findRuntime } from "../lib/runtimes.ts";

const read = (file: string) => JSON.parse(readFileSync(file, "utf8"));

describeWith(["deno", "build"], "the package for JSR", () => {
  it("PG-133, PG-136: can be published with all that the sources import, and the plane", () => {
    // Types are checked already, by `npm run check`.
    const args = ["publish", "--dry-run", "--allow-dirty", "--no-check"];
    const { status, stderr } = spawnSync(findRuntime("deno") ?? "deno", args, {
      encoding: "utf8",
      env: { ...process.env, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
      timeout: 120_000,
    });
    expect(status, stderr).toBe(0);
    for (const name of ["plane-turboshaft.wasm", "plane-turbofan.wasm", "relay.wasm"])
      expect(stderr).toMatch(new RegExp(`build/${name}`));
  });

  it("PG-133: has the version and the entries of the package for npm", () => {
    const [jsr, npm] = [read("jsr.json"), read("package.json")];
    expect(jsr.version).toBe(npm.version);
    const entries = Object.keys(npm.exports).filter((name) => !name.endsWith(".json"));
    expect(Object.keys(jsr.exports)).toEqual(entries);
  });
});
