export { type Entry, entryFile, readBuiltModule, rootFile } from "./places.ts";
export {
  currentRuntime,
  programCommand,
  programWords,
  RUNTIMES,
  type Runtime,
  runtimeLabel,
  runtimeVersion,
} from "./runtime.ts";
