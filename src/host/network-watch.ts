/**
 * Decides from netlink events when the network has changed (PG-34, PG-73). Pure: it is told events and
 * asked for deadlines; the caller looks at the host when a burst has settled.
 */
import type { BestRoute, NetworkEvent, Rtnetlink } from "../../bindings/linux/index.ts";
import { after, earliest, formatIp, type Instant, type IpAddress, ip } from "../base/index.ts";
import { FWMARK, TABLE_INTERNET, TABLE_LINK, TABLE_RESOURCES } from "./constants.ts";

/** ROUTE_DEBOUNCE. A switch between two networks is to be over within a second and a half. */
const DEBOUNCE_MS = 200;
const DEBOUNCE_MS_MAX = 500;

const OUR_TABLES: readonly number[] = [TABLE_RESOURCES, TABLE_LINK, TABLE_INTERNET];

export interface BurstWatch {
  /** Takes what the event socket gave. Events of our own TUN do not count. */
  handleEvents(now: Instant, events: readonly NetworkEvent[]): void;
  /** When the burst has settled; `undefined` while nothing has happened. */
  pollTimeout(): Instant | undefined;
  /** Whether a burst has settled by now; it is then over. */
  handleTimeout(now: Instant): boolean;
}

/** A burst settles 200 ms after its last event, and at the latest 500 ms after its first. */
export function createBurstWatch(tunIndex: number | undefined): BurstWatch {
  let due: Instant | undefined;
  let latest: Instant | undefined;
  return {
    handleEvents(now, events) {
      const isNews = events.some((event) => isOfOthers(event, tunIndex));
      if (!isNews) return;
      latest ??= after(now, DEBOUNCE_MS_MAX);
      due = earliest(after(now, DEBOUNCE_MS), latest);
    },
    pollTimeout: () => due,
    handleTimeout(now) {
      if (due === undefined || now < due) return false;
      due = undefined;
      latest = undefined;
      return true;
    },
  };
}

/** Whether an event may mean another way into the internet: not one of our device, nor of our tables. */
function isOfOthers(event: NetworkEvent, tunIndex: number | undefined): boolean {
  switch (event.kind) {
    case "overrun":
      return true;
    case "rule":
    case "parameter":
    case "firewall":
      return false;
    case "route":
      if (event.table !== undefined && OUR_TABLES.includes(event.table)) return false;
      return event.index === undefined || event.index !== tunIndex;
    default:
      return event.index === undefined || event.index !== tunIndex;
  }
}

/** The fingerprint of a host that has no way out at all. */
export const NO_NETWORK = "none, none";

/** Documentation addresses: never really there, so every route to them is the default one. */
export const PROBE_V4 = ip("198.51.100.1");
export const PROBE_V6 = ip("2001:db8::1");

/** The way into the internet as one text per family: equal texts, no network change (PG-73). */
export function networkFingerprint(
  rtnetlink: Pick<Rtnetlink, "bestRoute" | "links">,
  device?: string,
): string {
  const { v4, v6 } = defaultRoutes(rtnetlink, device);
  return [v4, v6].map(describeRoute).join(", ");
}

export interface DefaultRoutes {
  readonly v4: BestRoute | undefined;
  readonly v6: BestRoute | undefined;
}

/** The ways into the internet, by family; with `device` those that lead by that interface (PG-62). */
export function defaultRoutes(
  rtnetlink: Pick<Rtnetlink, "bestRoute" | "links">,
  device?: string,
): DefaultRoutes {
  const index = device && rtnetlink.links().find(({ name }) => name === device)?.index;
  if (device !== undefined && index === undefined) return { v4: undefined, v6: undefined };
  const find = (probe: IpAddress) => rtnetlink.bestRoute(probe, FWMARK, index || undefined);
  return { v4: find(PROBE_V4), v6: find(PROBE_V6) };
}

function describeRoute(route: BestRoute | undefined): string {
  if (route === undefined) return "none";
  const gateway = route.gateway === undefined ? "direct" : formatIp(route.gateway);
  const source = route.source === undefined ? "any" : formatIp(route.source);
  return `interface ${route.outputIndex} via ${gateway} from ${source}`;
}
