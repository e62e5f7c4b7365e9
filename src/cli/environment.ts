/** Variables: files of them (PG-4), and tokens, which leave the environment at once (PG-9). */
import { readFileSync } from "node:fs";
import { PosternError, type Secret, secret } from "../base/index.ts";
import type { SupervisorAddress } from "../program/io.ts";
import { usage } from "./parse.ts";

const TOKEN_VARIABLES = ["POSTERN_TOKEN", "FIREZONE_TOKEN"];
/** Of the product whose variables are taken as aliases: they switch what does not exist here (PG-7). */
const IGNORED = ["FIREZONE_NO_TELEMETRY", "FIREZONE_METRICS", "TELEMETRY"];
const IGNORED_PREFIXES = ["EBPF_", "GOOGLE_CLOUD_"];
const FILE_BYTES_MAX = 1 << 20;

/**
 * Takes the token out of `env`, so that no thread or child inherits it.
 * @returns the token, if one was set and is not empty
 */
export function takeToken(env: Record<string, string | undefined>): Secret<string> | undefined {
  let found: string | undefined;
  for (const name of TOKEN_VARIABLES) {
    const text = env[name]?.trim();
    if (found === undefined && text !== undefined && text !== "") found = text;
    delete env[name];
  }
  return found === undefined ? undefined : secret(found);
}

const SUPERVISOR_VARIABLES = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] as const;

/** Takes the service manager's address out of `env`, so that no child believes that it is meant (PG-81). */
export function takeSupervisor(
  env: Record<string, string | undefined>,
  ownPid: number,
): SupervisorAddress | undefined {
  const [socket = "", usec = "", pid = ""] = SUPERVISOR_VARIABLES.map((name) => env[name]);
  for (const name of SUPERVISOR_VARIABLES) delete env[name];
  if (socket === "") return undefined;
  const isMeant = pid === "" || Number(pid) === ownPid;
  const watchdogUsec = isMeant && /^\d{1,15}$/.test(usec) ? Number(usec) : 0;
  return { socket, watchdogMs: watchdogUsec > 0 ? watchdogUsec / 1000 : undefined };
}

/** The variables that are set and mean nothing here, so that nobody wonders (PG-7). */
export function ignoredVariables(env: Readonly<Record<string, string | undefined>>): readonly string[] {
  return Object.keys(env)
    .filter((name) => IGNORED.includes(name) || IGNORED_PREFIXES.some((prefix) => name.startsWith(prefix)))
    .sort();
}

/**
 * Sets the variables of a file where the environment has none (PG-4).
 * @throws PosternError `file-unreadable`, or `usage` with the line that is wrong
 */
export function loadEnvFile(path: string, env: Record<string, string | undefined>): void {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new PosternError("file-unreadable", `cannot read ${path}`, undefined, { cause });
  }
  setFromText(path, text, env);
}

/** @throws PosternError `usage` with the line that is wrong */
export function setFromText(path: string, text: string, env: Record<string, string | undefined>): void {
  if (text.length > FILE_BYTES_MAX) throw usage(`${path} is longer than 1 MiB`);
  for (const [i, raw] of text.split("\n").entries()) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    const match = /^([A-Za-z_][A-Za-z0-9_]*)=(?:"([^"\0]*)"|([^"\0]*))$/.exec(line);
    // The line itself may hold a secret: it is not repeated.
    if (match === null) throw usage(`${path}:${i + 1}: expected KEY=VALUE`);
    const [, name = "", quoted, plain] = match;
    env[name] ??= quoted ?? plain ?? "";
  }
}
