/** A client with a TUN device, as a part of another program (PG-120): what the host can reach, that program can. */
import { type IpAddress, parseIp } from "../../base/index.ts";
import type { TunnelClient } from "../../tunnel/index.ts";
import type { DnsService } from "../dns/index.ts";
import type { ClientOptions } from "../options.ts";
import { ownerOf, rightsOf } from "../userspace/dial.ts";
import type { ClientReach, UdpSocket } from "../userspace/index.ts";
import { createReach } from "../userspace/reach.ts";
import { type HostPeer, type HostSetting, type HostStatus, openHostPeer } from "./peer.ts";
import { createHostSockets } from "./sockets.ts";

export interface HostClient extends Omit<ClientReach<Promise<UdpSocket>>, "end"> {
  readonly peer: HostPeer<TunnelClient>;
  status(): HostStatus;
  close(): Promise<void>;
}

/** @throws PosternError `privilege`, `in-use`, `host` and others of PG-14 */
export async function openHostClient(options: ClientOptions, setting: HostSetting): Promise<HostClient> {
  let dns: DnsService | undefined;
  let onResources = (): void => {};
  const peer = await openHostPeer<TunnelClient, typeof import("../client/run-client.ts")>({
    role: "client",
    setting: {
      ...setting,
      tell(event) {
        setting.tell(event);
        // Not from within the control loop's turn.
        if (event.event === "resources") queueMicrotask(() => onResources());
      },
    },
    load: () => import("../client/run-client.ts"),
    run: ({ runClient }, threads, embedding) =>
      runClient(options, setting.io, threads, {
        ...embedding,
        onNames(service) {
          dns = service;
        },
      }),
  });
  if (dns === undefined) throw new Error("the client opens its names before it is open");
  const { machine, input } = peer.facts;
  const rights = rightsOf(machine, input);
  const sockets = createHostSockets((family) => ownAddress(peer.status(), family));
  onResources = () => sockets.revoke((address) => ownerOf(rights, address) !== undefined);
  const { end, ...reach } = createReach({ ...rights, dns, sockets });
  return {
    ...{ ...reach, peer, status: peer.status },
    async close() {
      end();
      await peer.close();
    },
  };
}

function ownAddress({ tun }: HostStatus, family: 4 | 6): IpAddress | undefined {
  const text = family === 4 ? tun.ipv4 : tun.ipv6;
  const parsed = text === null ? undefined : parseIp(text);
  return parsed?.ok ? parsed.value : undefined;
}
