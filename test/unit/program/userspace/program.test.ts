/** `--mode userspace` as a program: what others can see of it (PG-129), in this process and on loopback. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Portal, startPortal } from "../../../../src/index.ts";
import { eventually } from "../../../lib/observe.ts";
import { startCommand } from "../command-in-process.ts";

let folder: string;
let portal: Portal;
const ends: (() => unknown)[] = [];
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "postern-userspace-"));
  portal = await startPortal({ dev: true, listen: "127.0.0.1:0" });
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  await portal.close();
  rmSync(folder, { recursive: true });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function start(role: "client" | "gateway", words: readonly string[]) {
  const all = ["--api-url", portal.apiUrl ?? "", "--mode", "userspace", "--sockets", "plain", ...words];
  const running = startCommand(role, all, { folder, token: portal.tokens?.[role] ?? "" });
  ends.push(running.stop);
  const warnings = (): string[] =>
    running.logged.flatMap(({ level, event }) => (level === "warn" ? [event] : []));
  return { warnings, stop: running.stop };
}

async function get(port: number, path: string): Promise<{ status: number; body: string }> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  return { status: response.status, body: await response.text() };
}

interface Collector {
  readonly url: string;
  readonly reports: string[];
}

async function startCollector(): Promise<Collector> {
  const reports: string[] = [];
  const server = createHttpServer((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => {
      body += String(chunk);
    });
    request.on("end", () => {
      reports.push(`${request.url} ${body}`);
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ends.push(() => server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, reports };
}

it("PG-129, PG-85, PG-114: a gateway without a device serves metrics and health as one with a device", async () => {
  const [metrics, health] = [await freePort(), await freePort()];
  const { warnings, stop } = start("gateway", [
    ...["--metrics-addr", String(metrics), "--health-addr", `127.0.0.1:${health}`],
  ]);
  await eventually(async () => expect((await get(health, "/readyz")).status).toBe(200));
  expect(await get(health, "/healthz")).toEqual({ status: 200, body: "ok\n" });
  const { status, body } = await get(metrics, "/metrics");
  expect(status).toBe(200);
  for (const line of [
    /^postern_build_info\{.*role="gateway"\} 1$/m,
    /^postern_ready 1$/m,
    /^postern_portal_connected 1$/m,
    /^postern_connections\{state="connected",path="direct"\} 0$/m,
    /^postern_loop_turn_seconds_count [1-9]\d*$/m,
    /^postern_tunnel_events_total\{counter="stack_drop_fragment"\} 0$/m,
  ])
    expect(body).toMatch(line);
  expect(warnings()).toEqual([]);
  expect(await stop()).toBe(0);
  await expect(get(metrics, "/metrics")).rejects.toThrow();
});

it("PG-129, PG-116: a client without a device pushes its last report at its end, in its own name", async () => {
  const collector = await startCollector();
  const metrics = await freePort();
  const words = ["--otlp-endpoint", collector.url, "--metrics-addr", String(metrics), "--id", "reporter"];
  const { stop } = start("client", [...words, "--socks", "127.0.0.1:0"]);
  await eventually(async () => expect((await get(metrics, "/metrics")).body).toMatch(/^postern_ready 1$/m));
  expect(await stop()).toBe(0);
  expect(collector.reports.at(-1)).toMatch(/^\/v1\/metrics .*"reporter".*postern_ready/);
});

it("PG-129: what has no effect without a device is said", async () => {
  const { warnings, stop } = start("gateway", ["--egress-interface", "eth9", "--flow-records", "2048"]);
  await eventually(() => expect(warnings()).toEqual(["options without effect in mode userspace"]));
  expect(await stop()).toBe(0);
});
