/** @see instrument.mjs */
export function instrument(
  code: string,
  first: number,
): { readonly code: string; readonly places: readonly number[] };
