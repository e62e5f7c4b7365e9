/** The largest unsigned integers of 16 and 32 bits. */
export const U16_MAX = 0xffff;
export const U32_MAX = 0xffff_ffff;
