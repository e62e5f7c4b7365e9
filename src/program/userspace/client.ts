/** A client in this thread: dials resources, resolves their names, pings them (PG-120, PG-122 to PG-124). */
import type { StackEvent } from "../../stack/index.ts";
import type { TunnelClient } from "../../tunnel/index.ts";
import { clientRole } from "../client/client-role.ts";
import type { ControlMethods } from "../control/index.ts";
import type { DnsService } from "../dns/index.ts";
import { ownerOf, rightsOf } from "./dial.ts";
import type { UdpSocket } from "./face.ts";
import { openNames, type SystemResolvers } from "./names.ts";
import { openPeer, type UserspaceOptions, type UserspacePeer } from "./peer.ts";
import { type ClientReach, createReach } from "./reach.ts";
import { createSockets } from "./sockets.ts";
import { readUserspaceStatus, type UserspaceStatus } from "./status.ts";

export interface UserspaceClientOptions
  extends Omit<UserspaceOptions<TunnelClient>, "role" | "onStack" | "lookUp"> {
  readonly systemResolvers: SystemResolvers;
  readonly isInternetOn: boolean;
  readonly maxPartitionMs?: number | undefined;
  readonly ca?: readonly string[] | undefined;
}

export interface UserspaceClient extends Omit<ClientReach<UdpSocket>, "end"> {
  readonly peer: UserspacePeer<TunnelClient>;
  status(): UserspaceStatus;
  /** What a client can be told over the control socket. */
  readonly methods: ControlMethods;
  close(): Promise<void>;
}

export async function openUserspaceClient(options: UserspaceClientOptions): Promise<UserspaceClient> {
  const { log, isInternetOn, maxPartitionMs, caFile, ca, systemResolvers } = options;
  let dns: DnsService | undefined;
  const openDns = openNames({ systemResolvers, log: log.scope("dns") });
  const role = clientRole(
    { maxPartitionTime: maxPartitionMs, caFile, ...(ca && { ca }) },
    {
      isInternetOn,
      openDns(parts) {
        dns = openDns(parts);
        return dns;
      },
    },
  );
  let onStack = (_: StackEvent): void => {};
  let onResources = (): void => {};
  const peer = await openPeer({
    ...options,
    role,
    onStack: (event) => onStack(event),
    tell(event) {
      options.tell(event);
      // Not from within the control loop's turn.
      if (event.event === "resources") queueMicrotask(() => onResources());
    },
  });
  const sockets = createSockets(peer.engine);
  onStack = sockets.handle;
  if (dns === undefined) throw new Error("the role opens its names");
  const { machine, shell } = peer.tunnel;
  const rights = rightsOf(machine, shell.input);
  onResources = () => sockets.revoke((address) => ownerOf(rights, address) !== undefined);
  const status = (): UserspaceStatus =>
    readUserspaceStatus({ ...{ peer, role, login: options.login }, sockets: sockets.counts() });
  const methods = role.methodsOf?.(machine, shell.input, peer.engine.now) ?? {};
  const { end, ...reach } = createReach({ ...rights, dns, sockets });
  return {
    ...{ ...reach, peer, status, methods },
    async close() {
      end();
      await peer.close();
    },
  };
}
