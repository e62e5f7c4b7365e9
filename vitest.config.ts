import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // as-pect runs the AssemblyScript specifications; what takes long is run by hand.
    exclude: ["assembly/**", "node_modules/**", "runtime/**", ".cache/**", "**/*.long.test.ts"],
    setupFiles: ["test/set-up.ts"],
    testTimeout: 20_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
  },
});
