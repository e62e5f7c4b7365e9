/**
 * The four variants of the AEAD and the routines each is made of (D-26, PF-52).
 *
 * A routine is one pair of functions, `seal` and `open`, around one arrangement of ChaCha20:
 *
 *   layout       "vertical": a v128 holds the same state word of four blocks; `sets` such groups of 16.
 *                "horizontal": a v128 holds one row of one block; `blocks` blocks side by side.
 *   upToBytes    the longest message the routine is chosen for; absent for the variant's main routine.
 *   rotate       how words turn left by 16 and 8: see rotation.mjs.
 *   isParked     (vertical) whether two words of row c are kept in memory by turns: see chacha-vertical.mjs.
 *   areConstantsLoaded  (vertical) whether ChaCha20's constants come from memory.
 *   ending       (vertical) the routine whose arrangement the last batch of opening takes when it is enough;
 *                it uses the same locals.
 *   isMacSpread  whether the statements of Poly1305 are spread evenly through a double round.
 *   macBlocks    blocks of Poly1305 that one double round carries.
 *
 * The numbers are measurements of V8 11.3 (Node 20), V8 13.6 (Node 24) and JavaScriptCore (Bun).
 */

const SHORT = { name: "short", layout: "horizontal", blocks: 2, upToBytes: 64, macBlocks: 2 };
const FOUR = {
  name: "four",
  layout: "vertical",
  sets: 1,
  isParked: false,
  areConstantsLoaded: false,
  macBlocks: 2,
};
const PARKED_FOUR = { ...FOUR, isParked: true, areConstantsLoaded: true };
const EIGHT = { ...PARKED_FOUR, name: "eight", sets: 2, macBlocks: 3 };

export const VARIANTS = {
  turbofan: {
    summary: [
      "For V8's TurboFan (Node 20, with --turbo-instruction-scheduling): plain SIMD, constant swizzle masks.",
      "TurboFan moves all scalar operations of a basic block before its vector operations whatever the",
      "order in the source; its scheduler flag undoes that, so spreading the MAC has no effect here (PF-47).",
    ],
    routines: [
      { ...SHORT, rotate: "constant-swizzle", isMacSpread: false },
      { ...FOUR, rotate: "constant-swizzle", isMacSpread: false },
    ],
  },
  turboshaft: {
    summary: [
      "For V8 since 12 without AVX2: relaxed swizzle by masks held in locals, because Turboshaft",
      "materialises a constant mask again at every use (PF-51). It keeps the order of the source: the MAC",
      "is spread through the double round.",
    ],
    routines: [
      { ...SHORT, rotate: "relaxed-swizzle", isMacSpread: true },
      { ...PARKED_FOUR, rotate: "relaxed-swizzle", isMacSpread: true },
    ],
  },
  wide: {
    summary: [
      "For V8's revectoriser (Node 24 and later, --experimental-wasm-revectorize, AVX2): eight blocks in",
      "two isomorphic sets that V8 merges into 256-bit operations. Rotations are shifts, since one swizzle",
      "makes the whole tree fail (PF-68, PF-69).",
    ],
    routines: [
      { ...SHORT, rotate: "relaxed-swizzle", isMacSpread: true },
      { ...PARKED_FOUR, upToBytes: 192, rotate: "relaxed-swizzle", isMacSpread: true },
      {
        ...EIGHT,
        rotate: "shift",
        isMacSpread: true,
        ending: { ...PARKED_FOUR, rotate: "relaxed-swizzle", isMacSpread: true },
      },
    ],
  },
  jsc: {
    summary: [
      "For JavaScriptCore (Bun): three blocks side by side keep twelve vectors alive; sixteen are too many",
      "for its register allocator (PF-53).",
    ],
    routines: [
      { ...SHORT, rotate: "loaded-swizzle", isMacSpread: false },
      {
        name: "three",
        layout: "horizontal",
        blocks: 3,
        macBlocks: 2,
        rotate: "loaded-swizzle",
        isMacSpread: false,
      },
    ],
  },
};
