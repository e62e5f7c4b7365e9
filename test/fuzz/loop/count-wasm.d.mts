/** @see count-wasm.mjs */
export function withCounters(
  bytes: Uint8Array,
  isSkipped?: (functionName: string) => boolean,
): {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly count: number;
  /** By number of the counter. */
  readonly functions: readonly string[];
};
