/**
 * What of the host should be as we set it, as data, and what differs from it (PG-153). Pure: the caller
 * takes the snapshot and carries out the repairs.
 */
import type { DeviceRoute, InterfaceAddress, KernelRoute, Link, Rule } from "../../bindings/linux/index.ts";
import { equalIp, formatIp, formatPrefix } from "../base/index.ts";
import type { SysctlWrite } from "./forwarding.ts";
import type { HostAddress, LinkSettings } from "./link.ts";
import { isSameRoute, isSameRule } from "./routes.ts";
import type { SysctlPath } from "./sysctl.ts";

export interface WantedHost {
  /** The TUN device; of its addresses those that the host accepted. */
  readonly link: LinkSettings;
  readonly rules: readonly Rule[];
  readonly routes: readonly DeviceRoute[];
  readonly parameters: readonly SysctlWrite[];
}

export interface HostSnapshot {
  readonly links: readonly Link[];
  readonly addresses: readonly InterfaceAddress[];
  readonly rules: readonly Rule[];
  /** Of our tables and our device. */
  readonly routes: readonly KernelRoute[];
  readonly readParameter: (path: SysctlPath) => string | undefined;
}

export type HostChange =
  | { readonly kind: "link-down" }
  | { readonly kind: "mtu"; readonly mtu: number; readonly present: number }
  | { readonly kind: "address"; readonly address: HostAddress }
  | { readonly kind: "route"; readonly route: DeviceRoute }
  | { readonly kind: "rule"; readonly rule: Rule }
  | { readonly kind: "parameter"; readonly wanted: SysctlWrite; readonly present: string };

/** What is not as it should be, in the order in which it can be repaired. */
export function compareHost(wanted: WantedHost, present: HostSnapshot): readonly HostChange[] {
  const { link, rules, routes, parameters } = wanted;
  const device = present.links.find(({ index }) => index === link.index);
  // Without the device the program ends by itself (PG-38).
  if (device === undefined) return [];
  const changes: HostChange[] = [];
  if (device.mtu !== link.mtu) changes.push({ kind: "mtu", mtu: link.mtu, present: device.mtu });
  if (!device.isUp) changes.push({ kind: "link-down" });
  for (const address of link.addresses) {
    const isThere = present.addresses.some(
      (one) => one.index === link.index && equalIp(one.address, address.address) && one.bits === address.bits,
    );
    if (!isThere) changes.push({ kind: "address", address });
  }
  for (const route of routes) {
    if (!present.routes.some((one) => isSameRoute(route, one))) changes.push({ kind: "route", route });
  }
  for (const rule of rules) {
    if (!present.rules.some((one) => isSameRule(rule, one))) changes.push({ kind: "rule", rule });
  }
  for (const parameter of parameters) {
    const value = present.readParameter(parameter.path);
    if (value !== undefined && value !== parameter.value) {
      changes.push({ kind: "parameter", wanted: parameter, present: value });
    }
  }
  return changes;
}

/**
 * What of it is so at present. Commands of an operator that ran after the set-up may have wished otherwise:
 * they are not to be fought.
 */
export function withoutMissing(wanted: WantedHost, present: HostSnapshot): WantedHost {
  const missing = compareHost(wanted, present);
  const gone: readonly unknown[] = missing.flatMap(Object.values);
  const isThere = (what: HostAddress | DeviceRoute | Rule | SysctlWrite): boolean => !gone.includes(what);
  const mtu = missing.find((change) => change.kind === "mtu")?.present ?? wanted.link.mtu;
  return {
    link: { ...wanted.link, mtu, addresses: wanted.link.addresses.filter(isThere) },
    rules: wanted.rules.filter(isThere),
    routes: wanted.routes.filter(isThere),
    parameters: wanted.parameters.filter(isThere),
  };
}

/** A change as a person reads it. */
export function describeChange(change: HostChange, device: string): string {
  switch (change.kind) {
    case "link-down":
      return `${device} is down`;
    case "mtu":
      return `the MTU of ${device} is ${change.present} instead of ${change.mtu}`;
    case "address":
      return `${formatIp(change.address.address)} is gone from ${device}`;
    case "route":
      return `the route to ${formatPrefix(change.route.destination)} is gone`;
    case "rule":
      return `the IPv${change.rule.family} rule of priority ${change.rule.priority} is gone`;
    case "parameter": {
      const { path, value } = change.wanted;
      return `${path.replaceAll("/", ".")} is ${change.present} instead of ${value}`;
    }
  }
}
