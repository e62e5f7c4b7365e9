/** PreUp, PostUp, PreDown and PostDown: commands from the file, run only with `--allow-hooks` (WG-63). */
import { spawn } from "node:child_process";
import { type Log, PosternError } from "../../base/index.ts";
import type { Hook, HookKind } from "../../wg/index.ts";

/** wg-quick is a bash script that stops at the first command that fails, and so are its hooks. */
const BASH = { command: "bash", args: ["-e", "-o", "pipefail", "-O", "extglob", "-c"] };
/** For hosts without bash; `-e` is all that every shell knows. */
const SH = { command: "/bin/sh", args: ["-e", "-c"] };

/**
 * Runs the hooks of one kind in their order, `%i` being the interface.
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
    const status = (await runShell(BASH, command)) ?? (await runShell(SH, command)) ?? "no shell";
    if (status === 0) continue;
    throw new PosternError("hook-failed", `${kind} in line ${hook.line} ended with status ${status}`);
  }
}

/**
 * Runs a command; `undefined` when there is no such shell. Standard output carries `ready` and JSON of
 * ours only: what a command prints goes to stderr.
 */
function runShell(shell: typeof BASH, command: string): Promise<number | string | undefined> {
  return new Promise((resolve) => {
    const refused = (error: unknown): void => {
      const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
      resolve(isMissing ? undefined : String(error));
    };
    try {
      const child = spawn(shell.command, [...shell.args, command], { stdio: ["ignore", 2, 2] });
      child.once("error", refused);
      child.once("exit", (status, signal) => resolve(status ?? signal ?? "unknown"));
    } catch (error) {
      // Of some errors, ENOMEM for one, Node tells by throwing at once.
      refused(error);
    }
  });
}
