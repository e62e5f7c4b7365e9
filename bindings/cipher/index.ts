export { KERNEL_NAMES, type KernelName, type RuntimeFacts, readRuntimeFacts } from "./candidates.ts";
export { type CandidateReport, chooseKernel, type KernelChoice, type KernelOptions } from "./choice.ts";
export {
  type AeadExports,
  type Bench,
  createOracle,
  findFault,
  type Oracle,
  openBench,
  openMany,
  sealMany,
  warmUp,
} from "./self-test.ts";
