/** UDP sockets of the host's kernel, at an address of the tunnel (PG-120). */
import { createSocket, type Socket } from "node:dgram";
import { formatIp, type IpAddress, PosternError, parseIp } from "../../base/index.ts";
import type { UdpSocket } from "../userspace/index.ts";
import { toAddr } from "../userspace/raw-tcp.ts";
import { tooBig, type UdpOptions } from "../userspace/sockets.ts";
import { createUdpSocket, type UdpHandle } from "../userspace/udp-socket.ts";

/** What IP and UDP leave of a packet of 65,535 bytes. */
const PAYLOAD_BYTES_MAX = { 4: 65_507, 6: 65_527 } as const;

export interface HostUdp {
  readonly handle: UdpHandle;
  readonly socket: UdpSocket;
}

/** @param own the tunnel's address of the family. @throws PosternError `unreachable`, `host` */
export async function openUdp(
  own: IpAddress | undefined,
  { family, resolve }: UdpOptions,
  released: (handle: UdpHandle) => void,
): Promise<HostUdp> {
  if (own === undefined) throw new PosternError("unreachable", `no IPv${family} address in the tunnel`);
  const bound = await bind(family, formatIp(own));
  const known = new Map<string, string>();
  let isOpen = true;
  const sendTo = (host: string, port: number, data: Uint8Array): void => {
    // What goes wrong with a datagram is lost, as on any network.
    if (isOpen) bound.send(data, port, host, () => {});
  };
  const handle = createUdpSocket({
    local: toAddr({ address: own, port: bound.address().port }),
    toAddr,
    send(data, { host, port }) {
      if (data.length > PAYLOAD_BYTES_MAX[family]) throw tooBig(data);
      // The kernel has it only later.
      const copy = data.slice();
      const found = known.get(host);
      if (found !== undefined) return sendTo(found, port, copy);
      Promise.resolve(resolve(host)).then(
        (address) => {
          known.set(host, formatIp(address));
          sendTo(formatIp(address), port, copy);
        },
        () => {},
      );
    },
    release() {
      isOpen = false;
      bound.close();
      released(handle);
    },
  });
  bound.on("message", (data, from) => {
    const address = parseIp(from.address);
    if (address.ok) handle.datagram(new Uint8Array(data), { address: address.value, port: from.port });
  });
  return { handle, socket: handle.socket };
}

function bind(family: 4 | 6, address: string): Promise<Socket> {
  const socket = createSocket({ type: `udp${family}` });
  return new Promise((resolve, reject) => {
    const failed = (cause: Error): void => {
      socket.close();
      const message = `cannot open a UDP socket at ${address}: ${cause.message}`;
      reject(new PosternError("host", message, undefined, { cause, detail: "socket-open" }));
    };
    socket.once("error", failed);
    socket.bind({ address, port: 0 }, () => {
      socket.removeListener("error", failed);
      // Errors about datagrams, which UDP does not promise.
      socket.on("error", () => {});
      resolve(socket);
    });
  });
}
