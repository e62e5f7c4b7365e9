/**
 * Rotation of the four words of a vector to the left, by ChaCha20's 16, 12, 8 and 7.
 *
 * 16 and 8 are whole bytes and can be one byte shuffle; 12 and 7 are always two shifts and an or.
 * Rejected: `i8x16.shuffle` for 8 (V8 builds its mask each time: slower than the shifts).
 */

const BY_16 = [2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13];
const BY_8 = [3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14];

/** The table of masks: by 16 at offset 0, by 8 at offset 16. */
export const MASK_BYTES = [...BY_16, ...BY_8];

/** Whether the form reads the table of masks. */
export function usesMaskTable(rotate) {
  return rotate === "loaded-swizzle" || rotate === "relaxed-swizzle";
}

/** The statement that loads the masks into locals, or nothing. */
export function maskLocals(rotate) {
  return usesMaskTable(rotate) ? ["const BY_16 = v128.load(MASKS), BY_8 = v128.load(MASKS, 16);"] : [];
}

/** The statement that turns the words of local `v` left by `bits`. */
export function rotateLeft(rotate, v, bits) {
  const isByteTurn = bits === 16 || bits === 8;
  if (!isByteTurn || rotate === "shift") {
    return `${v} = v128.or(i32x4.shl(${v}, ${bits}), i32x4.shr_u(${v}, ${32 - bits}));`;
  }
  switch (rotate) {
    case "constant-swizzle":
      return `${v} = v128.swizzle(${v}, i8x16(${(bits === 16 ? BY_16 : BY_8).join(", ")}));`;
    case "loaded-swizzle":
      return `${v} = v128.swizzle(${v}, BY_${bits});`;
    case "relaxed-swizzle":
      return `${v} = i8x16.relaxed_swizzle(${v}, BY_${bits});`;
    default:
      throw new Error(`no such rotation: ${rotate}`);
  }
}
