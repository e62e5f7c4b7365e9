/** The world around a gateway's name server on a host (DN-84 to DN-87). */
import { interfaceIndex, type Kernel, openQuerySockets } from "../../../bindings/linux/index.ts";
import type { Log } from "../../base/index.ts";
import type { Do53Server } from "../../dns/index.ts";
import { FWMARK, readHostServers } from "../../host/index.ts";
import { createDirectPath, createNameService, NAME_SERVERS_MAX, type NameService } from "../dns/index.ts";
import type { GatewayOptions } from "../options.ts";
import { markedTcp } from "../portal-transport.ts";
import type { OpenNameService } from "./gateway-role.ts";

export interface NamesOnHost {
  readonly kernel: Kernel;
  readonly options: Pick<GatewayOptions, "egressInterface">;
  readonly log: Log;
}

/** Its questions go past the tunnel, as those of the gateway itself do (DN-86, DN-89). */
export function openNames(
  { kernel, options, log }: NamesOnHost,
  { machine, input, fail }: Parameters<OpenNameService>[0],
): NameService {
  const way = { mark: FWMARK, device: options.egressInterface };
  const openTcp = markedTcp(kernel, FWMARK, options.egressInterface);
  return createNameService({
    openPath: (onResult) =>
      createDirectPath({
        openSockets: (onOutcome) => openQuerySockets({ kernel, way, onOutcome }),
        ...{ openTcp, onResult },
      }),
    give: (use) => input((now) => machine.useNameServer(now, (server) => use(server, now))),
    readServers: () =>
      readHostServers(NAME_SERVERS_MAX).map(({ address, zone }): Do53Server => {
        const scope = zone === undefined ? undefined : scopeOf(kernel, zone);
        return scope === undefined ? { address } : { address, scope };
      }),
    ...{ fail, log },
  });
}

function scopeOf(kernel: Kernel, zone: string): number | undefined {
  return /^\d+$/.test(zone) ? Number(zone) : interfaceIndex(kernel, zone);
}
