export { runWg } from "./run-wg.ts";
