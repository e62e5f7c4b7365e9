/** A command of ours in this process, with the options that the command line would give it. */
import { type Log, SILENT, secret } from "../../../src/base/index.ts";
import { COMMANDS } from "../../../src/cli/commands.ts";
import { parseArguments } from "../../../src/cli/parse.ts";
import { createIo } from "./portal-peer.ts";

export interface RunningCommand {
  /** Events of the log, INFO and WARN, as they come. */
  readonly logged: readonly { readonly level: "info" | "warn"; readonly event: string }[];
  /** Its exit code, or the code of the error that ended it. */
  readonly ended: Promise<number | string>;
  /** As SIGTERM does. */
  stop(): Promise<number | string>;
}

export interface CommandSettings {
  /** For lock, socket and identifier. */
  readonly folder: string;
  /** What `POSTERN_TOKEN` would have. */
  readonly token?: string;
}

export function startCommand(
  name: string,
  words: readonly string[],
  { folder, token }: CommandSettings,
): RunningCommand {
  const command = COMMANDS.find((one) => one.name === name);
  if (command === undefined) throw new Error(`${name} is a command`);
  const logged: { level: "info" | "warn"; event: string }[] = [];
  const log: Log = {
    ...SILENT,
    info: (event) => logged.push({ level: "info", event }),
    warn: (event) => logged.push({ level: "warn", event }),
    scope: () => log,
  };
  const env = { RUNTIME_DIRECTORY: folder, STATE_DIRECTORY: folder };
  const io = { ...createIo(env), ...(token !== undefined && { token: secret(token) }), log };
  const { values } = parseArguments(words, {}, command.options, name);
  const ended = command.run(values, [], io).catch((error: unknown) => {
    if (error instanceof Error && "code" in error) return String(error.code);
    throw error;
  });
  return {
    logged,
    ended,
    async stop() {
      io.signal("SIGTERM");
      return await ended;
    },
  };
}
