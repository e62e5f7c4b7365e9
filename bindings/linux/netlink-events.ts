/** What the kernel tells unasked about links, addresses, routes, rules and nftables (PG-34, PG-152). */
import { copyOf } from "../../src/base/index.ts";
import { errnoOf, isErrno } from "./errno.ts";
import type { Kernel } from "./kernel.ts";
import { discardAll, openNetlinkSocket } from "./netlink.ts";
import * as N from "./netlink-constants.ts";
import { type NetlinkMessage, parseAttributes, parseMessages, toText } from "./netlink-message.ts";
import { NFGENMSG_BYTES, NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWGEN, NFTA_TABLE } from "./nftables-constants.ts";
import { watchReadable } from "./readable-signal.ts";
import { parseAddress, parseLink, parseRoute } from "./rtnetlink-codec.ts";

export type NetworkEvent =
  | { readonly kind: "link" | "address"; readonly index?: number }
  | { readonly kind: "route"; readonly index?: number; readonly table?: number }
  | { readonly kind: "rule" }
  /** Forwarding and the like were switched. */
  | { readonly kind: "parameter" }
  | { readonly kind: "firewall"; readonly table?: string }
  /** Events were lost: everything may have changed (PG-36). */
  | { readonly kind: "overrun" };

export interface NetlinkEvents {
  /** What has come since the last call; empty when nothing has, an overrun when it was more than a turn's worth. */
  drain(): readonly NetworkEvent[];
  /** Calls `listener` when something has come; until `close`. */
  onReadable(listener: () => void): void;
  close(): void;
}

const GROUPS =
  N.RTMGRP_LINK |
  N.RTMGRP_IPV4_IFADDR |
  N.RTMGRP_IPV6_IFADDR |
  N.RTMGRP_IPV4_ROUTE |
  N.RTMGRP_IPV6_ROUTE |
  N.RTMGRP_IPV4_RULE |
  N.RTMGRP_IPV6_RULE |
  N.RTMGRP_IPV4_NETCONF |
  N.RTMGRP_IPV6_NETCONF;
/** Of one turn. A socket of the usual size holds about as many messages. */
const RECEIVES_MAX = 256;
/** How a kernel without nftables says so, and one that shows them to administrators only. */
const NO_FIREWALL = ["EPERM", "EACCES", "ENOENT", "EPROTONOSUPPORT", "EAFNOSUPPORT"] as const;

/** @throws PosternError `host` */
export function openNetlinkEvents(kernel: Kernel): NetlinkEvents {
  const first = openNetlinkSocket(kernel, GROUPS);
  const fds = [first, ...openFirewallEvents(kernel, first)];
  let unlisten = (): void => {};
  return {
    drain: () => fds.flatMap((fd) => drainSocket(kernel, fd)),
    onReadable(listener) {
      unlisten();
      unlisten = watchReadable(kernel, fds, listener);
    },
    close() {
      for (const fd of fds) kernel.sys.close(fd);
      unlisten();
    },
  };
}

/**
 * None on a kernel without nftables, where nobody can change them either.
 * @param opened is closed where another reason keeps them from being opened
 */
function openFirewallEvents(kernel: Kernel, opened: number): readonly number[] {
  try {
    return [openNetlinkSocket(kernel, N.NFGRP_NFTABLES, N.NETLINK_NETFILTER)];
  } catch (error) {
    if (isErrno(errnoOf(error) ?? 0, ...NO_FIREWALL)) return [];
    kernel.sys.close(opened);
    throw error;
  }
}

/**
 * Reads to the end in any case: the kernel tells of nothing that comes while a socket that was full once is not
 * empty (netlink(7) says less than af_netlink.c does), so what stayed in it would hide what follows.
 */
function drainSocket(kernel: Kernel, fd: number): readonly NetworkEvent[] {
  const events: NetworkEvent[] = [];
  for (let receives = 0; receives < RECEIVES_MAX; receives++) {
    const some = receive(kernel, fd);
    if (some === "nothing") return events;
    if (some === "lost") break;
    events.push(...some);
  }
  discardAll(kernel, fd);
  return [{ kind: "overrun" }];
}

function receive({ sys, scratch }: Kernel, fd: number): readonly NetworkEvent[] | "nothing" | "lost" {
  return scratch.frame((room) => {
    const at = room.take(N.RECEIVE_BYTES);
    const length = sys.read(fd, at, N.RECEIVE_BYTES);
    if (length < 0) return isErrno(sys.errno(), "EAGAIN") ? "nothing" : "lost";
    const messages = parseMessages(copyOf(room.bytes(at, length)));
    return messages.ok ? messages.value.flatMap(toEvent) : "lost";
  });
}

function toEvent({ type, body }: NetlinkMessage): readonly NetworkEvent[] {
  switch (type) {
    case N.RTM_NEWLINK:
    case N.RTM_DELLINK: {
      const link = parseLink(body);
      return [link.ok ? { kind: "link", index: link.value.index } : { kind: "link" }];
    }
    case N.RTM_NEWADDR:
    case N.RTM_DELADDR: {
      const address = parseAddress(body);
      return [address.ok ? { kind: "address", index: address.value.index } : { kind: "address" }];
    }
    case N.RTM_NEWROUTE:
    case N.RTM_DELROUTE: {
      const route = parseRoute(body);
      if (!route.ok) return [{ kind: "route" }];
      const { outputIndex, table } = route.value;
      return [{ kind: "route", table, ...(outputIndex === undefined ? {} : { index: outputIndex }) }];
    }
    case N.RTM_NEWRULE:
    case N.RTM_DELRULE:
      return [{ kind: "rule" }];
    case N.RTM_NEWNETCONF:
    case N.RTM_DELNETCONF:
      return [{ kind: "parameter" }];
    case NFT_MSG_NEWGEN:
      // Ends each transaction and says nothing about it.
      return [];
    default:
      return type >> 8 === NFNL_SUBSYS_NFTABLES ? toFirewallEvent(body) : [];
  }
}

function toFirewallEvent(body: Uint8Array): readonly NetworkEvent[] {
  const attributes = parseAttributes(body.subarray(Math.min(body.length, NFGENMSG_BYTES)));
  const table = attributes.ok ? attributes.value.get(NFTA_TABLE) : undefined;
  return [table === undefined ? { kind: "firewall" } : { kind: "firewall", table: toText(table) }];
}
