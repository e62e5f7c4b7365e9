/** The world around the name server of a gateway without a device (DN-84 to DN-87). */
import type { Log } from "../../base/index.ts";
import { createDirectPath, createNameService, type ListenForNames, type NameService } from "../dns/index.ts";
import type { OpenNameService } from "../gateway/gateway-role.ts";
import { plainTcp } from "../portal-transport.ts";
import { hostDo53Servers } from "./host-servers.ts";
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
    readServers: hostDo53Servers,
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
