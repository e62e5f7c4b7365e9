/** Endpoint names: resolved at start, and again after 1, 2, 4 … 30 s while that fails (WG-63). */
import type { Kernel } from "../../../bindings/linux/index.ts";
import type { IpAddress, Log, SocketAddress } from "../../base/index.ts";
import { createNameResolver } from "../../host/index.ts";
import type { PlaneHost } from "../shell/index.ts";

const RETRY_MS_FIRST = 1_000;
const RETRY_MS_MAX = 30_000;

export interface NameResolver {
  stop(): void;
}

export interface NamedEndpoint {
  readonly host: string;
  readonly port: number;
  readonly resolved: (address: SocketAddress) => void;
}

/** The wait after the `failures`-th failure, counted from 1. */
export function retryDelayMs(failures: number): number {
  return Math.min(RETRY_MS_MAX, RETRY_MS_FIRST * 2 ** (failures - 1));
}

/** The address of a name; `undefined`: not now. */
export type LookUp = (name: string) => Promise<IpAddress | undefined>;

/**
 * Asks past a default route through the interface itself (PG-151): with it, the question for the endpoint
 * would go into the tunnel that waits for the answer. Of several addresses the first with a way to it counts.
 */
export function lookUpPast(
  { kernel, rtnetlink }: Pick<PlaneHost, "kernel" | "rtnetlink">,
  mark: number | undefined,
  log: Log,
): LookUp {
  const resolve = createNameResolver({ kernel, mark, log });
  return async (name) => {
    try {
      const addresses = await resolve(name);
      return addresses.find((address) => rtnetlink.bestRoute(address, mark) !== undefined) ?? addresses[0];
    } catch {
      // Whatever the reason, the remedy is to ask again.
      return undefined;
    }
  };
}

/** Without regard to ways: the interface, through which there may be one, is still to come. */
export function lookUpFirst(kernel: Kernel, mark: number | undefined, log: Log): LookUp {
  const resolve = createNameResolver({ kernel, mark, log });
  return async (name) => {
    try {
      return (await resolve(name))[0];
    } catch {
      // The MTU is chosen without it.
      return undefined;
    }
  };
}

/** The addresses of those names that have one within the time, each name asked for once. */
export async function lookUpEach(
  names: readonly string[],
  lookUp: LookUp,
  withinMs: number,
): Promise<readonly IpAddress[]> {
  const found: IpAddress[] = [];
  if (names.length === 0) return found;
  let timer: NodeJS.Timeout | undefined;
  const end = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, withinMs);
  });
  const each = [...new Set(names)].map(async (name) => {
    const address = await lookUp(name);
    if (address !== undefined) found.push(address);
  });
  await Promise.race([Promise.all(each), end]);
  clearTimeout(timer);
  // What comes later does not change an answer that has been given.
  return [...found];
}

export function startResolver(endpoints: readonly NamedEndpoint[], lookUp: LookUp, log: Log): NameResolver {
  const timers = new Set<NodeJS.Timeout>();
  let isStopped = false;

  async function tryName(endpoint: NamedEndpoint, failures: number): Promise<void> {
    const address = await lookUp(endpoint.host);
    if (isStopped) return;
    if (address !== undefined) {
      endpoint.resolved({ address, port: endpoint.port });
      return;
    }
    const delayMs = retryDelayMs(failures + 1);
    log.warn?.("endpoint name not resolved", { host: endpoint.host, retry_ms: delayMs });
    const timer = setTimeout(() => {
      timers.delete(timer);
      void tryName(endpoint, failures + 1);
    }, delayMs);
    timers.add(timer);
  }

  for (const endpoint of endpoints) void tryName(endpoint, 0);
  return {
    stop() {
      isStopped = true;
      for (const timer of timers) clearTimeout(timer);
    },
  };
}
