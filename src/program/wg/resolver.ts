/** Endpoint names: resolved at start, and again after 1, 2, 4 … 30 s while that fails (WG-63). */
import { lookup } from "node:dns/promises";
import { type Log, parseIp, type SocketAddress } from "../../base/index.ts";

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

/** The first address of a name, as the system's resolver orders them; `undefined`: not now. */
export async function lookUpName(host: string): Promise<Uint8Array | undefined> {
  try {
    const { address } = await lookup(host);
    const parsed = parseIp(address);
    return parsed.ok ? parsed.value : undefined;
  } catch {
    // Whatever the reason, the remedy is to ask again.
    return undefined;
  }
}

export function startResolver(endpoints: readonly NamedEndpoint[], log: Log): NameResolver {
  const timers = new Set<NodeJS.Timeout>();
  let isStopped = false;

  async function tryName(endpoint: NamedEndpoint, failures: number): Promise<void> {
    const address = await lookUpName(endpoint.host);
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
