/** What the kernel tells unasked about links, addresses, routes, rules and nftables (PG-34, PG-152). */
import { copyOf } from "../../src/base/index.ts";
import { isErrno } from "./errno.ts";
import type { Kernel } from "./kernel.ts";
import { openNetlinkSocket } from "./netlink.ts";
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
  /** What has come since the last call, at most `RECEIVES_MAX` receives; empty when nothing has. */
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
const RECEIVES_MAX = 256;

/** @throws PosternError `host` */
export function openNetlinkEvents(kernel: Kernel): NetlinkEvents {
  const fds = [openNetlinkSocket(kernel, GROUPS), ...openFirewallEvents(kernel)];
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

/** None on a kernel without nftables, where nobody can change them either. */
function openFirewallEvents(kernel: Kernel): readonly number[] {
  try {
    return [openNetlinkSocket(kernel, N.NFGRP_NFTABLES, N.NETLINK_NETFILTER)];
  } catch {
    return [];
  }
}

function drainSocket(kernel: Kernel, fd: number): readonly NetworkEvent[] {
  const events: NetworkEvent[] = [];
  for (let receives = 0; receives < RECEIVES_MAX; receives++) {
    const some = receive(kernel, fd);
    if (some === undefined) break;
    events.push(...some);
    if (some.some((event) => event.kind === "overrun")) break;
  }
  return events;
}

function receive({ sys, scratch }: Kernel, fd: number): readonly NetworkEvent[] | undefined {
  return scratch.frame((room) => {
    const at = room.take(N.RECEIVE_BYTES);
    const length = sys.read(fd, at, N.RECEIVE_BYTES);
    if (length < 0) return isErrno(sys.errno(), "EAGAIN") ? undefined : [{ kind: "overrun" }];
    const messages = parseMessages(copyOf(room.bytes(at, length)));
    return messages.ok ? messages.value.flatMap(toEvent) : [{ kind: "overrun" }];
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
