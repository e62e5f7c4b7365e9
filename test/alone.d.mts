/** @see alone.mjs: a reason by file */
export const ALONE: Readonly<Record<string, string>>;
