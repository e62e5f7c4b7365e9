/** From the words of a command line to an exit code: finds the command, parses, runs it. */

import { release, uptime } from "node:os";
import { nearest, PosternError } from "../base/index.ts";
import { describeError, EXIT, exitCodeOf } from "../program/exit.ts";
import type { ProgramIo } from "../program/io.ts";
import { STOP_WITHIN_MS } from "../program/shell/index.ts";
import { fasterRuntime, RUNTIME, VERSION } from "../program/version.ts";
import { COMMANDS, type Command } from "./commands.ts";
import { ignoredVariables, loadEnvFile, takeSupervisor, takeToken } from "./environment.ts";
import { formatCommand, formatOverview } from "./help.ts";
import { createIo } from "./io.ts";
import { parseArguments, usage } from "./parse.ts";
import { createSignals, type Signals } from "./signals.ts";

/** The exit code of an error that nobody caught. */
let defect: number | undefined;

/** Runs a command line and resolves to the exit code; what fails has been said. */
export async function runCommandLine(args: readonly string[]): Promise<number> {
  const code = await main(args).catch(fail);
  return defect ?? code;
}

async function main(args: readonly string[]): Promise<number> {
  // First of all, before anything else can start or print (PG-9).
  const env = process.env;
  const token = takeToken(env);
  const supervisor = takeSupervisor(env, process.pid);
  const [first, ...rest] = args;
  if (first === undefined) {
    console.error(formatOverview(COMMANDS, VERSION));
    return EXIT.usage;
  }
  if (first === "-V" || first === "--version" || first === "version") {
    console.log(`postern ${VERSION}`);
    return EXIT.ok;
  }
  if (first === "help" || first === "-h" || first === "--help") return help(rest[0]);
  const command = findCommand(first);
  if (asksForHelp(rest)) return help(first);

  for (const path of envFilesOf(rest)) loadEnvFile(path, env);
  const fromFile = takeToken(env);
  const { values, words, warnings } = parseArguments(
    rest,
    env,
    command.options,
    command.name,
    command.waives,
  );
  checkWords(words, command);
  const { log: filter = "info" } = values;
  const logFormat = values["logFormat"] === "json" ? "json" : "human";
  const signals = createSignals({
    withinMs: command.stopWithinMs?.(values) ?? STOP_WITHIN_MS,
    onLate: () => console.error("postern: the stop took too long; some of it may be left undone"),
    process,
  });
  handleDefects(signals);
  const { onSignal } = signals;
  const io = createIo({
    filter: String(filter),
    logsAlso: command.logsAlso?.(values),
    logFormat,
    logFile: logFileOf(values, command),
    token: token ?? fromFile,
    supervisor,
    env: { ...env },
    onSignal,
  });
  for (const warning of warnings) io.log.warn?.(warning);
  announce(command, io);
  const ignored = ignoredVariables(env);
  if (ignored.length > 0) io.log.debug?.("variables that mean nothing here are ignored", { names: ignored });
  try {
    return await run(command, values, words, io, logFormat);
  } finally {
    await io.drainLog();
  }
}

/** `--log-dir`, for the instance that runs here (PG-100). */
function logFileOf(
  { logDir, instance }: Readonly<Record<string, unknown>>,
  { name }: Command,
): { readonly folder: string; readonly instance: string } | undefined {
  if (typeof logDir !== "string") return undefined;
  return { folder: logDir, instance: typeof instance === "string" ? instance : name };
}

/** Says what runs here (PG-139), unless the command does so itself. */
function announce({ name, options, isAnnounced }: Command, { log }: ProgramIo): void {
  if (isAnnounced === false) return;
  log.info?.("starting", {
    version: VERSION,
    role: name,
    runtime: RUNTIME,
    arch: process.arch,
    kernel: release(),
    uptimeS: Math.round(uptime()),
  });
  const runtime = fasterRuntime();
  if (runtime !== undefined && "cipher" in options) log.info?.("a faster runtime exists", { runtime });
}

async function run(
  command: Command,
  values: Readonly<Record<string, unknown>>,
  words: readonly string[],
  io: ProgramIo,
  logFormat: "human" | "json",
): Promise<number> {
  try {
    return await command.run(values, words, io);
  } catch (error) {
    const code = exitCodeOf(error);
    // On a human log the line that `fail` prints is the record; a machine wants its own (PG-14).
    if (logFormat === "json" && code === EXIT.refused) io.log.info?.(describeError(error));
    else if (logFormat === "json") io.log.error?.(describeError(error));
    throw error;
  }
}

function help(name: string | undefined): number {
  console.log(name === undefined ? formatOverview(COMMANDS, VERSION) : formatCommand(findCommand(name)));
  return EXIT.ok;
}

function asksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  const options = end < 0 ? args : args.slice(0, end);
  return options.includes("-h") || options.includes("--help");
}

function findCommand(name: string): Command {
  const found = COMMANDS.find((command) => command.name === name);
  if (found !== undefined) return found;
  const isOption = name.startsWith("-");
  const known = isOption ? ["--help", "--version"] : [...COMMANDS.map((command) => command.name), "help"];
  const guess = nearest(name, known);
  const kind = isOption ? "option" : "command";
  throw usage(
    `unknown ${kind} '${name}'`,
    guess === undefined ? "see 'postern help'" : `did you mean '${guess}'?`,
  );
}

/** Env files come before all other options, since they may set those. */
function envFilesOf(args: readonly string[]): string[] {
  const paths: string[] = [];
  for (const [i, argument] of args.entries()) {
    if (argument === "--") break;
    if (argument.startsWith("--env-file=")) paths.push(argument.slice("--env-file=".length));
    else if (argument === "--env-file" && args[i + 1] !== undefined) paths.push(args[i + 1] ?? "");
  }
  return paths;
}

function checkWords(words: readonly string[], { name, words: allowed, usage: expected }: Command): void {
  const { min, max, oneOf } = allowed;
  const isStray = oneOf !== undefined && words.some((word) => !oneOf.includes(word));
  if (words.length >= min && words.length <= max && !isStray) return;
  const what = words.length < min ? "something is missing" : `'${words.at(-1)}' is unexpected`;
  throw usage(`${name}: ${what}`, `usage: postern ${name} ${expected}`.trim());
}

/** PG-18: the first defect decides the exit code; the program gets the chance to undo what it set. */
function handleDefects(signals: Signals): void {
  const handle = (error: unknown): void => {
    const code = fail(error);
    defect ??= code;
    signals.stop(defect);
  };
  process.on("uncaughtException", handle);
  process.on("unhandledRejection", handle);
}

/** PG-14: one line; a stack only for our own defects (PG-18). */
function fail(error: unknown): number {
  const code = exitCodeOf(error);
  console.error(`postern: ${describeError(error)}`);
  const isDefect = !(error instanceof PosternError) && error instanceof Error;
  if (isDefect && error.stack !== undefined) console.error(error.stack);
  return code;
}
