/** All sockets that an embedded client with a device has opened in the host's kernel, for its program (PG-120, PG-130). */
import type { IpAddress } from "../../base/index.ts";
import type { UdpSocket } from "../userspace/index.ts";
import type { ClientSockets } from "../userspace/reach.ts";
import { instanceClosed } from "../userspace/sockets.ts";
import type { UdpHandle } from "../userspace/udp-socket.ts";
import { pingByHost } from "./ping.ts";
import { connectByHost, type HostTcp } from "./tcp.ts";
import { openUdp } from "./udp.ts";

export interface HostSockets extends ClientSockets<Promise<UdpSocket>> {
  /** Ends connections to addresses that are not allowed any more (PG-124). */
  revoke(isAllowed: (remote: IpAddress) => boolean): void;
}

/** @param ownAddress of the tunnel */
export function createHostSockets(ownAddress: (family: 4 | 6) => IpAddress | undefined): HostSockets {
  const tcp = new Set<HostTcp>();
  const udp = new Set<UdpHandle>();
  let isClosed = false;
  return {
    async connect(remote, signal) {
      if (isClosed) throw instanceClosed();
      const opened = await connectByHost(remote, signal);
      tcp.add(opened);
      void opened.socket.closed.then(() => tcp.delete(opened));
      // It may have come in the turn of the end.
      if (isClosed) opened.end("closed");
      return opened.socket;
    },
    async udp(options) {
      if (isClosed) throw instanceClosed();
      const { handle, socket } = await openUdp(ownAddress(options.family), options, (one) => udp.delete(one));
      udp.add(handle);
      if (isClosed) handle.closed();
      return socket;
    },
    async ping(remote, signal) {
      if (isClosed) throw instanceClosed();
      return await pingByHost(remote, signal);
    },
    revoke(isAllowed) {
      for (const one of [...tcp]) if (!isAllowed(one.remote.address)) one.end("prohibited");
    },
    close() {
      isClosed = true;
      for (const one of [...tcp]) one.end("closed");
      for (const one of [...udp]) one.closed();
    },
  };
}
