/**
 * ChaCha20 in the arrangement that a routine asks for, as statements of AssemblyScript.
 */
import { createHorizontal } from "./chacha-horizontal.mjs";
import { createVertical } from "./chacha-vertical.mjs";
import { maskLocals } from "./rotation.mjs";

/**
 * What a cipher offers. Its statements use the locals `key`, `np` (nonce), `counter` and `ks` (scratch):
 *
 *   blocks              blocks of keystream per batch
 *   isPaired            whether keystream can only leave through scratch memory
 *   scratchOffset(byte) where 16 bytes of keystream from `byte` lie in scratch, whose successive pieces
 *                       of one block are `scratchStep` bytes apart; `scratchOfBlock` gives the
 *                       expression for a block number known at run time
 *   init                statements that set the locals for the batch that begins with `counter`
 *   rounds              statements `enter` before all double rounds, of one `doubleRound`, and `leave`
 *   keystream(emit)     statements that hand out the batch, 16 bytes each, by `emit(byte, expression)`
 *
 * @param routine an entry of VARIANTS
 */
export function createCipher(routine) {
  const cipher = routine.layout === "vertical" ? createVertical(routine) : createHorizontal(routine);
  return {
    ...cipher,
    batchBytes: 64 * cipher.blocks,
    declare: [
      `let ${cipher.locals.map((v) => `${v} = i32x4.splat(0)`).join(", ")};`,
      "let counter: i32 = 0, k: i32 = 0;",
      ...maskLocals(routine.rotate),
    ],
    keystreamToScratch: (options) =>
      cipher.keystream((byte, value) => `v128.store(ks, ${value}, ${cipher.scratchOffset(byte)});`, options),
  };
}
