import { IS_EXECUTABLE } from "./places.ts";

/** The JavaScript runtimes that Postern knows; whatever differs between them asks here. */
export const RUNTIMES = ["node", "deno", "bun"] as const;

export type Runtime = (typeof RUNTIMES)[number];

type Versions = Readonly<Record<string, string | undefined>>;

/** The runtime that executes this. Deno and Bun name the Node that they imitate as well. */
export function currentRuntime(versions: Versions = process.versions): Runtime {
  return RUNTIMES.find((name) => name !== "node" && versions[name] !== undefined) ?? "node";
}

/** The runtime's own version, not that of the Node that it imitates. */
export function runtimeVersion(versions: Versions = process.versions): string {
  return versions[currentRuntime(versions)] ?? "unknown";
}

/** How people and logs know it: `deno 2.9.6`. */
export function runtimeLabel(versions: Versions = process.versions): string {
  return `${currentRuntime(versions)} ${runtimeVersion(versions)}`;
}

/**
 * The words that start a file as a program in the runtime that executes this, before the program's own. Node
 * takes an option `--env-file` of ours for its own where no dashes stand before the file. Deno hides its options
 * from the programs that it runs; without `--no-lock` it would leave a lock in the folder of whoever calls it. An
 * executable is the program: it starts no other file.
 */
export function programWords(
  file: string,
  runtime: Runtime = currentRuntime(),
  isExecutable = IS_EXECUTABLE,
): readonly string[] {
  const { execPath, execArgv } = process;
  if (isExecutable) return [execPath];
  if (runtime === "deno") return [execPath, "run", "--allow-all", "--no-lock", file];
  return [execPath, ...execArgv, ...(runtime === "node" ? ["--"] : []), file];
}

/** The same, with arguments, in the form in which `spawn` takes it. */
export function programCommand(
  file: string,
  args: readonly string[] = [],
): { readonly command: string; readonly args: readonly string[] } {
  const [command = "", ...rest] = programWords(file);
  return { command, args: [...rest, ...args] };
}

/** What the environment of such a file has to hold: else Deno asks its maker for newer versions, as the launcher knows. */
export function programVariables(runtime: Runtime = currentRuntime()): readonly string[] {
  return runtime === "deno" ? ["DENO_NO_UPDATE_CHECK=1"] : [];
}
