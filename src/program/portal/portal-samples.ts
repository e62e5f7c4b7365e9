/** What a portal measures of itself (PT-192). */
import type { PortalServerStatus } from "../control/index.ts";
import { type Sample, sample, samplesBy } from "../metrics/index.ts";
import type { PortalLoop } from "./portal-loop.ts";

export function portalSamples(
  status: Pick<PortalServerStatus, "clients" | "gateways" | "relays" | "live_authorizations">,
  { server }: PortalLoop,
): readonly Sample[] {
  const { refusedUpgrades, flows, joins, ...counters } = server.counters;
  const { clients, gateways, relays, live_authorizations } = status;
  return [
    ...samplesBy("postern_portal_sockets", "kind", {
      client: clients.length,
      gateway: gateways.length,
      relay: relays,
    }),
    sample("postern_portal_live_authorizations", live_authorizations),
    sample("postern_portal_joins_total", joins),
    ...samplesBy("postern_portal_refused_total", "code", Object.fromEntries(refusedUpgrades)),
    ...samplesBy("postern_portal_flows_total", "outcome", Object.fromEntries(flows)),
    ...samplesBy("postern_portal_events_total", "counter", snakeCased(counters)),
  ];
}

function snakeCased(counters: Readonly<Record<string, number>>): Record<string, number> {
  const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(Object.entries(counters).map(([name, count]) => [snake(name), count]));
}
