/** @see modules.mjs */
export const MODULES: string;
export function hashOf(bytes: Uint8Array): string;
