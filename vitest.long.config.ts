import { defineConfig } from "vitest/config";

/** What takes minutes to hours: `npm run test:long [-- FILTER]`, by hand, one file after another. */
export default defineConfig({
  test: {
    include: ["test/**/*.long.test.ts"],
    setupFiles: ["test/set-up.ts"],
    testTimeout: 3_600_000,
    hookTimeout: 120_000,
    fileParallelism: false,
  },
});
