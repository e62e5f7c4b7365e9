/**
 * Policy routing of client and gateway (PG-31 to PG-35).
 *
 *     unmarked packet → TABLE_RESOURCES → TABLE_LINK → TABLE_INTERNET → main
 *     our own sockets (FWMARK)                                        → main
 */
import {
  type DeviceRoute,
  errnoName,
  type Family,
  type KernelRoute,
  type Link,
  type Refusal,
  RT_SCOPE_LINK,
  RT_SCOPE_UNIVERSE,
  RT_TABLE_MAIN,
  RTN_UNICAST,
  RTPROT_KERNEL,
  RTPROT_STATIC,
  type Rtnetlink,
  type Rule,
} from "../../bindings/linux/index.ts";
import { equalPrefix, formatPrefix, type Log, PosternError, type Prefix } from "../base/index.ts";
import { FAMILIES, FWMARK, TABLE_INTERNET, TABLE_LINK, TABLE_RESOURCES } from "./constants.ts";

/** Table and priority of each rule, in the order in which tables are asked. */
const TABLES = [
  { table: TABLE_RESOURCES, priority: 100 },
  { table: TABLE_LINK, priority: 200 },
  { table: TABLE_INTERNET, priority: 300 },
] as const;

/** `not fwmark FWMARK lookup TABLE`, for the three tables (PG-31). */
export function policyRules(family: Family): readonly Rule[] {
  return TABLES.map(({ table, priority }) => ({
    family,
    table,
    priority,
    mark: FWMARK,
    isInverted: true,
    protocol: RTPROT_KERNEL,
  }));
}

/** Adds the rules of the families that the link has. A refusal leaves the tunnel without effect: WARN. */
export function addPolicyRules(rtnetlink: Rtnetlink, families: readonly Family[], log: Log): void {
  for (const rule of families.flatMap(policyRules)) {
    const refusal = rtnetlink.addRule(rule);
    if (refusal === undefined) continue;
    // What exists is ours only if it says the same: the kernel does not look at the `not`.
    if (is(refusal, "EEXIST") && rtnetlink.rules(rule.family).some((one) => isSameRule(rule, one))) continue;
    const event = is(refusal, "EOPNOTSUPP") ? "policy routing not supported" : "rule refused";
    log.warn?.(event, { family: rule.family, table: rule.table, reason: refusal.message });
  }
}

/** Routes for networks behind the tunnel: defaults have a table of their own, asked last (PG-32). */
export function tunnelRoutes(networks: readonly Prefix[], tunIndex: number): readonly DeviceRoute[] {
  return networks.map((destination) => ({
    destination,
    table: destination.bits === 0 ? TABLE_INTERNET : TABLE_RESOURCES,
    outputIndex: tunIndex,
    protocol: RTPROT_STATIC,
    scope: RT_SCOPE_UNIVERSE,
  }));
}

/**
 * Copies of the routes to directly connected networks, so that the LAN stays reachable while the
 * default route leads into the tunnel (PG-33). Routes via a gateway are not copied: a DHCP server could
 * pull traffic out of the tunnel with them.
 */
export function linkRoutes(
  main: readonly KernelRoute[],
  links: readonly Link[],
  tunIndex: number,
): readonly DeviceRoute[] {
  return main.flatMap((route) => {
    const { destination, outputIndex, metric } = route;
    const link = links.find(({ index }) => index === outputIndex);
    const isDirect =
      destination.address.length === 4
        ? route.scope === RT_SCOPE_LINK
        : route.gateway === undefined && !route.hasNextHops;
    if (outputIndex === undefined || outputIndex === tunIndex || !link?.isOperational) return [];
    if (route.type !== RTN_UNICAST || destination.bits <= 1 || !isDirect) return [];
    return [
      {
        destination,
        table: TABLE_LINK,
        outputIndex,
        protocol: RTPROT_STATIC,
        scope: route.scope,
        ...(metric === undefined ? {} : { metric }),
      },
    ];
  });
}

export interface RouteChanges {
  readonly stale: readonly DeviceRoute[];
  /** The whole wanted set: adding what is there already costs one EEXIST and mends what was lost. */
  readonly wanted: readonly DeviceRoute[];
}

/** What leads from `present` to `wanted`, within the tables that `wanted` may use. */
export function routeChanges(present: readonly KernelRoute[], wanted: readonly DeviceRoute[]): RouteChanges {
  const stale = present.flatMap((route) => {
    const { outputIndex } = route;
    if (outputIndex === undefined || wanted.some((one) => isSameRoute(one, route))) return [];
    return [{ ...route, outputIndex }];
  });
  return { stale, wanted };
}

/** Whether a rule that is there is one that is wanted. */
export function isSameRule(wanted: Rule, present: Rule): boolean {
  return (
    wanted.family === present.family &&
    wanted.table === present.table &&
    wanted.priority === present.priority &&
    wanted.mark === present.mark &&
    wanted.isInverted === present.isInverted
  );
}

/** Whether a route that is there is one that is wanted. */
export function isSameRoute(wanted: DeviceRoute, present: KernelRoute): boolean {
  return (
    wanted.table === present.table &&
    wanted.outputIndex === present.outputIndex &&
    equalPrefix(wanted.destination, present.destination) &&
    // Without a metric of ours the kernel chooses one for IPv6.
    (wanted.metric === undefined || wanted.metric === present.metric)
  );
}

/**
 * Makes the tables hold exactly the wanted routes, and those by other devices than `device`, if that is
 * given: they are not ours.
 * @returns how many were deleted and added
 */
export function applyRoutes(
  rtnetlink: Rtnetlink,
  tables: readonly number[],
  wanted: readonly DeviceRoute[],
  log: Log,
  device?: number,
): { readonly deleted: number; readonly added: number } {
  const present = tables.flatMap((table) => FAMILIES.flatMap((family) => rtnetlink.routes(family, table)));
  const ours = present.filter(({ outputIndex }) => device === undefined || outputIndex === device);
  const changes = routeChanges(ours, wanted);
  let deleted = 0;
  let added = 0;
  for (const route of changes.stale) {
    const refusal = rtnetlink.deleteRoute(route);
    if (refusal === undefined) deleted++;
    else if (!is(refusal, "ENOENT", "ESRCH")) warn(log, "route not deleted", route, refusal);
  }
  for (const route of changes.wanted) {
    const refusal = rtnetlink.addRoute(route);
    if (refusal === undefined) added++;
    // A route that exists is ours only if it leads to our device.
    // Of copies of the LAN's routes there is one per network: fe80::/64 is on every device.
    else if (is(refusal, "EEXIST") && device !== undefined && !ours.some((one) => isSameRoute(route, one))) {
      warn(log, "route not added: another device has it", route, refusal);
    } else if (!is(refusal, "EEXIST", "EOPNOTSUPP")) warn(log, "route not added", route, refusal);
  }
  return { deleted, added };
}

/** The client's and gateway's networks behind the tunnel; INFO names the set once (PG-32). */
export function applyTunnelRoutes(
  rtnetlink: Rtnetlink,
  tunIndex: number,
  networks: readonly Prefix[],
  log: Log,
): void {
  const wanted = tunnelRoutes(networks, tunIndex);
  applyRoutes(rtnetlink, [TABLE_RESOURCES, TABLE_INTERNET], wanted, log, tunIndex);
  log.info?.("routes set", { networks: networks.map(formatPrefix) });
}

/** Copies the LAN's routes as they are now (PG-34). */
export function synchroniseLinkRoutes(rtnetlink: Rtnetlink, tunIndex: number, log: Log): void {
  const main = FAMILIES.flatMap((family) => rtnetlink.routes(family, RT_TABLE_MAIN));
  const wanted = linkRoutes(main, rtnetlink.links(), tunIndex);
  applyRoutes(rtnetlink, [TABLE_LINK], wanted, log);
}

/**
 * The device of another client or gateway that is at work in this network namespace (PG-174): our tables are
 * the same for all of them, and the second would flush the first one's routes.
 */
export function otherTunnel(rtnetlink: Rtnetlink, tunIndex: number): string | undefined {
  const routes = FAMILIES.flatMap((family) => rtnetlink.routes(family, TABLE_RESOURCES));
  // With a process that died its device went, and with it the routes: what is there is used.
  const other = routes.find(({ outputIndex }) => outputIndex !== undefined && outputIndex !== tunIndex);
  return rtnetlink.links().find(({ index }) => index === other?.outputIndex)?.name;
}

/** Deletes everything in our tables and every rule that points to them: at start and at stop (PG-35). */
export function flushPolicyRouting(rtnetlink: Rtnetlink, log: Log): void {
  const tables: readonly number[] = TABLES.map(({ table }) => table);
  for (const rule of FAMILIES.flatMap((family) => presentRules(rtnetlink, family, log))) {
    if (!tables.includes(rule.table)) continue;
    const refusal = rtnetlink.deleteRule(rule);
    if (refusal !== undefined && !is(refusal, "ENOENT", "ESRCH")) {
      log.warn?.("rule not deleted", { table: rule.table, reason: refusal.message });
    }
  }
  applyRoutes(rtnetlink, tables, [], log);
}

/**
 * Those that we set, where the kernel does not tell (PG-210): routes go with the device, or lead nobody anywhere
 * without a rule, but rules would stay for good.
 */
function presentRules(rtnetlink: Rtnetlink, family: Family, log: Log): readonly Rule[] {
  try {
    return rtnetlink.rules(family);
  } catch (error) {
    if (!(error instanceof PosternError)) throw error;
    log.warn?.("rules cannot be listed: ours are deleted unseen", { family, reason: error.message });
    return policyRules(family);
  }
}

function is(refusal: Refusal, ...names: readonly string[]): boolean {
  return names.includes(errnoName(refusal.errno));
}

function warn(log: Log, event: string, route: DeviceRoute, refusal: Refusal): void {
  log.warn?.(event, {
    network: formatPrefix(route.destination),
    table: route.table,
    reason: refusal.message,
  });
}
