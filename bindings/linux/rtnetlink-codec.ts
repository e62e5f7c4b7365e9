/** Links, addresses, routes and policy rules as rtnetlink messages. Pure. */
import { copyOf, type IpAddress, malformed, type Parsed, type Prefix, parsed } from "../../src/base/index.ts";
import * as N from "./netlink-constants.ts";
import {
  type Attribute,
  fromU8,
  fromU32,
  type MalformedNetlink,
  type NetlinkRequest,
  parseAttributes,
  toText,
  toU32,
} from "./netlink-message.ts";
import { AF_INET, AF_INET6, AF_UNSPEC } from "./socket-constants.ts";

export type Family = 4 | 6;

export interface Link {
  readonly index: number;
  readonly name: string;
  readonly mtu: number;
  readonly isUp: boolean;
  readonly isLoopback: boolean;
  /** Operationally up; a device that cannot tell counts while it is running. */
  readonly isOperational: boolean;
  readonly txQueueLength: number;
  /** Driver of a virtual link: `tun`, `veth`, `bridge`, …. */
  readonly kind?: string;
}

export interface InterfaceAddress {
  readonly index: number;
  readonly address: IpAddress;
  readonly bits: number;
  readonly scope: number;
  readonly isTentative: boolean;
  readonly isDeprecated: boolean;
}

export interface KernelRoute {
  readonly destination: Prefix;
  readonly table: number;
  /** Absent for a route with several next hops. */
  readonly outputIndex?: number;
  readonly gateway?: IpAddress;
  readonly source?: IpAddress;
  readonly metric?: number;
  readonly protocol: number;
  readonly scope: number;
  readonly type: number;
  /** Next hops in a group or list of their own. */
  readonly hasNextHops: boolean;
}

/** A policy rule of the forms that we set: by mark, and by the length of the found prefix. */
export interface Rule {
  readonly family: Family;
  readonly table: number;
  /** Absent when adding: the kernel takes the number before the first rule. */
  readonly priority?: number;
  readonly mark?: number;
  readonly markMask?: number;
  /** `not`: the rule applies when the mark differs. */
  readonly isInverted: boolean;
  /** Results with a prefix of at most that length do not count. */
  readonly suppressPrefixLength?: number;
  readonly protocol: number;
}

export function parseLink(body: Uint8Array): Parsed<Link, MalformedNetlink> {
  if (body.length < N.IFINFOMSG_BYTES) return malformed("short");
  const attributes = parseAttributes(body.subarray(N.IFINFOMSG_BYTES));
  if (!attributes.ok) return attributes;
  const view = viewOf(body);
  const flags = view.getUint32(8, true);
  const name = attributes.value.get(N.IFLA_IFNAME);
  const state = attributes.value.get(N.IFLA_OPERSTATE)?.[0] ?? N.IF_OPER_UNKNOWN;
  const info = attributes.value.get(N.IFLA_LINKINFO);
  const details = info === undefined ? undefined : parseAttributes(info);
  const kind = details?.ok ? details.value.get(N.IFLA_INFO_KIND) : undefined;
  return parsed({
    index: view.getInt32(4, true),
    name: name === undefined ? "" : toText(name),
    mtu: toU32(attributes.value.get(N.IFLA_MTU)) ?? 0,
    isUp: (flags & N.IFF_UP) !== 0,
    isLoopback: (flags & N.IFF_LOOPBACK) !== 0,
    isOperational: state === N.IF_OPER_UP || (state === N.IF_OPER_UNKNOWN && (flags & N.IFF_RUNNING) !== 0),
    txQueueLength: toU32(attributes.value.get(N.IFLA_TXQLEN)) ?? 0,
    ...(kind === undefined ? {} : { kind: toText(kind) }),
  });
}

export function parseAddress(body: Uint8Array): Parsed<InterfaceAddress, MalformedNetlink> {
  if (body.length < N.IFADDRMSG_BYTES) return malformed("short");
  const attributes = parseAttributes(body.subarray(N.IFADDRMSG_BYTES));
  if (!attributes.ok) return attributes;
  const view = viewOf(body);
  const family = toFamily(view.getUint8(0));
  // On a point-to-point link IFA_ADDRESS is the far end, IFA_LOCAL ours; IPv6 has only the former.
  const address = attributes.value.get(N.IFA_LOCAL) ?? attributes.value.get(N.IFA_ADDRESS);
  if (family === undefined || address?.length !== addressBytes(family)) return malformed("bad-length");
  const flags = toU32(attributes.value.get(N.IFA_FLAGS)) ?? view.getUint8(2);
  return parsed({
    index: view.getUint32(4, true),
    address: copyOf(address),
    bits: view.getUint8(1),
    scope: view.getUint8(3),
    isTentative: (flags & (N.IFA_F_TENTATIVE | N.IFA_F_DADFAILED)) !== 0,
    isDeprecated: (flags & N.IFA_F_DEPRECATED) !== 0,
  });
}

export function parseRoute(body: Uint8Array): Parsed<KernelRoute, MalformedNetlink> {
  if (body.length < N.RTMSG_BYTES) return malformed("short");
  const attributes = parseAttributes(body.subarray(N.RTMSG_BYTES));
  if (!attributes.ok) return attributes;
  const view = viewOf(body);
  const family = toFamily(view.getUint8(0));
  if (family === undefined) return malformed("bad-length");
  const get = (type: number): Uint8Array | undefined => attributes.value.get(type);
  const address = get(N.RTA_DST) ?? new Uint8Array(addressBytes(family));
  if (address.length !== addressBytes(family)) return malformed("bad-length");
  const outputIndex = toU32(get(N.RTA_OIF));
  const metric = toU32(get(N.RTA_PRIORITY));
  const gateway = get(N.RTA_GATEWAY) ?? get(N.RTA_VIA)?.subarray(2);
  const source = get(N.RTA_PREFSRC);
  return parsed({
    destination: { address: copyOf(address), bits: view.getUint8(1) },
    table: toU32(get(N.RTA_TABLE)) ?? view.getUint8(4),
    protocol: view.getUint8(5),
    scope: view.getUint8(6),
    type: view.getUint8(7),
    hasNextHops: get(N.RTA_MULTIPATH) !== undefined || get(N.RTA_NH_ID) !== undefined,
    ...(outputIndex === undefined ? {} : { outputIndex }),
    ...(metric === undefined ? {} : { metric }),
    ...(gateway === undefined ? {} : { gateway: copyOf(gateway) }),
    ...(source === undefined ? {} : { source: copyOf(source) }),
  });
}

export function parseRule(body: Uint8Array): Parsed<Rule, MalformedNetlink> {
  if (body.length < N.FIB_RULE_HDR_BYTES) return malformed("short");
  const attributes = parseAttributes(body.subarray(N.FIB_RULE_HDR_BYTES));
  if (!attributes.ok) return attributes;
  const view = viewOf(body);
  const family = toFamily(view.getUint8(0));
  if (family === undefined) return malformed("bad-length");
  const number = (type: number): number | undefined => toU32(attributes.value.get(type));
  const mark = number(N.FRA_FWMARK);
  const markMask = number(N.FRA_FWMASK);
  const suppress = number(N.FRA_SUPPRESS_PREFIXLEN);
  return parsed({
    family,
    table: number(N.FRA_TABLE) ?? view.getUint8(4),
    // The rule that looks at the local table has number 0 and no attribute for it.
    priority: number(N.FRA_PRIORITY) ?? 0,
    isInverted: (view.getUint32(8, true) & N.FIB_RULE_INVERT) !== 0,
    protocol: attributes.value.get(N.FRA_PROTOCOL)?.[0] ?? 0,
    ...(mark === undefined ? {} : { mark }),
    ...(markMask === undefined ? {} : { markMask }),
    // -1 stands for "not set".
    ...(suppress === undefined || suppress === 0xffffffff ? {} : { suppressPrefixLength: suppress }),
  });
}

export interface LinkChange {
  readonly mtu?: number;
  readonly txQueueLength?: number;
  readonly isUp?: boolean;
  /** Stops the kernel from making a link-local IPv6 address of its own. */
  readonly noLinkLocal?: boolean;
}

export function linkRequest(index: number, change: LinkChange): NetlinkRequest {
  const header = new Uint8Array(N.IFINFOMSG_BYTES);
  const view = viewOf(header);
  view.setInt32(4, index, true);
  if (change.isUp !== undefined) {
    view.setUint32(8, change.isUp ? N.IFF_UP : 0, true);
    view.setUint32(12, N.IFF_UP, true);
  }
  const genMode = { type: N.IFLA_INET6_ADDR_GEN_MODE, value: fromU8(N.IN6_ADDR_GEN_MODE_NONE) };
  return {
    type: N.RTM_NEWLINK,
    header,
    attributes: [
      ...optional(N.IFLA_MTU, change.mtu),
      ...optional(N.IFLA_TXQLEN, change.txQueueLength),
      ...(change.noLinkLocal
        ? [{ type: N.IFLA_AF_SPEC, value: [{ type: AF_INET6, value: [genMode] }] }]
        : []),
    ],
  };
}

/** `isNew` chooses between adding and deleting. New ones skip duplicate detection. */
export function addressRequest(
  address: Pick<InterfaceAddress, "index" | "address" | "bits">,
  isNew: boolean,
): NetlinkRequest {
  const header = new Uint8Array(N.IFADDRMSG_BYTES);
  header[0] = address.address.length === 4 ? AF_INET : AF_INET6;
  header[1] = address.bits;
  viewOf(header).setUint32(4, address.index, true);
  return {
    type: isNew ? N.RTM_NEWADDR : N.RTM_DELADDR,
    header,
    attributes: [
      { type: N.IFA_LOCAL, value: address.address },
      { type: N.IFA_ADDRESS, value: address.address },
      ...(isNew ? [{ type: N.IFA_FLAGS, value: fromU32(N.IFA_F_NODAD) }] : []),
    ],
  };
}

/** A route of ours: to a device, without gateway. */
export type DeviceRoute = Pick<KernelRoute, "destination" | "table" | "protocol" | "scope"> & {
  readonly outputIndex: number;
  readonly metric?: number;
};

export function routeRequest(route: DeviceRoute, isNew: boolean): NetlinkRequest {
  const { destination } = route;
  const header = new Uint8Array(N.RTMSG_BYTES);
  header[0] = destination.address.length === 4 ? AF_INET : AF_INET6;
  header[1] = destination.bits;
  // Table numbers above 255 stand in the attribute only.
  header[4] = route.table < 256 ? route.table : N.RT_TABLE_UNSPEC;
  header[5] = route.protocol;
  header[6] = route.scope;
  header[7] = N.RTN_UNICAST;
  return {
    type: isNew ? N.RTM_NEWROUTE : N.RTM_DELROUTE,
    header,
    attributes: [
      { type: N.RTA_DST, value: destination.address },
      { type: N.RTA_OIF, value: fromU32(route.outputIndex) },
      { type: N.RTA_TABLE, value: fromU32(route.table) },
      ...optional(N.RTA_PRIORITY, route.metric),
    ],
  };
}

export function ruleRequest(rule: Rule, isNew: boolean): NetlinkRequest {
  const header = new Uint8Array(N.FIB_RULE_HDR_BYTES);
  header[0] = toAf(rule.family);
  header[4] = rule.table < 256 ? rule.table : N.RT_TABLE_UNSPEC;
  header[7] = N.FR_ACT_TO_TBL;
  viewOf(header).setUint32(8, rule.isInverted ? N.FIB_RULE_INVERT : 0, true);
  return {
    type: isNew ? N.RTM_NEWRULE : N.RTM_DELRULE,
    header,
    attributes: [
      { type: N.FRA_TABLE, value: fromU32(rule.table) },
      { type: N.FRA_PROTOCOL, value: fromU8(rule.protocol) },
      ...optional(N.FRA_PRIORITY, rule.priority),
      ...optional(N.FRA_FWMARK, rule.mark),
      ...optional(N.FRA_FWMASK, rule.markMask),
      ...optional(N.FRA_SUPPRESS_PREFIXLEN, rule.suppressPrefixLength),
    ],
  };
}

/** Asks by which way a packet with a mark would go. */
export function bestRouteRequest(
  destination: IpAddress,
  mark: number | undefined,
  outputIndex?: number,
): NetlinkRequest {
  const header = new Uint8Array(N.RTMSG_BYTES);
  header[0] = destination.length === 4 ? AF_INET : AF_INET6;
  header[1] = destination.length * 8;
  return {
    type: N.RTM_GETROUTE,
    header,
    attributes: [
      { type: N.RTA_DST, value: destination },
      ...optional(N.RTA_OIF, outputIndex),
      ...optional(N.RTA_MARK, mark),
    ],
  };
}

/** What can be listed as a whole. Routes of one table only, where the kernel filters (since 4.20). */
export type DumpSelection =
  | { readonly kind: "links" }
  | { readonly kind: "addresses" }
  | {
      readonly kind: "routes";
      readonly family: Family;
      readonly table?: number;
      readonly outputIndex?: number;
    }
  | { readonly kind: "rules"; readonly family: Family };

export function dumpRequest(selection: DumpSelection): NetlinkRequest {
  switch (selection.kind) {
    case "links":
      return { type: N.RTM_GETLINK, header: headerOf(N.IFINFOMSG_BYTES, AF_UNSPEC), attributes: [] };
    case "addresses":
      return { type: N.RTM_GETADDR, header: headerOf(N.IFADDRMSG_BYTES, AF_UNSPEC), attributes: [] };
    case "routes":
      return {
        type: N.RTM_GETROUTE,
        header: headerOf(N.RTMSG_BYTES, toAf(selection.family)),
        attributes: [
          ...optional(N.RTA_TABLE, selection.table),
          ...optional(N.RTA_OIF, selection.outputIndex),
        ],
      };
    case "rules":
      return {
        type: N.RTM_GETRULE,
        header: headerOf(N.FIB_RULE_HDR_BYTES, toAf(selection.family)),
        attributes: [],
      };
  }
}

function headerOf(bytes: number, family: number): Uint8Array {
  const header = new Uint8Array(bytes);
  header[0] = family;
  return header;
}

function optional(type: number, value: number | undefined): readonly Attribute[] {
  return value === undefined ? [] : [{ type, value: fromU32(value) }];
}

function toFamily(af: number): Family | undefined {
  return af === AF_INET ? 4 : af === AF_INET6 ? 6 : undefined;
}

function toAf(family: Family): number {
  return family === 4 ? AF_INET : AF_INET6;
}

function addressBytes(family: Family): number {
  return family === 4 ? 4 : 16;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
