/** What a portal shows over HTTP: its status for who has the token, metrics and health on their own ports. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { metricIn, parseMetrics } from "../../lib/prometheus.ts";
import { connectPeer, startPortal } from "./portal-peer.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function start(options: Parameters<typeof startPortal>[0]) {
  const portal = await startPortal(options);
  ends.push(() => portal.stop());
  return { ...portal, http: portal.url.replace("ws:", "http:") };
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

function tokenFile(): string {
  const folder = mkdtempSync(join(tmpdir(), "status-"));
  ends.push(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "token");
  writeFileSync(path, "let me see\n", { mode: 0o600 });
  return path;
}

describe("the portal's status over HTTP", () => {
  it("PT-117: /status.json tells who shows the token who is there, and nobody else", async () => {
    const { http, url, tokens } = await start({ statusToken: tokenFile() });
    const peer = await connectPeer(url, { role: "gateway", token: tokens.gateway });
    ends.push(() => peer.socket.terminate());
    await peer.next("init");
    const ask = (authorization?: string) =>
      fetch(`${http}/status.json`, authorization === undefined ? {} : { headers: { authorization } });
    for (const wrong of [undefined, "let me see", "Bearer let me se", "Bearer let me see!", "Bearer "]) {
      expect((await ask(wrong)).status, wrong).toBe(401);
    }
    const answer = await ask("Bearer let me see");
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect(await answer.json()).toMatchObject({
      role: "portal",
      ready: true,
      gateways: [{ name: "gateway-1", external_id: "gateway-1" }],
      clients: [],
      live_authorizations: 0,
    });
  });

  it("PT-117: without --status-token there is no such path", async () => {
    const { http } = await start({});
    expect((await fetch(`${http}/status.json`)).status).toBe(404);
    expect((await fetch(`${http}/healthz`)).status).toBe(200);
  });

  it("PG-20: a token that others may read is refused", async () => {
    const path = tokenFile();
    chmodSync(path, 0o644);
    await expect(startPortal({ statusToken: path })).rejects.toMatchObject({ code: "token-file" });
  });

  it("PT-192, PG-85: metrics and health have ports of their own", async () => {
    const [metrics, health] = [await freePort(), await freePort()];
    const { url, tokens } = await start({ metricsAddr: `${metrics}`, healthAddr: `127.0.0.1:${health}` });
    const peer = await connectPeer(url, { role: "gateway", token: tokens.gateway });
    ends.push(() => peer.socket.terminate());
    await peer.next("init");
    await connectPeer(url, { role: "client", token: "nonsense" }).catch(() => undefined);
    const text = await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text();
    const samples = parseMetrics(text);
    expect(metricIn(samples, "postern_portal_sockets", 'kind="gateway"')).toBe(1);
    expect(metricIn(samples, "postern_portal_joins_total", 'result="ok",kind="gateway"')).toBe(1);
    expect(metricIn(samples, "postern_portal_joins_total", 'result="late",kind="client"')).toBe(0);
    expect(
      samples.filter(({ name }) => name === "postern_portal_gateways").map(({ value }) => value),
    ).toEqual([1]);
    expect(metricIn(samples, "postern_portal_push_total", 'event="init"')).toBe(1);
    expect(metricIn(samples, "postern_portal_push_lag_seconds_count")).toBeGreaterThan(0);
    for (const name of ["loop_lag", "db", "change_lag", "flow"]) {
      expect(metricIn(samples, `postern_portal_${name}_seconds_count`)).toBeGreaterThanOrEqual(0);
    }
    expect(samples.filter(({ name }) => name === "postern_portal_refused_total")).toHaveLength(1);
    expect(metricIn(samples, "postern_portal_events_total", 'counter="input_errors"')).toBe(0);
    expect(metricIn(samples, "postern_ready")).toBe(1);
    expect(await (await fetch(`http://127.0.0.1:${health}/readyz`)).text()).toBe("ok\n");
  });

  it("PG-116, PT-192: the portal pushes what it has counted, the last time when it stops", async () => {
    const reports: string[] = [];
    const collector = createHttpServer((request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => {
        body += String(chunk);
      });
      request.on("end", () => {
        reports.push(body);
        response.end();
      });
    });
    await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
    ends.push(() => collector.close());
    const address = collector.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const portal = await startPortal({ otlpEndpoint: `http://127.0.0.1:${port}` });
    expect(await portal.stop()).toBe(0);
    expect(reports).toHaveLength(1);
    expect(reports[0]).toContain('"postern-portal"');
    expect(reports[0]).toContain("postern_portal_sockets");
  });

  it("PG-14: an address that cannot be read is exit 2 before anything is served", async () => {
    await expect(startPortal({ metricsAddr: "nowhere" })).rejects.toMatchObject({ code: "usage" });
  });
});
