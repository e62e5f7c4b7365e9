/**
 * Keeps the compiler from copying what is rarely called into what is called for every packet.
 *
 * The module for Node 20 is compiled for speed: each function of up to 70 nodes is copied into its callers,
 * since that V8 inlines nothing by itself. Handshakes and drops are few beside packets, and the copies of what
 * they need made the module 5 % larger.
 */
import { Transform } from "assemblyscript/transform";

/** Patterns of Binaryen's names, FILE/FUNCTION. */
const COLD = [
  "assembly/guard/*",
  "assembly/crypto/blake2s/*",
  "assembly/crypto/xaead/*",
  "assembly/batch/punt/*",
  "assembly/counters/dropped",
  "assembly/loop/errno/*",
];

// biome-ignore lint/style/noDefaultExport: the compiler takes a transform by its default export.
export default class extends Transform {
  afterCompile(module) {
    for (const pattern of COLD) {
      this.binaryen.setPassArgument("no-inline", pattern);
      module.runPasses(["no-inline"]);
    }
    this.binaryen.clearPassArguments();
  }
}
