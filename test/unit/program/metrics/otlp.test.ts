/** Metrics by OTLP: the form of a report, and a collector on loopback that takes, refuses or is silent. */

import { readFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { createHistogram, type Log, SILENT } from "../../../../src/base/index.ts";
import {
  formatOtlp,
  type PushSettings,
  parseResourceAttributes,
  type Sample,
  sample,
  startPush,
} from "../../../../src/program/metrics/index.ts";
import { plainTcp } from "../../../../src/program/portal-transport.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

describe("a report", () => {
  const histogram = createHistogram([1, 5]);
  for (const value of [0.5, 3, 9]) histogram.observe(value);
  const text = formatOtlp({
    samples: [
      sample("postern_ready", 1),
      sample("postern_packets_total", 7, { direction: "in", plane: "udp" }),
      sample("postern_loop_turn_seconds", histogram.read()),
    ],
    attributes: { "service.name": "postern-client", "postern.account_slug": undefined },
    version: "1.2.3",
    startMs: 1_700_000_000_000.5,
    nowMs: 1_700_000_060_123,
  });
  const [resource] = JSON.parse(text).resourceMetrics;
  const metrics = Object.fromEntries(
    resource.scopeMetrics[0].metrics.map((metric: { name: string }) => [metric.name, metric]),
  );
  const times = { startTimeUnixNano: "1700000000000000000", timeUnixNano: "1700000060123000000" };

  it("PG-116: names who measures, and leaves out what is not known yet", () => {
    expect(resource.resource.attributes).toEqual([
      { key: "service.name", value: { stringValue: "postern-client" } },
    ]);
    expect(resource.scopeMetrics[0].scope).toEqual({ name: "postern", version: "1.2.3" });
  });

  it("PG-116: a gauge is a value, a counter a cumulative sum with its labels", () => {
    expect(metrics["postern_ready"].gauge.dataPoints).toEqual([{ attributes: [], ...times, asDouble: 1 }]);
    expect(metrics["postern_packets_total"].sum).toEqual({
      aggregationTemporality: 2,
      isMonotonic: true,
      dataPoints: [
        {
          attributes: [
            { key: "direction", value: { stringValue: "in" } },
            { key: "plane", value: { stringValue: "udp" } },
          ],
          ...times,
          asDouble: 7,
        },
      ],
    });
  });

  it("PG-116: a histogram has one bucket more than bounds; numbers of 64 bits are text", () => {
    expect(metrics["postern_loop_turn_seconds"].histogram.dataPoints[0]).toMatchObject({
      count: "3",
      sum: 12.5,
      bucketCounts: ["1", "1", "1"],
      explicitBounds: [1, 5],
    });
  });

  it.each([
    ["", {}],
    ["team=net,region=eu%2Dwest", { team: "net", region: "eu-west" }],
    [" a = b ,", { a: "b" }],
    ["a=", { a: "" }],
  ])("PG-116: reads OTEL_RESOURCE_ATTRIBUTES '%s'", (given, attributes) => {
    expect(parseResourceAttributes(given)).toEqual({ ok: true, value: attributes });
  });

  it.each(["team", "=x", "a=%zz"])("PG-116: one bad entry voids all of '%s'", (given) => {
    expect(parseResourceAttributes(`good=1,${given}`).ok).toBe(false);
  });
});

interface Report {
  readonly url: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

const VECTORS = new URL("../../../vectors/portal/", import.meta.url).pathname;
const CERTIFICATE = `${VECTORS}localhost.crt`;

/** A collector that answers with `status`, or never. */
async function collector(status: number | "silent", scheme: "http" | "https" = "http") {
  const reports: Report[] = [];
  const waiting: (() => void)[] = [];
  const tls = { cert: readFileSync(CERTIFICATE), key: readFileSync(`${VECTORS}localhost.key`) };
  const server = scheme === "http" ? createServer() : createTlsServer(tls);
  server.on("request", (request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => {
      body += String(chunk);
    });
    request.on("end", () => {
      reports.push({ url: request.url, headers: request.headers, body });
      if (status !== "silent") response.writeHead(status).end();
      for (const resume of waiting.splice(0)) resume();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `${scheme}://${scheme === "http" ? "127.0.0.1" : "localhost"}:${port}`,
    reports,
    next: () => new Promise<void>((resolve) => waiting.push(resolve)),
  };
}

function push(endpoint: string, settings: Partial<PushSettings> & { periodMs?: number } = {}) {
  const warnings: Record<string, unknown>[] = [];
  const log: Log = { ...SILENT, warn: (event, fields) => warnings.push({ event, ...fields }) };
  const samples: readonly Sample[] = [sample("postern_ready", 1)];
  const pushing = startPush({
    endpoint,
    samples: () => samples,
    attributes: () => ({ "service.instance.id": "abc" }),
    openTcp: plainTcp,
    caFile: undefined,
    env: {},
    log,
    ...settings,
  });
  return { ...pushing, warnings };
}

const attributesOf = ({ body }: Report): unknown => JSON.parse(body).resourceMetrics[0].resource.attributes;

describe("pushing", () => {
  it("PG-116: goes to /v1/metrics below the URL as JSON, at the end of the program too", async () => {
    const { url, reports } = await collector(200);
    const { close, warnings } = push(`${url}/otlp/`, {
      env: { OTEL_RESOURCE_ATTRIBUTES: "team=net,service.instance.id=mine" },
    });
    expect(reports).toEqual([]);
    await close();
    expect(reports).toHaveLength(1);
    const [report] = reports as [Report];
    expect(report.url).toBe("/otlp/v1/metrics");
    expect(report.headers["content-type"]).toBe("application/json");
    // What the program knows of itself is not to be told otherwise.
    expect(attributesOf(report)).toEqual([
      { key: "team", value: { stringValue: "net" } },
      { key: "service.instance.id", value: { stringValue: "abc" } },
    ]);
    expect(warnings).toEqual([]);
  });

  it("PG-116, PT-63: each period there is a report, with what is known by then", async () => {
    const { url, reports, next } = await collector(200);
    let account: string | undefined;
    const { close } = push(url, { periodMs: 5, attributes: () => ({ "postern.account_slug": account }) });
    closers.push(close);
    await next();
    account = "acme";
    const before = reports.length;
    while (reports.length < before + 2) await next();
    expect(attributesOf(reports[0] as Report)).toEqual([]);
    expect(attributesOf(reports.at(-1) as Report)).toEqual([
      { key: "postern.account_slug", value: { stringValue: "acme" } },
    ]);
  });

  it("PG-116: a refusal is a warning with its status", async () => {
    const { url } = await collector(503);
    const { close, warnings } = push(url);
    await close();
    expect(warnings).toEqual([
      { event: "metrics cannot be pushed", endpoint: url, reason: "the collector answers 503" },
    ]);
  });

  it("PG-116: nobody there, or a name without address, is a warning", async () => {
    const closed = push("http://127.0.0.1:1");
    await closed.close();
    const unknown = push("http://collector.invalid", { resolve: async () => [] });
    await unknown.close();
    expect([...closed.warnings, ...unknown.warnings].map(({ reason }) => reason)).toEqual([
      "ECONNREFUSED",
      "collector.invalid has no address",
    ]);
  });

  it("PG-116: the end of the program waits a second for a collector that is silent", async () => {
    const { url } = await collector("silent");
    const { close, warnings } = push(url);
    await close();
    expect(warnings.map(({ reason }) => reason)).toEqual(["no answer within 1 s"]);
  });

  it("PG-116: over TLS only to who has a certificate that is trusted", async () => {
    const { url, reports } = await collector(200, "https");
    const doubted = push(url);
    await doubted.close();
    expect(doubted.warnings).toEqual([
      { event: "metrics cannot be pushed", endpoint: url, reason: "DEPTH_ZERO_SELF_SIGNED_CERT" },
    ]);
    expect(reports).toEqual([]);
    const trusted = push(url, { caFile: CERTIFICATE });
    await trusted.close();
    expect(trusted.warnings).toEqual([]);
    expect(reports).toHaveLength(1);
  });

  it("PG-116: attributes that cannot be read are left out, and said", async () => {
    const { url, reports } = await collector(200);
    const { close, warnings } = push(url, { env: { OTEL_RESOURCE_ATTRIBUTES: "team" } });
    await close();
    expect(warnings).toHaveLength(1);
    expect(attributesOf(reports[0] as Report)).toEqual([
      { key: "service.instance.id", value: { stringValue: "abc" } },
    ]);
  });
});
