/** Brings the TUN device to what the tunnel wants: addresses, rules, routes (PG-30 to PG-37). */
import type { Log } from "../../base/index.ts";
import { addPolicyRules, applyTunnelRoutes, configureLink, TUN_TXQUEUELEN } from "../../host/index.ts";
import type { TunnelInterface } from "../../tunnel/index.ts";
import type { PlaneHost } from "../shell/index.ts";

export interface HostInterface {
  /** @throws PosternError `host` when the device refuses its addresses */
  apply(wanted: TunnelInterface): void;
}

export function createHostInterface(host: PlaneHost, mtu: number, log: Log): HostInterface {
  let addresses = "";
  return {
    apply(wanted) {
      const { tun, rtnetlink } = host;
      const text = wanted.addresses.map((address) => address.join(".")).join();
      if (text !== addresses) {
        const families = configureLink(
          rtnetlink,
          {
            index: tun.index,
            name: tun.name,
            mtu,
            txQueueLength: TUN_TXQUEUELEN,
            addresses: wanted.addresses.map((address) => ({ address, bits: address.length * 8 })),
          },
          log,
        );
        addPolicyRules(rtnetlink, families === "v4-only" ? [4] : families === "v6-only" ? [6] : [4, 6], log);
        addresses = text;
      }
      applyTunnelRoutes(rtnetlink, tun.index, wanted.routes, log);
    },
  };
}
