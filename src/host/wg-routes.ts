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
import { WG_FWMARK, WG_RULE_PROTOCOL, WG_TABLE } from "./constants.ts";
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
  readonly rules: readonly Rule[];
  /** What the sockets are to be marked with; absent: no mark. */
  readonly mark?: number;
  /** Whether answers to marked packets must pass reverse-path filtering. */
  readonly needsSourceMark: boolean;
}

const FAMILIES = [4, 6] as const satisfies readonly Family[];

/** Decides all of it without touching anything. `freeTable` is an unused table number. */
export function planWgRoutes(settings: WgRouteSettings, freeTable: number): WgRoutePlan {
  const { table, index } = settings;
  const configured = settings.mark === undefined || settings.mark === 0 ? {} : { mark: settings.mark };
  if (table === "off") return { routes: [], rules: [], ...configured, needsSourceMark: false };
  const networks = uniquePrefixes(settings.allowedIps);
  if (table !== "auto") {
    const routes = networks.map((destination) => toRoute(destination, table, index));
    return { routes, rules: [], ...configured, needsSourceMark: false };
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
    rules: families.flatMap((family) => defaultRules(family, freeTable, mark)),
    ...(families.length > 0 ? { mark } : configured),
    needsSourceMark: families.includes(4),
  };
}

/** The second is added after the first and without a number, so the kernel asks it before the first. */
function defaultRules(family: Family, table: number, mark: number): readonly Rule[] {
  const protocol = WG_RULE_PROTOCOL;
  return [
    { family, table, mark, isInverted: true, protocol },
    { family, table: RT_TABLE_MAIN, isInverted: false, suppressPrefixLength: 0, protocol },
  ];
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
  /** Deletes what `applyWgRoutes` added. Routes on the device go with the device. */
  remove(): void;
}

const SOURCE_MARK = "net/ipv4/conf/all/src_valid_mark";

/**
 * Carries a plan out; on failure nothing of it stays.
 *
 * @throws PosternError `host` naming the route or rule that the kernel refused
 */
export function applyWgRoutes(rtnetlink: Rtnetlink, plan: WgRoutePlan, log: Log): WgRoutes {
  const undo: (() => void)[] = [];
  // In the order of setting up: whether a shared thing may go depends on what went before it.
  const remove = (): void => {
    for (const step of undo.splice(0)) step();
  };
  try {
    for (const route of plan.routes) {
      const refusal = rtnetlink.addRoute(route);
      if (refusal !== undefined && errnoName(refusal.errno) !== "EEXIST") {
        throw refused(`route ${formatPrefix(route.destination)}`, refusal.errno, refusal.message);
      }
      if (refusal === undefined) undo.push(() => void rtnetlink.deleteRoute(route));
    }
    for (const rule of plan.rules) addRule(rtnetlink, rule, undo);
    if (plan.needsSourceMark) setSourceMark(rtnetlink, undo, log);
    return { remove };
  } catch (error) {
    remove();
    throw error;
  }
}

function addRule(rtnetlink: Rtnetlink, rule: Rule, undo: (() => void)[]): void {
  const find = (): Rule | undefined => rtnetlink.rules(rule.family).find((one) => isSameRule(one, rule));
  // The kernel numbers rules itself here and so does not see that one is there already.
  if (find() === undefined) {
    const refusal = rtnetlink.addRule(rule);
    if (refusal !== undefined) throw refused(`rule for table ${rule.table}`, refusal.errno, refusal.message);
  }
  undo.push(() => {
    // The rule about the main table serves every instance with a default route: the last one takes it.
    if (rule.suppressPrefixLength !== undefined && hasMarkRule(rtnetlink, rule.family)) return;
    // Deleted by its number: without one the kernel might take the like of another program.
    const found = find();
    if (found !== undefined) rtnetlink.deleteRule(found);
  });
}

function setSourceMark(rtnetlink: Rtnetlink, undo: (() => void)[], log: Log): void {
  const before = readSysctl(SOURCE_MARK);
  if (before === "1" || before === undefined) return;
  const reason = writeSysctl(SOURCE_MARK, "1");
  if (reason !== undefined) {
    log.warn?.("kernel parameter not set", { name: "net.ipv4.conf.all.src_valid_mark", reason });
    return;
  }
  undo.push(() => {
    if (!hasMarkRule(rtnetlink, 4)) writeSysctl(SOURCE_MARK, before);
  });
}

function hasMarkRule(rtnetlink: Rtnetlink, family: Family): boolean {
  return rtnetlink.rules(family).some((rule) => rule.protocol === WG_RULE_PROTOCOL && rule.isInverted);
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
 * of ours whose table is empty is nobody's.
 * @returns how many were deleted
 */
export function removeWgLeftovers(rtnetlink: Rtnetlink): number {
  let count = 0;
  for (const family of FAMILIES) {
    const ours = rtnetlink.rules(family).filter(({ protocol }) => protocol === WG_RULE_PROTOCOL);
    for (const rule of ours.filter(({ isInverted }) => isInverted)) {
      if (rtnetlink.routes(family, rule.table).length > 0) continue;
      if (rtnetlink.deleteRule(rule) === undefined) count++;
    }
    if (hasMarkRule(rtnetlink, family)) continue;
    for (const rule of ours.filter(({ isInverted }) => !isInverted)) {
      if (rtnetlink.deleteRule(rule) === undefined) count++;
    }
  }
  return count;
}
