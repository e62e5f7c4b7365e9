export { readBuiltModule } from "./built-module.ts";
export { currentRuntime, RUNTIMES, type Runtime } from "./runtime.ts";
