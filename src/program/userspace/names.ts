/** Names of a client without a host: its resolver, and nobody's configuration to change (PG-123). */
import { type IpAddress, type Log, parseIp } from "../../base/index.ts";
import { type DnsControl, SYSTEM_FILES } from "../../host/index.ts";
import type { OpenDns } from "../client/client-role.ts";
import { createDirectPath, createDnsService, createDohClient } from "../dns/index.ts";
import { loadRoots, plainTcp, systemResolve } from "../portal-transport.ts";
import { hostServers, scopeOf } from "./host-servers.ts";
import { openRuntimeQueries } from "./query-sockets.ts";

/** Empty: nobody. `host`: whom the host asks, as long as it does. */
export type SystemResolvers = readonly IpAddress[] | "host";

export interface NamesOptions {
  /** Whom to ask for names that no resource has, if the portal names nobody. */
  readonly systemResolvers: SystemResolvers;
  readonly log: Log;
}

export function openNames({ systemResolvers, log }: NamesOptions): OpenDns {
  return (parts) => {
    const doh = createDohClient({
      openTcp: plainTcp,
      roots: loadRoots(undefined),
      resolve: systemResolve,
      log,
    });
    return createDnsService({
      control: noControl(systemResolvers),
      ...{ doh, log, now: parts.surroundings.now, namesFile: undefined },
      openPath: (onResult) =>
        createDirectPath({ openSockets: openRuntimeQueries, openTcp: plainTcp, doh, onResult }),
      give: (use) => parts.input((now) => parts.machine.useResolver(now, (resolver) => use(resolver, now))),
      indexOf: scopeOf,
    });
  };
}

function noControl(resolvers: SystemResolvers): DnsControl {
  return {
    mode: "disabled",
    systemServers: () => (resolvers === "host" ? hostServers() : resolvers.map((address) => ({ address }))),
    want: () => {},
    look: () => {},
    flush: () => {},
    revert: () => {},
    watched: resolvers === "host" ? [SYSTEM_FILES.resolvConf] : [],
  };
}

/** An address, as an option has it. */
export function toAddress(text: string): IpAddress | undefined {
  const parsed = parseIp(text);
  return parsed.ok ? parsed.value : undefined;
}
