import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { instrument } from "./test/fuzz/loop/instrument.mjs";

const ROOT = fileURLToPath(new URL(".", import.meta.url));

/** `npm run test:coverage`: what has counters, and what writes them down (TS-37). */
export default defineConfig({
  plugins: [
    {
      name: "postern-coverage",
      enforce: "pre",
      transform(code, id) {
        const path = relative(ROOT, id);
        if (!/^(src|bindings)\/.*\.ts$/.test(path)) return undefined;
        const { code: counting, places } = instrument(code, 0);
        const blocks = `((globalThis.__postern_coverage ??= {})[${JSON.stringify(path)}] ??= `;
        // In front of the first line: lines keep their numbers.
        const counters = `const __blocks = ${blocks}new Uint32Array(${places.length}));`;
        return { code: `${counters}${counting}`, map: null };
      },
    },
  ],
  test: {
    include: ["test/**/*.test.ts"],
    // The last two are about the sources and the modules themselves, which counters change.
    exclude: [
      ...["node_modules/**", "runtime/**", ".cache/**", "**/*.long.test.ts"],
      ...["test/unit/house/**", "test/unit/crypto/modules.test.ts"],
    ],
    setupFiles: ["test/set-up.ts", "test/covered/collect.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
  },
});
