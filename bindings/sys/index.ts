export { openSysCalls } from "./node.ts";
export { createScratch, type Scratch, type ScratchArea, type ScratchRoom } from "./scratch.ts";
export type { PlaneCalls, SysCalls } from "./sys-calls.ts";
