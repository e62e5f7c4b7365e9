import { defineConfig } from "vitest/config";

/** For `test/unit/house/hung-files.test.ts`: one file of tests that never ends, and one that does. */
export default defineConfig({
  test: {
    include: ["test/planted/*.planted.ts"],
    setupFiles: ["test/set-up.ts"],
    reporters: [["./test/hung-files.mjs", { limitMs: 3_000 }], "json"],
    maxWorkers: 2,
  },
});
