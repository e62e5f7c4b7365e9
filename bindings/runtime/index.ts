export { currentRuntime, RUNTIMES, type Runtime } from "./runtime.ts";
