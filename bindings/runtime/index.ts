export { type Entry, entryFile, IS_EXECUTABLE, readBuiltModule, rootFile } from "./places.ts";
export {
  currentRuntime,
  programCommand,
  programVariables,
  programWords,
  RUNTIMES,
  type Runtime,
  runtimeLabel,
  runtimeVersion,
} from "./runtime.ts";
