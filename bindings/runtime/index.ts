export { type Entry, entryFile, readBuiltModule, rootFile } from "./places.ts";
export { currentRuntime, RUNTIMES, type Runtime } from "./runtime.ts";
