/** @see traces.mjs */
export function takeTraces(options?: {
  readonly folders?: readonly string[];
  readonly sysctls?: string;
  readonly list?: () => readonly string[];
}): Map<string, string>;
export function nameLeft(
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
  options?: { readonly sysctls?: string; readonly isRunning?: (pid: string) => boolean },
): string[];
export function putBack(before: ReadonlyMap<string, string>, options?: { readonly sysctls?: string }): void;
