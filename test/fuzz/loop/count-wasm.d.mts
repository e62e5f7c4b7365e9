/** @see count-wasm.mjs */
export const COUNTING_IMPORT: string;
export function withCounters(bytes: Uint8Array): {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly count: number;
};
