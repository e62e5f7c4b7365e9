/** What a portal measures of itself (PT-192). */
import type { PortalServerStatus } from "../control/index.ts";
import { inSeconds, type Sample, sample, samplesBy } from "../metrics/index.ts";
import type { PortalLoop } from "./portal-loop.ts";

export function portalSamples(
  status: Pick<PortalServerStatus, "clients" | "gateways" | "relays" | "live_authorizations">,
  { server, meter, ...loop }: PortalLoop,
): readonly Sample[] {
  const { refusedUpgrades, flows, joins: _, ...counters } = server.counters;
  const { candidatesDropped, candidatesUnauthorized, inputErrors, earlyFramesDropped, unknownEvents } =
    counters;
  const { clients, gateways, relays, live_authorizations } = status;
  return [
    ...samplesBy("postern_portal_sockets", "kind", {
      client: clients.length,
      gateway: gateways.length,
      relay: relays,
    }),
    sample("postern_portal_live_authorizations", live_authorizations),
    sample("postern_portal_relays", relays),
    ...samplesBy("postern_portal_gateways", "site", loop.status().gatewaysBySite),
    ...Object.entries(server.meters.joins).flatMap(([kind, results]) =>
      samplesBy("postern_portal_joins_total", "result", results, { kind }),
    ),
    ...samplesBy("postern_portal_refused_total", "code", Object.fromEntries(refusedUpgrades)),
    ...samplesBy("postern_portal_flows_total", "outcome", Object.fromEntries(flows)),
    sample("postern_portal_flow_seconds", inSeconds(server.meters.flowMs.read(), 1000)),
    ...samplesBy("postern_portal_push_total", "event", Object.fromEntries(server.pushes)),
    ...samplesBy("postern_portal_candidates_dropped_total", "reason", {
      unauthorized: candidatesUnauthorized,
      undeliverable: candidatesDropped,
    }),
    sample("postern_portal_input_errors_total", inputErrors),
    sample("postern_portal_early_frames_dropped_total", earlyFramesDropped),
    sample("postern_portal_unknown_events_total", unknownEvents),
    ...meter.samples(),
    ...samplesBy("postern_portal_events_total", "counter", snakeCased(counters)),
  ];
}

function snakeCased(counters: Readonly<Record<string, number>>): Record<string, number> {
  const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(Object.entries(counters).map(([name, count]) => [snake(name), count]));
}
