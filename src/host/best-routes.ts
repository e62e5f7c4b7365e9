/**
 * The ways that packets of the program's own sockets take, asked of the kernel once for each destination and
 * kept until the network changes: one memory for all sockets of a process (PG-62).
 */
import type { BestRoute, Rtnetlink } from "../../bindings/linux/index.ts";
import { formatIp, type IpAddress, type Log, PosternError } from "../base/index.ts";

const ROUTES_MAX = 1024;

export interface KnownRoute extends Omit<BestRoute, "outputIndex"> {
  /** Name of the interface. */
  readonly device: string;
}

export interface BestRoutes {
  /** `undefined`: there is no way; it is asked for again the next time. */
  find(destination: IpAddress): KnownRoute | undefined;
  /** The network is another one (PG-75). */
  reset(): void;
}

export interface BestRoutesOptions {
  readonly rtnetlink: Pick<Rtnetlink, "bestRoute" | "links">;
  readonly mark: number;
  /** `--egress-interface`. */
  readonly device: string | undefined;
  readonly log: Log;
}

export function createBestRoutes({ rtnetlink, mark, device, log }: BestRoutesOptions): BestRoutes {
  /** The least recently used is the first. */
  const known = new Map<string, KnownRoute>();

  /** The kernel may not tell at this moment: status alone is served by it. */
  function tryToAsk(destination: IpAddress): KnownRoute | undefined {
    try {
      return ask(destination);
    } catch (error) {
      if (!(error instanceof PosternError)) throw error;
      log.debug?.("the best route is not known", { reason: error.message });
      return undefined;
    }
  }

  function ask(destination: IpAddress): KnownRoute | undefined {
    const present = rtnetlink.links();
    const wanted = present.find(({ name }) => name === device);
    if (device !== undefined && wanted === undefined) return undefined;
    const route = rtnetlink.bestRoute(destination, mark, wanted?.index);
    if (route === undefined) return undefined;
    const { outputIndex, ...rest } = route;
    const name = present.find(({ index }) => index === outputIndex)?.name ?? String(outputIndex);
    log.debug?.("best route", { destination: formatIp(destination), device: name });
    return { ...rest, device: name };
  }

  return {
    find(destination) {
      const key = formatIp(destination);
      const route = known.get(key) ?? tryToAsk(destination);
      known.delete(key);
      if (route === undefined) return undefined;
      known.set(key, route);
      const [oldest] = known.keys();
      if (known.size > ROUTES_MAX && oldest !== undefined) known.delete(oldest);
      return route;
    },
    reset: () => known.clear(),
  };
}
