export { CIPHER_NAMES, type CipherName, type RuntimeFacts, readRuntimeFacts } from "./candidates.ts";
export { type CandidateReport, type CipherChoice, type CipherOptions, chooseCipher } from "./choice.ts";
export {
  type AeadExports,
  type Bench,
  createOracle,
  findFault,
  type Oracle,
  openBench,
  openMany,
  openSingly,
  sealMany,
  sealSingly,
  warmUp,
} from "./self-test.ts";
