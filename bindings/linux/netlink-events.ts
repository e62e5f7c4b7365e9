/** What the kernel tells unasked about links, addresses and routes (PG-34). */
import { copyOf } from "../../src/base/index.ts";
import { isErrno } from "./errno.ts";
import type { Kernel } from "./kernel.ts";
import { openNetlinkSocket } from "./netlink.ts";
import * as N from "./netlink-constants.ts";
import { type NetlinkMessage, parseMessages } from "./netlink-message.ts";
import { parseAddress, parseLink, parseRoute } from "./rtnetlink-codec.ts";

export type NetworkEvent =
  | { readonly kind: "link" | "address" | "route"; readonly index?: number }
  /** Events were lost: everything may have changed (PG-36). */
  | { readonly kind: "overrun" };

export interface NetlinkEvents {
  readonly fd: number;
  /** What has come since the last call, at most `EVENTS_MAX` receives; empty when nothing has. */
  drain(): readonly NetworkEvent[];
  close(): void;
}

const GROUPS =
  N.RTMGRP_LINK | N.RTMGRP_IPV4_IFADDR | N.RTMGRP_IPV6_IFADDR | N.RTMGRP_IPV4_ROUTE | N.RTMGRP_IPV6_ROUTE;
const RECEIVE_BYTES = 0x8000;
const RECEIVES_MAX = 256;

/** @throws PosternError `host` */
export function openNetlinkEvents(kernel: Kernel): NetlinkEvents {
  const { sys, scratch } = kernel;
  const fd = openNetlinkSocket(kernel, GROUPS);

  function receive(): readonly NetworkEvent[] | undefined {
    return scratch.frame((room) => {
      const at = room.take(RECEIVE_BYTES);
      const length = sys.read(fd, at, RECEIVE_BYTES);
      if (length < 0) return isErrno(sys.errno(), "EAGAIN") ? undefined : [{ kind: "overrun" }];
      const messages = parseMessages(copyOf(room.bytes(at, length)));
      return messages.ok ? messages.value.flatMap(toEvent) : [{ kind: "overrun" }];
    });
  }

  return {
    fd,
    drain() {
      const events: NetworkEvent[] = [];
      for (let receives = 0; receives < RECEIVES_MAX; receives++) {
        const some = receive();
        if (some === undefined) break;
        events.push(...some);
        if (some.some((event) => event.kind === "overrun")) break;
      }
      return events;
    },
    close: () => void sys.close(fd),
  };
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
      const index = route.ok ? route.value.outputIndex : undefined;
      return [index === undefined ? { kind: "route" } : { kind: "route", index }];
    }
    default:
      return [];
  }
}
