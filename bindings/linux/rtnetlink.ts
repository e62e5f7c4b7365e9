/** Links, addresses, routes and rules of this network namespace, by name instead of by message. */
import type { IpAddress, Parsed } from "../../src/base/index.ts";
import { hostError, isErrno, SHORTAGES } from "./errno.ts";
import type { Kernel } from "./kernel.ts";
import { type NetlinkOutcome, openNetlink, type Refusal, toRefusal } from "./netlink.ts";
import * as N from "./netlink-constants.ts";
import {
  addressRequest,
  bestRouteRequest,
  type DeviceRoute,
  type DumpSelection,
  dumpRequest,
  type Family,
  type InterfaceAddress,
  type KernelRoute,
  type Link,
  type LinkChange,
  linkRequest,
  parseAddress,
  parseLink,
  parseRoute,
  parseRule,
  type Rule,
  routeRequest,
  ruleRequest,
} from "./rtnetlink-codec.ts";

/** The way a packet would take. */
export interface BestRoute {
  readonly outputIndex: number;
  readonly gateway?: IpAddress;
  readonly source?: IpAddress;
}

/**
 * Lists throw PosternError `host` when the kernel refuses them; changes return the refusal, as its
 * meaning (exists already, gone already) is the caller's to judge.
 */
export interface Rtnetlink {
  links(): readonly Link[];
  addresses(): readonly InterfaceAddress[];
  /** Of one table and by one device, where they are given. */
  routes(family: Family, table?: number, outputIndex?: number): readonly KernelRoute[];
  rules(family: Family): readonly Rule[];
  changeLink(index: number, change: LinkChange): Refusal | undefined;
  addAddress(address: Pick<InterfaceAddress, "index" | "address" | "bits">): Refusal | undefined;
  deleteAddress(address: Pick<InterfaceAddress, "index" | "address" | "bits">): Refusal | undefined;
  addRoute(route: DeviceRoute): Refusal | undefined;
  deleteRoute(route: DeviceRoute): Refusal | undefined;
  addRule(rule: Rule): Refusal | undefined;
  deleteRule(rule: Rule): Refusal | undefined;
  /**
   * `undefined` when there is no way to `destination`, or none by the interface, if one is given.
   * @throws PosternError `host` when the kernel is too short of something to tell
   */
  bestRoute(destination: IpAddress, mark?: number, outputIndex?: number): BestRoute | undefined;
  close(): void;
}

const NEW = N.NLM_F_CREATE | N.NLM_F_EXCL;

export function openRtnetlink(kernel: Kernel): Rtnetlink {
  const netlink = openNetlink(kernel);

  function list<T>(selection: DumpSelection, type: number, parse: (body: Uint8Array) => Parsed<T>): T[] {
    const outcome = netlink.dump(dumpRequest(selection));
    // A kernel without IPv6 has no IPv6 routes, and a device that is gone has none at all.
    if (!outcome.ok && isErrno(outcome.errno, "EOPNOTSUPP", "EAFNOSUPPORT", "ENOENT", "ENODEV")) return [];
    if (!outcome.ok) throw hostError(`cannot list ${selection.kind}`, "netlink", outcome.errno);
    return outcome.messages.flatMap((message) => {
      const object = message.type === type ? parse(message.body) : undefined;
      // We skip what we cannot read: another family, or a newer form.
      return object?.ok ? [object.value] : [];
    });
  }
  const listRules = (family: Family): Rule[] => list({ kind: "rules", family }, N.RTM_NEWRULE, parseRule);
  const change = (...request: Parameters<typeof netlink.request>): Refusal | undefined =>
    toRefusal(netlink.request(...request));

  return {
    links: () => list({ kind: "links" }, N.RTM_NEWLINK, parseLink),
    addresses: () => list({ kind: "addresses" }, N.RTM_NEWADDR, parseAddress),
    routes(family, table, outputIndex) {
      const selection = {
        kind: "routes",
        family,
        ...(table === undefined ? {} : { table }),
        ...(outputIndex === undefined ? {} : { outputIndex }),
      } as const;
      // Older kernels give everything.
      return list(selection, N.RTM_NEWROUTE, parseRoute).filter(
        (route) =>
          (table === undefined || route.table === table) &&
          (outputIndex === undefined || route.outputIndex === outputIndex),
      );
    },
    rules: listRules,
    changeLink: (index, wanted) => change(linkRequest(index, wanted), 0),
    addAddress: (address) => change(addressRequest(address, true), NEW),
    deleteAddress: (address) => change(addressRequest(address, false), 0),
    addRoute: (route) => change(routeRequest(route, true), NEW),
    deleteRoute: (route) => change(routeRequest(route, false), 0),
    addRule(rule) {
      if (rule.priority !== undefined) return change(ruleRequest(rule, true), NEW);
      // Each gets a number of its own, so a second one would be one too many.
      const outcome = netlink.requestOnce(ruleRequest(rule, true), NEW);
      const isThere = isLost(outcome) && listRules(rule.family).some((one) => isSameBut(one, rule));
      return isThere ? undefined : toRefusal(outcome);
    },
    deleteRule: (rule) => change(ruleRequest(rule, false), 0),
    bestRoute(destination, mark, byIndex) {
      const outcome = netlink.request(bestRouteRequest(destination, mark, byIndex), 0);
      if (!outcome.ok && isErrno(outcome.errno, ...SHORTAGES)) {
        throw hostError("cannot ask for a route", "netlink", outcome.errno);
      }
      const reply = outcome.ok ? outcome.messages[0] : undefined;
      const route = reply === undefined ? undefined : parseRoute(reply.body);
      if (!route?.ok || route.value.outputIndex === undefined || route.value.type !== N.RTN_UNICAST) {
        return undefined;
      }
      const { outputIndex, gateway, source } = route.value;
      return {
        outputIndex,
        ...(gateway === undefined ? {} : { gateway }),
        ...(source === undefined ? {} : { source }),
      };
    },
    close: netlink.close,
  };
}

function isLost(outcome: NetlinkOutcome): boolean {
  return !outcome.ok && outcome.isLost === true;
}

/** Whether they are alike but for their numbers. */
function isSameBut(a: Rule, b: Rule): boolean {
  return (
    a.table === b.table &&
    a.mark === b.mark &&
    a.isInverted === b.isInverted &&
    a.suppressPrefixLength === b.suppressPrefixLength &&
    a.protocol === b.protocol
  );
}
