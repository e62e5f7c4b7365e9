/** PreUp, PostUp, PreDown and PostDown: commands from the file, run only with `--allow-hooks` (WG-63). */
import { spawn } from "node:child_process";
import { type Log, PosternError } from "../../base/index.ts";
import type { Hook, HookKind } from "../../wg/index.ts";

/**
 * Runs the hooks of one kind in their order by `/bin/sh -c`, `%i` being the interface.
 *
 * @throws PosternError `hook-failed` (exit 1) at the first that fails
 */
export async function runHooks(
  hooks: readonly Hook[],
  kind: HookKind,
  name: string,
  log: Log,
): Promise<void> {
  for (const hook of hooks.filter((candidate) => candidate.kind === kind)) {
    const command = hook.command.replaceAll("%i", name);
    log.info?.("hook", { kind, command });
    const status = await runShell(command);
    if (status === 0) continue;
    throw new PosternError("hook-failed", `${kind} in line ${hook.line} ended with status ${status}`);
  }
}

/** Standard output carries `ready` and JSON of ours only: what a command prints goes to stderr. */
function runShell(command: string): Promise<number | string> {
  return new Promise((resolve) => {
    const child = spawn("/bin/sh", ["-c", command], { stdio: ["ignore", 2, 2] });
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (status, signal) => resolve(status ?? signal ?? "unknown"));
  });
}
