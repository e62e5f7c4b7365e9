/** The world around the name server of a gateway without a device (DN-84 to DN-87). */
import { networkInterfaces } from "node:os";
import type { Log } from "../../base/index.ts";
import type { Do53Server } from "../../dns/index.ts";
import { readHostServers, SYSTEM_FILES } from "../../host/index.ts";
import {
  createDirectPath,
  createNameService,
  type ListenForNames,
  NAME_SERVERS_MAX,
  type NameService,
} from "../dns/index.ts";
import type { OpenNameService } from "../gateway/gateway-role.ts";
import { plainTcp } from "../portal-transport.ts";
import { isPermitted } from "./permission.ts";
import { openRuntimeQueries } from "./query-sockets.ts";

/** The host's servers are measured from the first question on: until then the program has asked nobody (DN-87). */
export function openSiteNames(
  listenAt: ListenForNames,
  { machine, input, fail }: Parameters<OpenNameService>[0],
  log: Log,
): NameService {
  let isStarted = false;
  const service = createNameService({
    openPath: (onResult) =>
      createDirectPath({ openSockets: openRuntimeQueries, openTcp: plainTcp, onResult }),
    give: (use) => input((now) => machine.useNameServer(now, (server) => use(server, now))),
    readServers,
    listenAt: (address, onAsked) =>
      listenAt(address, (asked) => {
        if (!isStarted) service.start();
        isStarted = true;
        onAsked(asked);
      }),
    ...{ fail, log },
  });
  return { ...service, start: () => {} };
}

function readServers(): readonly Do53Server[] {
  if (!isPermitted({ name: "read", path: SYSTEM_FILES.resolvConf })) return [];
  return readHostServers(NAME_SERVERS_MAX).map(({ address, zone }): Do53Server => {
    const scope = zone === undefined ? undefined : scopeOf(zone);
    return scope === undefined ? { address } : { address, scope };
  });
}

function scopeOf(zone: string): number | undefined {
  if (/^\d+$/.test(zone)) return Number(zone);
  // Loopback and IPv4 have none, or 0.
  for (const one of networkInterfaces()[zone] ?? []) {
    if (one.family === "IPv6" && one.scopeid) return one.scopeid;
  }
  return undefined;
}
