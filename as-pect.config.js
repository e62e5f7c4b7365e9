/** How as-pect runs the AssemblyScript specifications: see docs/spec/plane-facts.md, PF-7 and PF-8. */
export default {
  entries: ["assembly/__tests__/**/*.spec.ts"],
  include: ["assembly/__tests__/**/*.include.ts"],
  disclude: [/node_modules/],
  /** Rooms that import system calls are tested from vitest, against the real module. */
  async instantiate(memory, createImports, instantiate, binary) {
    return instantiate(binary, createImports({ env: { memory } }));
  },
  outputBinary: false,
};
