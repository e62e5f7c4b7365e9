/** What a running portal shows of itself (PT-117): for its control socket and, on SIGUSR2, for the log. */
import { formatSocketAddress, type Log } from "../../base/index.ts";
import type { Counts, PortalServerStatus, PresentView } from "../control/index.ts";
import { VERSION } from "../version.ts";
import type { PortalLoop } from "./portal-loop.ts";

export interface PortalStatusParts {
  readonly loop: PortalLoop;
  readonly instance: string;
  /** Of `performance.now()`. */
  readonly startedAt: number;
  readonly isReady: boolean;
}

export function readPortalStatus({
  loop,
  instance,
  startedAt,
  isReady,
}: PortalStatusParts): PortalServerStatus {
  const { clients, gateways, relays, liveAuthorizations } = loop.status();
  return {
    version: VERSION,
    role: "portal",
    instance,
    pid: process.pid,
    uptime_s: Math.round((performance.now() - startedAt) / 1000),
    ready: isReady,
    listen: formatSocketAddress(loop.listener.address),
    clients: clients.map(toView),
    gateways: gateways.map(toView),
    relays,
    live_authorizations: liveAuthorizations,
    counters: countersOf(loop),
  };
}

type Present = ReturnType<PortalLoop["status"]>["clients"][number];

function toView({ id, name, externalId }: Present): PresentView {
  return { id, name, external_id: externalId };
}

/** Every counter that is not zero: refusals and flows by their code (PT-192). */
function countersOf({ server }: PortalLoop): Counts {
  const { refusedUpgrades, flows, ...counters } = server.counters;
  return Object.fromEntries([
    ...Object.entries(counters).filter(([, count]) => count > 0),
    ...[...refusedUpgrades].map(([code, count]) => [`refused_${code}`, count]),
    ...[...flows].map(([outcome, count]) => [`flow_${outcome}`, count]),
  ]);
}

export function logPortalStatus(log: Log, status: PortalServerStatus): void {
  const { clients, gateways, relays, live_authorizations, counters } = status;
  log.info?.("status", {
    clients: clients.length,
    gateways: gateways.length,
    relays,
    live_authorizations,
    ...counters,
  });
}
