/** How a process reaches a TCP service: straight, or through the environment's proxy (RL-211, PT-17). */
import type { IpAddress, Log } from "../../base/index.ts";
import { loadRoots, type OpenTcp, systemResolve } from "../portal-transport.ts";
import { type Environment, proxyFor, type Target } from "./choice.ts";
import { connectThrough } from "./connect.ts";

export type Resolve = (host: string) => Promise<readonly IpAddress[]>;

/** Opens connections to one target: addresses to try, and how. */
export interface Reach {
  readonly openTcp: OpenTcp;
  readonly resolve: Resolve;
}

export interface ReachOptions {
  readonly target: Target;
  readonly env: Environment;
  readonly openTcp: OpenTcp;
  /** Default: the system's resolvers. */
  readonly resolve?: Resolve | undefined;
  /** Trusted for `https://` proxies. */
  readonly caFile: string | undefined;
  readonly log: Log;
}

/**
 * With a proxy its addresses are tried in place of the target's, whose name the proxy resolves.
 *
 * @throws PosternError `usage` when the environment's proxy cannot be read
 */
export function reachTarget(options: ReachOptions): Reach {
  const { target, env, openTcp, resolve = systemResolve, caFile, log } = options;
  const proxy = proxyFor(target, env);
  if (proxy === undefined) return { openTcp, resolve };
  log.info?.("through a proxy", { target: target.host, proxy: `${proxy.host}:${proxy.port}` });
  const roots = proxy.scheme === "https" ? { roots: loadRoots(caFile) } : {};
  return {
    resolve: () => resolve(proxy.host),
    async openTcp({ address }, timeoutMs) {
      const tcp = await openTcp({ address, port: proxy.port }, timeoutMs);
      return await connectThrough(tcp, proxy, target, roots);
    },
  };
}
