/** Metrics and health: what is served where, and what is pushed (PG-85, PG-114, PG-116, PT-117). */
import { equalSocketAddress, formatSocketAddress, type Log } from "../../base/index.ts";
import {
  type Document,
  isLoopback,
  openHttpService,
  parseServiceAddress,
  type Routes,
} from "../http-service.ts";
import { CONTENT_TYPE, formatMetrics } from "./exposition.ts";
import type { Sample } from "./families.ts";
import { type PushSettings, startPush } from "./otlp-push.ts";

export interface ServiceOptions {
  readonly metricsAddr?: string | undefined;
  readonly healthAddr?: string | undefined;
  readonly otlpEndpoint?: string | undefined;
}

export interface ServiceParts {
  readonly samples: () => readonly Sample[];
  /** Why the program is not healthy, or not ready; `undefined`: it is. */
  readonly unhealthy: () => string | undefined;
  readonly unready: () => string | undefined;
  /** How `--otlp-endpoint` is reached. */
  readonly push: PushSettings;
  readonly log: Log;
}

export interface Services {
  /** Metrics are pushed a last time (PG-116). */
  close(): Promise<void>;
}

/** Opens what the options name. Both may share an address. @throws PosternError `usage`, `socket-listen` */
export async function openServices(
  { metricsAddr, healthAddr, otlpEndpoint }: ServiceOptions,
  parts: ServiceParts,
): Promise<Services> {
  const { log, samples, push } = parts;
  const metrics = metricsAddr === undefined ? undefined : parseServiceAddress("--metrics-addr", metricsAddr);
  const health = healthAddr === undefined ? undefined : parseServiceAddress("--health-addr", healthAddr);
  if (metrics !== undefined && !isLoopback(metrics)) {
    log.warn?.("metrics are served beyond this host, to whoever reaches the address", {
      address: formatSocketAddress(metrics),
    });
  }
  const opened: { close(): void | Promise<void> }[] = [];
  const close = async (): Promise<void> => {
    for (const service of opened) await service.close();
  };
  try {
    const isShared = metrics !== undefined && health !== undefined && equalSocketAddress(metrics, health);
    if (metrics !== undefined) {
      const routes = { ...metricsRoutes(parts), ...(isShared ? healthRoutes(parts) : {}) };
      opened.push(await openHttpService("--metrics-addr", metrics, routes, log));
    }
    if (health !== undefined && !isShared) {
      opened.push(await openHttpService("--health-addr", health, healthRoutes(parts), log));
    }
    if (otlpEndpoint !== undefined) {
      opened.push(startPush({ ...push, endpoint: otlpEndpoint, samples, log }));
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { close };
}

function metricsRoutes({ samples }: ServiceParts): Routes {
  return { "/metrics": () => ({ type: CONTENT_TYPE, body: formatMetrics(samples()) }) };
}

function healthRoutes({ unhealthy, unready }: ServiceParts): Routes {
  return { "/healthz": () => verdict(unhealthy()), "/readyz": () => verdict(unready()) };
}

function verdict(trouble: string | undefined): Document {
  return trouble === undefined ? { body: "ok\n" } : { status: 503, body: `${trouble}\n` };
}
