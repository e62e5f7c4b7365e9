import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // as-pect runs the AssemblyScript specifications; what takes long is run by hand.
    exclude: ["assembly/**", "node_modules/**", "runtime/**", ".cache/**", "**/*.long.test.ts"],
    setupFiles: ["test/set-up.ts"],
    // Only what hangs reaches them (TS-3): a busy machine is a multiple slower.
    testTimeout: 120_000,
    hookTimeout: 180_000,
    maxWorkers: 2,
    // Concurrent tests of one file wait for programs that others wrote.
    maxConcurrency: 20,
  },
});
