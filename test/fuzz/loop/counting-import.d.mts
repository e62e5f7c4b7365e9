/** @see counting-import.mjs */
export const COUNTING_IMPORT: string;
