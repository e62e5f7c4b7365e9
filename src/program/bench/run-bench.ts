/** `postern bench`: beside other tunnels on this host, or against a remote end (PG-200 to PG-204). */

import { accessSync, constants, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { dirname } from "node:path";
import { runtimeLabel } from "../../../bindings/runtime/index.ts";
import { createSeededRandom, PosternError, randomU32 } from "../../base/index.ts";
import { EXIT } from "../exit.ts";
import type { ProgramIo } from "../io.ts";
import { enter, isInside } from "../lab/index.ts";
import type { BenchOptions } from "../options.ts";
import { systemRandom } from "../system-random.ts";
import { VERSION } from "../version.ts";
import type { OpenVpnCipher } from "./arms.ts";
import { drawChart } from "./chart.ts";
import { measureHere } from "./local.ts";
import { measureAgainst } from "./remote-client.ts";
import { serveOnce } from "./remote-server.ts";
import { formatComparison, formatReport } from "./report.ts";
import type { BenchResult } from "./result.ts";
import { readResult } from "./result-file.ts";

/** Seconds, pairs and streams of `--quick`: a look, not a measurement. */
const QUICK = { seconds: 1, pairs: 1, streams: [1] } as const;

export async function runBench(options: BenchOptions, io: ProgramIo): Promise<number> {
  const { word } = options;
  // Before anything is measured: a file that cannot be read, or written, would be found after minutes.
  const before = options.compare === undefined ? undefined : readEarlier(options.compare);
  for (const path of [options.output, options.plot]) if (path !== undefined) checkWritable(path);
  const isHere = word === undefined;
  if (isHere && !isInside(io)) return await enter(io, "bench");
  const stopped = new AbortController();
  let status: number = EXIT.ok;
  const stopListening = io.onSignal((signal) => {
    if (signal !== "SIGINT" && signal !== "SIGTERM") return;
    status = signal === "SIGINT" ? 130 : 143;
    stopped.abort(new PosternError("stopped", "stopped by a signal"));
  });
  try {
    if (word === "serve") {
      await serveOnce({
        listen: options.listen,
        print: io.print,
        say: io.printError,
        signal: stopped.signal,
      });
      return status;
    }
    const result = await measure(options, io, stopped.signal);
    show(options, io, result, before);
    return status;
  } catch (error) {
    if (status !== EXIT.ok) return status;
    throw error;
  } finally {
    stopListening();
  }
}

async function measure(options: BenchOptions, io: ProgramIo, signal: AbortSignal): Promise<BenchResult> {
  const { seconds, pairs, streams } = options.quick
    ? QUICK
    : { ...options, streams: readStreams(options.streams) };
  const started = new Date().toISOString();
  const say = io.printError;
  const common = { v: 1, version: VERSION, started, machine: machineOf(), pairs, seconds } as const;
  if (options.word !== undefined) {
    const secret = io.env["POSTERN_BENCH_SECRET"];
    if (secret === undefined) {
      const hint = "set POSTERN_BENCH_SECRET to what `postern bench serve` printed there";
      throw new PosternError("usage", "the remote end wants its secret", hint);
    }
    const cells = await measureAgainst({ host: options.word, secret, seconds, pairs, streams, say, signal });
    const arms = [{ name: "remote", title: options.word }];
    return { ...common, topology: `to ${options.word}`, arms, cells, missing: [] };
  }
  const seed = options.seed ?? randomU32(systemRandom);
  const random = createSeededRandom(seed);
  const draw = (): number => randomU32(random) / 2 ** 32;
  const openVpnCiphers = ciphersOf(options.openvpnCipher);
  const plan = { mtu: options.mtu, pairs, seconds, streams, openVpnCiphers, draw, say };
  const outcome = await measureHere(plan, signal);
  const { cells, missing, othersShare } = outcome;
  const arms = outcome.arms.map(({ name, title, note }) => ({
    name,
    title,
    ...(note !== undefined && { note }),
  }));
  const topology = `two namespaces joined by a virtual cable, MTU ${options.mtu} inside, everything on this host`;
  return { ...common, topology, arms, cells, missing, ...(othersShare !== undefined && { othersShare }) };
}

function show(
  options: BenchOptions,
  io: ProgramIo,
  result: BenchResult,
  before: BenchResult | undefined,
): void {
  const lines = [
    ...formatReport(result),
    ...(before === undefined ? [] : ["", ...formatComparison(before, result)]),
  ];
  for (const line of lines) (options.json ? io.printError : io.print)(line);
  if (options.json) io.print(JSON.stringify(result));
  if (options.output !== undefined) write(options.output, `${JSON.stringify(result, undefined, 1)}\n`);
  if (options.plot === undefined) return;
  write(options.plot, drawChart(result));
  io.printError(`The picture is in ${options.plot}: open it in a browser.`);
}

function write(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

function checkWritable(path: string): void {
  try {
    accessSync(existsSync(path) ? path : dirname(path), constants.W_OK);
    if (existsSync(path) && statSync(path).isDirectory()) throw new Error("it is a folder");
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

function unwritable(path: string, cause: unknown): PosternError {
  const hint = "name a file in a folder of yours";
  return new PosternError("file-unwritable", `cannot write ${path}`, hint, { cause });
}

function readEarlier(path: string): BenchResult {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new PosternError("file-unreadable", `cannot read ${path}`, "name a file that --output wrote", {
      cause,
    });
  }
  const result = readResult(text);
  if (!result.ok)
    throw new PosternError(
      "usage",
      `${path} is no result: ${result.reason}`,
      "name a file that --output wrote",
    );
  return result.value;
}

function ciphersOf(choice: BenchOptions["openvpnCipher"]): readonly OpenVpnCipher[] {
  return choice === "both" ? ["aes-256-gcm", "chacha20-poly1305"] : [choice];
}

/** `1,4,16` as numbers. */
function readStreams(text: string): readonly number[] {
  const counts = [...new Set(text.split(",").map(Number))];
  if (counts.every((count) => Number.isInteger(count) && count >= 1 && count <= 128)) return counts;
  throw new PosternError(
    "usage",
    `--streams ${text} is no list of numbers from 1 to 128`,
    "write --streams 1,4,16",
  );
}

function machineOf(): BenchResult["machine"] {
  const processors = cpus();
  const processor = (processors[0]?.model ?? "unknown processor").trim();
  return { processor, cores: processors.length, kernel: release(), runtime: runtimeLabel() };
}
