export interface PinnedRuntime {
  /** Where npm installs it, from the root of the clone. */
  readonly folder: string;
  readonly program: string;
  readonly words: readonly string[];
}

export const PINNED: Readonly<Record<"node24" | "node26" | "deno" | "bun", PinnedRuntime>>;
export function pinnedPath(name: keyof typeof PINNED): string;
export function installPinned(name: keyof typeof PINNED): string | undefined;
