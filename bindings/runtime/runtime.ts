/** The JavaScript runtimes that Postern knows; whatever differs between them asks here. */
export const RUNTIMES = ["node", "deno", "bun"] as const;

export type Runtime = (typeof RUNTIMES)[number];

/** The runtime that executes this. Deno and Bun name the Node that they imitate as well. */
export function currentRuntime(
  versions: Readonly<Record<string, string | undefined>> = process.versions,
): Runtime {
  return RUNTIMES.find((name) => name !== "node" && versions[name] !== undefined) ?? "node";
}
