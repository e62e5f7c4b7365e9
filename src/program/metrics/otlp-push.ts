/** `--otlp-endpoint`: the metrics, pushed every minute to whoever collects them (PG-116). */
import { request as httpRequest, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { type Log, PosternError, parseIp } from "../../base/index.ts";
import { startTls } from "../../host/index.ts";
import { firstConnection, loadRoots, type OpenTcp, reasonOf } from "../portal-transport.ts";
import { type Environment, type Resolve, reachTarget, type Target } from "../proxy/index.ts";
import { VERSION } from "../version.ts";
import type { Sample } from "./families.ts";
import { formatOtlp, type OtlpReport, parseResourceAttributes } from "./otlp.ts";

/** PG §1, `METRICS_PERIOD`. */
const PERIOD_MS = 60_000;
/** A collector that takes longer loses this report; the next one has all of it again. */
const PUSH_WITHIN_MS = 10_000;
/** The program's end waits no longer for its last report. */
const LAST_PUSH_WITHIN_MS = 1_000;

/** How reports leave, and in whose name. */
export interface PushSettings {
  /** Who measures, asked at each report: the account is known only later. */
  readonly attributes: () => OtlpReport["attributes"];
  /** Connections past a tunnel of our own (PG-64). */
  readonly openTcp: OpenTcp;
  /** Default: the system's resolvers. */
  readonly resolve?: Resolve | undefined;
  readonly caFile: string | undefined;
  readonly env: Environment;
}

export interface PushParts extends PushSettings {
  readonly endpoint: string;
  readonly samples: () => readonly Sample[];
  readonly log: Log;
  /** Tests do not wait for a minute. */
  readonly periodMs?: number;
}

export interface Push {
  /** Sends one last report, at most for a second. */
  close(): Promise<void>;
}

interface Endpoint extends Target {
  readonly isTls: boolean;
  readonly path: string;
}

/** One POST: to whom, over which connections. */
interface Way {
  readonly endpoint: Endpoint;
  readonly openTcp: OpenTcp;
  readonly resolve: Resolve;
  readonly roots: readonly string[] | undefined;
}

/** @throws PosternError `usage`, `file-unreadable` */
export function startPush(parts: PushParts): Push {
  const { endpoint, log, periodMs = PERIOD_MS } = parts;
  const way = openWay(parts);
  const named = environmentAttributes(parts.env, log);
  const startMs = Date.now() - process.uptime() * 1000;
  let isUnderWay = false;

  async function push(withinMs: number): Promise<void> {
    try {
      const attributes = { ...named, ...parts.attributes() };
      const report = { samples: parts.samples(), attributes, version: VERSION, startMs, nowMs: Date.now() };
      await post(way, formatOtlp(report), withinMs);
      log.debug?.("metrics pushed", { endpoint });
    } catch (error) {
      // What was measured is in the next report, too: nothing is queued.
      log.warn?.("metrics cannot be pushed", { endpoint, reason: reasonOf(error) });
    }
  }

  const timer = setInterval(() => {
    if (isUnderWay) return;
    isUnderWay = true;
    void push(PUSH_WITHIN_MS).finally(() => {
      isUnderWay = false;
    });
  }, periodMs);
  timer.unref();
  return {
    async close() {
      clearInterval(timer);
      await push(LAST_PUSH_WITHIN_MS);
    },
  };
}

/** The option's own check has read it once (`parseCollectorUrl`). */
function parseEndpoint(text: string): Endpoint {
  const url = new URL(text);
  const isTls = url.protocol === "https:";
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const port = url.port === "" ? (isTls ? 443 : 80) : Number(url.port);
  return { host, port, isTls, path: `${url.pathname.replace(/\/+$/, "")}/v1/metrics` };
}

function openWay({ endpoint: text, openTcp, resolve, caFile, env, log }: PushParts): Way {
  const endpoint = parseEndpoint(text);
  // The variables name a proxy for HTTPS; a collector by plain HTTP is reached straight.
  const proxies = endpoint.isTls ? env : {};
  const reach = reachTarget({ target: endpoint, env: proxies, openTcp, resolve, caFile, log });
  return { endpoint, ...reach, roots: endpoint.isTls ? loadRoots(caFile) : undefined };
}

function environmentAttributes(env: Environment, log: Log): Readonly<Record<string, string>> {
  const attributes = parseResourceAttributes(env["OTEL_RESOURCE_ATTRIBUTES"] ?? "");
  if (attributes.ok) return attributes.value;
  log.warn?.("OTEL_RESOURCE_ATTRIBUTES cannot be read and is left out", { reason: attributes.reason });
  return {};
}

/** Rejects unless the collector takes it in time. */
async function post(way: Way, body: string, withinMs: number): Promise<void> {
  let socket: Socket | undefined;
  let isLate = false;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      isLate = true;
      socket?.destroy();
      reject(new PosternError("otlp-late", `no answer within ${withinMs / 1000} s`));
    }, withinMs);
  });
  const answered = connect(way, withinMs).then((opened) => {
    socket = opened;
    if (isLate) socket.destroy();
    return send(way.endpoint, opened, body);
  });
  try {
    const response = await Promise.race([answered, late]);
    const { statusCode = 0 } = response;
    if (statusCode < 200 || statusCode > 299) {
      throw new PosternError("otlp-refused", `the collector answers ${statusCode}`);
    }
  } finally {
    clearTimeout(timer);
    socket?.destroy();
    answered.catch(() => {});
  }
}

async function connect({ endpoint, openTcp, resolve, roots }: Way, withinMs: number): Promise<Socket> {
  const literal = parseIp(endpoint.host);
  const addresses = literal.ok ? [literal.value] : await resolve(endpoint.host);
  if (addresses.length === 0) throw new PosternError("otlp-unknown", `${endpoint.host} has no address`);
  const tcp = await firstConnection(addresses, endpoint.port, (to) => openTcp(to, withinMs));
  return roots === undefined ? tcp : startTls(tcp, { servername: endpoint.host, ca: roots });
}

function send({ host, port, path }: Endpoint, socket: Socket, body: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      method: "POST",
      path,
      headers: {
        host: `${host.includes(":") ? `[${host}]` : host}:${port}`,
        "user-agent": `postern/${VERSION}`,
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
        connection: "close",
      },
      createConnection: () => socket,
    });
    request.once("response", resolve);
    request.once("error", reject);
    request.end(body);
  });
}
