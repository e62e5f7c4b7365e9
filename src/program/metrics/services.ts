/** `--metrics-addr` and `--health-addr`: what is served where (PG-85, PG-114, PT-117). */
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

export interface ServiceOptions {
  readonly metricsAddr?: string | undefined;
  readonly healthAddr?: string | undefined;
}

export interface ServiceParts {
  readonly samples: () => readonly Sample[];
  /** Why the program is not healthy, or not ready; `undefined`: it is. */
  readonly unhealthy: () => string | undefined;
  readonly unready: () => string | undefined;
  readonly log: Log;
}

/** Opens what the options name. Both may share an address. @throws PosternError `usage`, `socket-listen` */
export async function openServices(
  { metricsAddr, healthAddr }: ServiceOptions,
  parts: ServiceParts,
): Promise<{ close(): void }> {
  const { log } = parts;
  const metrics = metricsAddr === undefined ? undefined : parseServiceAddress("--metrics-addr", metricsAddr);
  const health = healthAddr === undefined ? undefined : parseServiceAddress("--health-addr", healthAddr);
  if (metrics !== undefined && !isLoopback(metrics)) {
    log.warn?.("metrics are served beyond this host, to whoever reaches the address", {
      address: formatSocketAddress(metrics),
    });
  }
  const opened: { close(): void }[] = [];
  const close = (): void => {
    for (const service of opened) service.close();
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
  } catch (error) {
    close();
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
