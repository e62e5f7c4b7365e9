/**
 * `postern wg --detach` (WG-68): the same command once more in a session of its own. Who started it goes on when the
 * interface is up, and hears of what kept it from coming up.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { entryFile, IS_EXECUTABLE } from "../../../bindings/runtime/index.ts";
import { EXIT } from "../exit.ts";
import type { ProgramIo } from "../io.ts";
import { sendSignal } from "../send-signal.ts";

/** Set for the process that stays. */
const INSIDE = "POSTERN_DETACHED";

/** Whether this process is the one that stays. What it prints goes nowhere once its parent has gone (`ProgramIo`). */
export function isDetached({ env }: ProgramIo): boolean {
  return env[INSIDE] === "1";
}

/** Resolves to 0 when the other process is ready, else to its exit code. */
export async function detach(io: ProgramIo): Promise<number> {
  const program = IS_EXECUTABLE ? [] : [...process.execArgv, "--", fileURLToPath(entryFile("main"))];
  const child = spawn(process.execPath, [...program, ...process.argv.slice(2)], {
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, [INSIDE]: "1" },
  });
  child.stderr?.pipe(process.stderr);
  // Until it is ready a signal is meant for the start as a whole.
  const stopListening = io.onSignal((signal) => sendSignal(child, signal));
  const code = await untilReady(child);
  stopListening();
  child.stdout?.destroy();
  child.stderr?.destroy();
  child.unref();
  return code;
}

function untilReady(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    let said = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      if (said.split("\n").includes("ready")) resolve(EXIT.ok);
    });
    child.on("error", () => resolve(EXIT.failure));
    child.on("close", (code) => resolve(code ?? EXIT.failure));
  });
}
