export { openSysCalls } from "./open.ts";
export { createScratch, PAGE_BYTES, type Scratch, type ScratchArea, type ScratchRoom } from "./scratch.ts";
export type { PlaneCalls, SysCalls } from "./sys-calls.ts";
