/**
 * Routes and rules of `postern wg` (WG-64), in wg-quick's manner.
 *
 * A default route would swallow the tunnel's own datagrams. So it stands in a table of its own that only
 * unmarked packets ask, and only after the main table has been asked for anything but a default route.
 */
import {
  type DeviceRoute,
  describeErrno,
  errnoName,
  type Family,
  type Refusal,
  RT_SCOPE_LINK,
  RT_SCOPE_UNIVERSE,
  RT_TABLE_MAIN,
  RTPROT_STATIC,
  type Rtnetlink,
  type Rule,
} from "../../bindings/linux/index.ts";
import {
  covers,
  equalPrefix,
  formatPrefix,
  type Log,
  PosternError,
  type Prefix,
  toPrefix,
} from "../base/index.ts";
import { FAMILIES, WG_FWMARK, WG_RULE_PROTOCOL, WG_RULE_PROTOCOL_RESTORES, WG_TABLE } from "./constants.ts";
import type { SysctlWrite } from "./forwarding.ts";
import type { HostAddress } from "./link.ts";
import { readSysctl, writeSysctl } from "./sysctl.ts";

export interface WgRouteSettings {
  readonly index: number;
  readonly table: "auto" | "off" | number;
  readonly addresses: readonly HostAddress[];
  /** Of all peers. */
  readonly allowedIps: readonly Prefix[];
  /** FwMark of the file; absent or 0: none. */
  readonly mark?: number;
}

export interface WgRoutePlan {
  readonly routes: readonly DeviceRoute[];
  /** Families whose default route stands in a table of its own, which two rules lead to. */
  readonly defaults: readonly WgDefault[];
  /** What the sockets are to be marked with; absent: no mark. */
  readonly mark?: number;
}

export interface WgDefault {
  readonly family: Family;
  readonly table: number;
  readonly mark: number;
}

/** Decides all of it without touching anything. `freeTable` is an unused table number. */
export function planWgRoutes(settings: WgRouteSettings, freeTable: number): WgRoutePlan {
  const { table, index } = settings;
  const configured = settings.mark === undefined || settings.mark === 0 ? {} : { mark: settings.mark };
  if (table === "off") return { routes: [], defaults: [], ...configured };
  const networks = uniquePrefixes(settings.allowedIps);
  if (table !== "auto") {
    const routes = networks.map((destination) => toRoute(destination, table, index));
    return { routes, defaults: [], ...configured };
  }
  const own = settings.addresses.map(({ address, bits }) => toPrefix(address, bits));
  const defaults = networks.filter(({ bits }) => bits === 0);
  const others = networks.filter(
    (network) => network.bits > 0 && !own.some((address) => covers(address, network)),
  );
  const mark = settings.mark === undefined || settings.mark === 0 ? WG_FWMARK : settings.mark;
  const families = defaults.map(({ address }): Family => (address.length === 4 ? 4 : 6));
  return {
    routes: [
      ...others.map((destination) => toRoute(destination, RT_TABLE_MAIN, index)),
      ...defaults.map((destination) => toRoute(destination, freeTable, index)),
    ],
    defaults: families.map((family) => ({ family, table: freeTable, mark })),
    ...(families.length > 0 ? { mark } : configured),
  };
}

function toRoute(destination: Prefix, table: number, outputIndex: number): DeviceRoute {
  // IPv4 wants the scope of a route without gateway to be the link.
  const scope = destination.address.length === 4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  return { destination, table, outputIndex, protocol: RTPROT_STATIC, scope };
}

function uniquePrefixes(networks: readonly Prefix[]): readonly Prefix[] {
  return networks.filter((one, i) => networks.findIndex((other) => equalPrefix(one, other)) === i);
}

/** The first number from 51820 that neither family's routes use (WG-64). */
export function findFreeTable(rtnetlink: Rtnetlink): number {
  let table = WG_TABLE;
  while (FAMILIES.some((family) => rtnetlink.routes(family, table).length > 0)) table++;
  return table;
}

export interface WgRoutes {
  /** The rules as the kernel has them, with their numbers. */
  readonly rules: readonly Rule[];
  /** What the rules need. */
  readonly parameters: readonly SysctlWrite[];
  /** Deletes what `applyWgRoutes` added. Routes on the device go with the device. */
  remove(): void;
}

/**
 * Carries a plan out; on failure nothing of it stays.
 *
 * @throws PosternError `host` naming the route or rule that the kernel refused
 */
export function applyWgRoutes(rtnetlink: Rtnetlink, plan: WgRoutePlan, log: Log): WgRoutes {
  const undo: (() => void)[] = [];
  const remove = (): void => removeAll(undo);
  try {
    for (const route of plan.routes) {
      const refusal = rtnetlink.addRoute(route);
      if (refusal !== undefined) throw routeRefused(rtnetlink, route, refusal);
      undo.push(() => void rtnetlink.deleteRoute(route));
    }
    for (const one of plan.defaults) addDefaultRules(rtnetlink, one, undo, log);
    const isV4 = plan.defaults.some(({ family }) => family === 4);
    return {
      rules: plan.defaults.flatMap((one) => defaultRules(rtnetlink, one)),
      parameters: isV4 ? [{ path: SOURCE_MARK, value: "1" }] : [],
      remove,
    };
  } catch (error) {
    try {
      remove();
    } catch {
      // What the kernel refused first is the reason; what stays behind the next start removes.
    }
    throw error;
  }
}

/** A step that fails does not keep the others from running. @throws the first failure */
function removeAll(undo: (() => void)[]): void {
  const failures: unknown[] = [];
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) {
    try {
      step();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

/**
 * "Exists" is not "ours": the network would be reached by the other device, so it is a failure, as for
 * wg-quick.
 */
function routeRefused(rtnetlink: Rtnetlink, route: DeviceRoute, { errno, message }: Refusal): PosternError {
  const { destination, table } = route;
  const what = `route ${formatPrefix(destination)}`;
  if (errnoName(errno) !== "EEXIST") return refused(what, errno, message);
  const family = destination.address.length === 4 ? 4 : 6;
  const other = rtnetlink.routes(family, table).find((one) => equalPrefix(one.destination, destination));
  const device = rtnetlink.links().find(({ index }) => index === other?.outputIndex)?.name;
  return new PosternError(
    "host",
    `cannot add ${what}: there is one already${device === undefined ? "" : ` to ${device}`}`,
    "remove it, take the network out of AllowedIPs, or set Table = off",
  );
}

/**
 * Two rules of this instance: packets without the mark ask its table, but only after the main table has
 * been asked for anything but a default route. The kernel puts a rule without a number before all others,
 * and the second has the number before the first: so the main table is asked before the newest tunnel's
 * table, however many instances there are.
 */
function addDefaultRules(rtnetlink: Rtnetlink, one: WgDefault, undo: (() => void)[], log: Log): void {
  const { family, table, mark } = one;
  const protocol = family === 4 ? setSourceMark(rtnetlink, log) : WG_RULE_PROTOCOL;
  if (protocol === WG_RULE_PROTOCOL_RESTORES) undo.push(() => restoreSourceMark(rtnetlink));
  addRule(rtnetlink, { family, table, mark, isInverted: true, protocol }, undo);
  const priority = findRule(rtnetlink, family, (rule) => isOurs(rule) && rule.table === table)?.priority;
  addRule(
    rtnetlink,
    {
      family,
      table: RT_TABLE_MAIN,
      isInverted: false,
      suppressPrefixLength: 0,
      protocol: WG_RULE_PROTOCOL,
      ...(priority === undefined ? {} : { priority: priority - 1 }),
    },
    undo,
  );
}

/** The two of them, as they are listed. */
function defaultRules(rtnetlink: Rtnetlink, { family, table }: WgDefault): readonly Rule[] {
  const ours = rtnetlink.rules(family).filter(isOurs);
  const first = ours.find((rule) => rule.table === table);
  const second = ours.find(
    ({ priority }) => first?.priority !== undefined && priority === first.priority - 1,
  );
  return [first, second].filter((rule) => rule !== undefined);
}

function addRule(rtnetlink: Rtnetlink, rule: Rule, undo: (() => void)[]): void {
  const refusal = rtnetlink.addRule(rule);
  if (refusal !== undefined) throw refused(`rule for table ${rule.table}`, refusal.errno, refusal.message);
  undo.push(() => {
    // Deleted by its number: without one the kernel might take the like of another program.
    const found = findRule(
      rtnetlink,
      rule.family,
      (one) => isSameRule(one, rule) && (rule.priority === undefined || one.priority === rule.priority),
    );
    if (found !== undefined) rtnetlink.deleteRule(found);
  });
}

const SOURCE_MARK = "net/ipv4/conf/all/src_valid_mark";

/**
 * Lets answers to marked packets pass reverse-path filtering. Who changed the parameter may end before
 * others that need it, so the debt to restore it is in the protocol number of the rules: the last one pays.
 * @returns the protocol number for the rule of this instance
 */
function setSourceMark(rtnetlink: Rtnetlink, log: Log): number {
  const before = readSysctl(SOURCE_MARK);
  if (before === "1" || before === undefined) {
    const debtor = findRule(rtnetlink, 4, ({ protocol }) => protocol === WG_RULE_PROTOCOL_RESTORES);
    return debtor === undefined ? WG_RULE_PROTOCOL : WG_RULE_PROTOCOL_RESTORES;
  }
  const reason = writeSysctl(SOURCE_MARK, "1");
  if (reason === undefined) return WG_RULE_PROTOCOL_RESTORES;
  log.warn?.("kernel parameter not set", { name: "net.ipv4.conf.all.src_valid_mark", reason });
  return WG_RULE_PROTOCOL;
}

/** Somebody else's rule for unmarked packets, wg-quick's for example, may need the parameter too. */
function restoreSourceMark(rtnetlink: Rtnetlink): void {
  const user = findRule(rtnetlink, 4, ({ isInverted, mark }) => isInverted && mark !== undefined);
  if (user === undefined) writeSysctl(SOURCE_MARK, "0");
}

function findRule(rtnetlink: Rtnetlink, family: Family, matches: (rule: Rule) => boolean): Rule | undefined {
  return rtnetlink.rules(family).find(matches);
}

function isOurs({ protocol }: Rule): boolean {
  return protocol === WG_RULE_PROTOCOL || protocol === WG_RULE_PROTOCOL_RESTORES;
}

function isSameRule(a: Rule, b: Rule): boolean {
  return (
    a.protocol === b.protocol &&
    a.table === b.table &&
    a.mark === b.mark &&
    a.isInverted === b.isInverted &&
    a.suppressPrefixLength === b.suppressPrefixLength
  );
}

function refused(what: string, errno: number, message: string): PosternError {
  const hint = errnoName(errno) === "EPERM" ? "run as root or grant CAP_NET_ADMIN" : undefined;
  return new PosternError("host", `cannot add ${what}: ${describeErrno(errno)}`, hint, {
    cause: new Error(message),
  });
}

/**
 * Deletes the rules of a `postern wg` that was killed (D-22). Its table went with its device, so a rule
 * of ours whose table is empty is nobody's, and so is its companion, which stands one number before it.
 * @returns how many were deleted
 */
export function removeWgLeftovers(rtnetlink: Rtnetlink): number {
  let count = 0;
  for (const family of FAMILIES) {
    const ours = rtnetlink.rules(family).filter(isOurs);
    const alive = ours.filter(
      ({ isInverted, table }) => isInverted && rtnetlink.routes(family, table).length > 0,
    );
    const followed = new Set(alive.map(({ priority }) => (priority ?? 0) - 1));
    const dead = ours.filter((rule) =>
      rule.isInverted ? !alive.includes(rule) : !followed.has(rule.priority ?? 0),
    );
    for (const rule of dead) if (rtnetlink.deleteRule(rule) === undefined) count++;
    if (dead.some(({ protocol }) => protocol === WG_RULE_PROTOCOL_RESTORES)) restoreSourceMark(rtnetlink);
  }
  return count;
}
