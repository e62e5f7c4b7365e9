/** The name servers of the host, for those who leave its configuration as it is (PG-129, DN-87). */
import { networkInterfaces } from "node:os";
import type { Do53Server } from "../../dns/index.ts";
import { readHostServers, SYSTEM_FILES } from "../../host/index.ts";
import { NAME_SERVERS_MAX } from "../dns/index.ts";
import { isPermitted } from "./permission.ts";

/** None where the program may not read the file (Deno). */
export function hostServers(): ReturnType<typeof readHostServers> {
  if (!isPermitted({ name: "read", path: SYSTEM_FILES.resolvConf })) return [];
  return readHostServers(NAME_SERVERS_MAX);
}

/** The same as questions are sent to. */
export function hostDo53Servers(): readonly Do53Server[] {
  return hostServers().map(({ address, zone }): Do53Server => {
    const scope = zone === undefined ? undefined : scopeOf(zone);
    return scope === undefined ? { address } : { address, scope };
  });
}

/** The number of an interface, as a link-local address has it; `undefined`: there is none, or it has none. */
export function scopeOf(zone: string): number | undefined {
  if (/^\d+$/.test(zone)) return Number(zone);
  try {
    // Loopback and IPv4 have none, or 0.
    for (const one of networkInterfaces()[zone] ?? []) {
      if (one.family === "IPv6" && one.scopeid) return one.scopeid;
    }
  } catch {
    // The system does not tell now (PG-210): asked again with the next question.
  }
  return undefined;
}
