/** The demo's measurements, from the client's machine to the resource's. */
import { fileURLToPath } from "node:url";
import { entryFile, programCommand } from "../../../bindings/runtime/index.ts";
import { PosternError } from "../../base/index.ts";
import { findHelper } from "../../host/index.ts";
import type { Namespace } from "../lab/index.ts";
import { FILTERED_PORT, type Machines, RESOURCE_ADDRESS } from "./topology.ts";

const WEB_PORT = 80;
const METER_PORT = 5201;

/** The small programs of `tool.ts`. */
export const TOOL = fileURLToPath(entryFile("tool"));

export interface HttpResult {
  readonly ok: boolean;
  readonly bytes: number;
}

export interface Throughput {
  readonly upGbps: number;
  readonly downGbps: number;
}

/** Starts the web server and resolves to the SHA-256 of the page that it serves. */
export async function startWebServer(resource: Namespace): Promise<string> {
  const program = programCommand(TOOL, ["serve", RESOURCE_ADDRESS, String(WEB_PORT), String(FILTERED_PORT)]);
  const server = resource.start({ name: "web server", ...program });
  const match = await server.waitForLine(/^serving ([0-9a-f]{64})$/, { withinMs: 10_000 });
  return match[1] ?? "";
}

/** Fetches the page through the tunnel; it is good when its checksum is the server's. */
export async function fetchPage(client: Namespace, sha256: string): Promise<HttpResult> {
  const url = `http://${RESOURCE_ADDRESS}:${WEB_PORT}/`;
  const text = await runTool(client, ["fetch", url], 20_000);
  const answer: unknown = JSON.parse(text);
  const bytes = numberIn(answer, "bytes");
  return { ok: hasSame(answer, "sha256", sha256) && numberIn(answer, "status") === 200, bytes };
}

/** Whether one echo request is answered within a second: the first one makes the connection. */
export async function pingOnce(client: Namespace): Promise<boolean> {
  try {
    await client.run("ping", ["-n", "-c", "1", "-W", "1", RESOURCE_ADDRESS], { withinMs: 3000 });
    return true;
  } catch (error) {
    // No answer is status 1 of ping; the caller has the bound and tries again.
    if (error instanceof PosternError) return false;
    throw error;
  }
}

/** How data travels, as `postern connections` names it (PG-110). */
export type Path = "direct" | "relayed" | "relayed-tls";

/** What the client says of its connection; `undefined`: nothing that is meant here. */
export async function pathOf(
  client: Namespace,
  main: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Path | undefined> {
  const program = programCommand(main, ["connections", "--json"]);
  const child = client.start({ name: "connections", ...program, env });
  await child.wait(10_000);
  const views: unknown = JSON.parse(child.stdout() || "[]");
  const path = Array.isArray(views) ? objectIn(views[0], "path") : undefined;
  return PATHS.find((one) => one === path);
}

const PATHS: readonly Path[] = ["direct", "relayed", "relayed-tls"];

/** The mean round trip of twenty echo requests, in ms. */
export async function ping(client: Namespace): Promise<number> {
  const args = ["-n", "-q", "-c", "20", "-i", "0.05", "-W", "2", RESOURCE_ADDRESS];
  const text = await client.run("ping", args, { withinMs: 10_000 });
  const mean = /= [\d.]+\/([\d.]+)\//.exec(text)?.[1];
  if (mean === undefined) throw new PosternError("demo-ping", `ping printed no round trip: ${text.trim()}`);
  return Number(mean);
}

export function hasIperf(): boolean {
  return findHelper("iperf3") !== undefined;
}

/** One TCP stream each way, by iperf3 or by our own generator. */
export async function measureThroughput(
  { client, resource }: Machines,
  options: { readonly seconds: number; readonly withIperf: boolean },
): Promise<Throughput> {
  const measure = options.withIperf ? byIperf : byGenerator;
  await startMeter(resource, options.withIperf);
  const upGbps = await measure(client, "up", options.seconds);
  const downGbps = await measure(client, "down", options.seconds);
  return { upGbps: round(upGbps), downGbps: round(downGbps) };
}

async function startMeter(resource: Namespace, withIperf: boolean): Promise<void> {
  if (withIperf) {
    const args = ["-s", "--forceflush", "-B", RESOURCE_ADDRESS];
    const server = resource.start({ name: "iperf3 server", command: "iperf3", args });
    await server.waitForLine(/Server listening/, { withinMs: 5000 });
    return;
  }
  const program = programCommand(TOOL, ["meter", RESOURCE_ADDRESS, String(METER_PORT)]);
  const server = resource.start({ name: "meter", ...program });
  await server.waitForLine(/^measuring$/, { withinMs: 10_000 });
}

async function byIperf(client: Namespace, direction: "up" | "down", seconds: number): Promise<number> {
  const args = ["-c", RESOURCE_ADDRESS, "-t", String(seconds), "-J", "--connect-timeout", "3000"];
  if (direction === "down") args.push("-R");
  const report: unknown = JSON.parse(await client.run("iperf3", args, { withinMs: (seconds + 15) * 1000 }));
  return numberIn(objectIn(objectIn(report, "end"), "sum_received"), "bits_per_second") / 1e9;
}

async function byGenerator(client: Namespace, direction: "up" | "down", seconds: number): Promise<number> {
  const args = ["generate", RESOURCE_ADDRESS, String(METER_PORT), direction, String(seconds)];
  const text = await runTool(client, args, (seconds + 15) * 1000);
  return (numberIn(JSON.parse(text), "bytesPerSecond") * 8) / 1e9;
}

async function runTool(client: Namespace, args: readonly string[], withinMs: number): Promise<string> {
  const { command, args: words } = programCommand(TOOL, args);
  return await client.run(command, words, { withinMs });
}

function objectIn(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
}

function numberIn(value: unknown, key: string): number {
  const found = objectIn(value, key);
  if (typeof found === "number") return found;
  throw new PosternError("demo-measure", `no number '${key}' in ${JSON.stringify(value)?.slice(0, 200)}`);
}

function hasSame(value: unknown, key: string, expected: string): boolean {
  return objectIn(value, key) === expected;
}

function round(gbps: number): number {
  return Math.round(gbps * 1000) / 1000;
}
