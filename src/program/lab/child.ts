/**
 * A process that somebody here started: its output is kept, waited for with a bound, and it is ended
 * by its own id. For the demo, the tests of real programs and the benchmarks.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { PosternError } from "../../base/index.ts";
import { helperEnvironment } from "../../host/index.ts";
import { sendSignal } from "../send-signal.ts";
import { within } from "./patience.ts";

/** Of each stream the newest part is kept: enough to explain a failure, bounded for long runs. */
const OUTPUT_CHARACTERS_MAX = 1 << 20;

const STOP_WITHIN_MS = 6000;

export interface ChildOptions {
  /** How messages call the process. */
  readonly name: string;
  readonly command: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** Written to its standard input, which is then closed. Absent: no standard input. */
  readonly input?: string;
  /** Called with each complete line as it comes. */
  readonly onLine?: (line: string, stream: "stdout" | "stderr") => void;
}

export interface ChildExit {
  /** Exit status; `undefined` when a signal ended it. */
  readonly status: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
}

export interface WaitOptions {
  /** On a quiet machine; a busy one gets longer (TS-3). */
  readonly withinMs: number;
  readonly stream?: "stdout" | "stderr";
}

export interface Child {
  readonly name: string;
  readonly pid: number;
  readonly exited: Promise<ChildExit>;
  isRunning(): boolean;
  stdout(): string;
  stderr(): string;
  /**
   * The first line (of those already printed, too) that `pattern` matches.
   * @throws PosternError `child-silent` when none came in time, `child-ended` when the process ended first
   */
  waitForLine(pattern: RegExp, options: WaitOptions): Promise<RegExpMatchArray>;
  /** Sends a signal; does nothing when the process has ended. */
  signal(signal: NodeJS.Signals): void;
  /** Ends it: `signal`, then SIGKILL when it is still there after `withinMs`. */
  stop(options?: { readonly signal?: NodeJS.Signals; readonly withinMs?: number }): Promise<ChildExit>;
  /** Waits until it ends by itself. @throws PosternError `child-endless` when it does not in time */
  wait(withinMs: number): Promise<ChildExit>;
}

interface Stream {
  kept: string;
  partial: string;
  readonly lines: string[];
}

/** What is known of a process while it runs. */
interface Running {
  readonly options: ChildOptions;
  readonly process: ChildProcess;
  readonly streams: Readonly<Record<"stdout" | "stderr", Stream>>;
  /** Called whenever there is something new to look at. */
  readonly watchers: Set<() => void>;
  exit: ChildExit | undefined;
}

/** Starts a process. What goes wrong with starting it appears as status 127 and on `stderr`. */
export function startChild(options: ChildOptions): Child {
  const running: Running = {
    options,
    process: spawn(options.command, [...(options.args ?? [])], {
      cwd: options.cwd,
      env: helperEnvironment(options.env),
      stdio: [options.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    }),
    streams: { stdout: createStream(), stderr: createStream() },
    watchers: new Set(),
    exit: undefined,
  };
  const { process, streams } = running;
  readOutput(running);
  const exited = untilExit(running);
  if (options.input !== undefined) writeInput(process, options.input);
  return {
    name: options.name,
    pid: process.pid ?? -1,
    exited,
    isRunning: () => running.exit === undefined,
    stdout: () => streams.stdout.kept,
    stderr: () => streams.stderr.kept,
    waitForLine: (pattern, wait) => untilLine(running, pattern, wait),
    signal: (signal) => {
      if (running.exit === undefined) sendSignal(process, signal);
    },
    stop: async ({ signal = "SIGTERM", withinMs = STOP_WITHIN_MS } = {}) => {
      if (running.exit === undefined) sendSignal(process, signal);
      const ended = await within(exited, withinMs);
      if (ended !== undefined) return ended;
      sendSignal(process, "SIGKILL");
      return await exited;
    },
    wait: async (withinMs) => {
      const ended = await within(exited, withinMs);
      if (ended !== undefined) return ended;
      throw new PosternError(
        "child-endless",
        `${options.name} was still running after ${withinMs} ms${tail(streams)}`,
      );
    },
  };
}

function notify({ watchers }: Running): void {
  for (const watcher of watchers) watcher();
}

function readOutput(running: Running): void {
  const { options, process, streams } = running;
  for (const name of ["stdout", "stderr"] as const) {
    process[name]?.setEncoding("utf8").on("data", (chunk: string) => {
      for (const line of addTo(streams[name], chunk)) options.onLine?.(line, name);
      notify(running);
    });
  }
}

function untilExit(running: Running): Promise<ChildExit> {
  const { process, streams } = running;
  return new Promise((resolve) => {
    const end = (ended: ChildExit): void => {
      if (running.exit !== undefined) return;
      running.exit = ended;
      resolve(ended);
      notify(running);
    };
    process.on("error", (error) => {
      addTo(streams.stderr, `${error.message}\n`);
      end({ status: 127, signal: undefined });
    });
    process.on("close", (status, signal) =>
      end({ status: status ?? undefined, signal: signal ?? undefined }),
    );
  });
}

async function untilLine(running: Running, pattern: RegExp, wait: WaitOptions): Promise<RegExpMatchArray> {
  const { options, streams, watchers } = running;
  let look = (): boolean => true;
  const found = new Promise<RegExpMatchArray>((resolve, reject) => {
    look = () => {
      const match = findLine(streams, pattern, wait.stream);
      if (match !== undefined) resolve(match);
      else if (running.exit !== undefined) reject(endedBefore(running, running.exit, pattern));
      else return false;
      watchers.delete(look);
      return true;
    };
    if (!look()) watchers.add(look);
  });
  const match = await within(found, wait.withinMs);
  if (match !== undefined) return match;
  watchers.delete(look);
  const what = `${options.name} did not print ${pattern} within ${wait.withinMs} ms`;
  throw new PosternError("child-silent", `${what}${tail(streams)}`);
}

function createStream(): Stream {
  return { kept: "", partial: "", lines: [] };
}

/** Adds a chunk and returns the lines that it completed. */
function addTo(stream: Stream, chunk: string): readonly string[] {
  stream.kept = (stream.kept + chunk).slice(-OUTPUT_CHARACTERS_MAX);
  const parts = (stream.partial + chunk).split("\n");
  stream.partial = (parts.pop() ?? "").slice(-OUTPUT_CHARACTERS_MAX);
  stream.lines.push(...parts);
  if (stream.lines.length > 10_000) stream.lines.splice(0, stream.lines.length - 10_000);
  return parts;
}

function findLine(
  streams: Readonly<Record<"stdout" | "stderr", Stream>>,
  pattern: RegExp,
  only: "stdout" | "stderr" | undefined,
): RegExpMatchArray | undefined {
  for (const name of ["stdout", "stderr"] as const) {
    if (only !== undefined && only !== name) continue;
    for (const line of streams[name].lines) {
      const match = line.match(pattern);
      if (match !== null) return match;
    }
  }
  return undefined;
}

function writeInput(child: ChildProcess, input: string): void {
  // A program that does not read its input closes the pipe: that is its own affair.
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(input);
}

function endedBefore({ options, streams }: Running, exit: ChildExit, pattern: RegExp): PosternError {
  const how = exit.signal === undefined ? `with status ${exit.status}` : `by ${exit.signal}`;
  return new PosternError(
    "child-ended",
    `${options.name} ended ${how} before it printed ${pattern}${tail(streams)}`,
  );
}

/** The end of what a process said, for messages. */
function tail({ stdout, stderr }: Readonly<Record<"stdout" | "stderr", { readonly kept: string }>>): string {
  const said = `${stdout.kept}${stderr.kept}`.trim();
  return said === "" ? "" : `; it said: ${said.slice(-1500)}`;
}

/**
 * Runs a program to its end.
 * @throws PosternError `command-failed` when it cannot be started, fails, or takes longer than `withinMs`
 */
export async function runCommand(options: ChildOptions & { readonly withinMs?: number }): Promise<string> {
  const child = startChild(options);
  const exit = await within(child.exited, options.withinMs ?? 10_000);
  if (exit?.status === 0) return child.stdout();
  if (exit === undefined) child.signal("SIGKILL");
  const how = exit === undefined ? "took too long" : `failed (${exit.status ?? exit.signal})`;
  const line = [options.command, ...(options.args ?? [])].join(" ");
  throw new PosternError(
    "command-failed",
    `${options.name} ${how}: ${line}${tail({
      stdout: { kept: child.stdout() },
      stderr: { kept: child.stderr() },
    })}`,
  );
}
