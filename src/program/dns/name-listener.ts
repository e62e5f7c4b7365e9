/** Where clients ask the gateway's name server: UDP and TCP at one tunnel address (DN-84, DN-90). */
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { createServer, type Server, type Socket } from "node:net";
import { contains, formatIp, type IpAddress, parseIp, TUNNEL_V4, TUNNEL_V6 } from "../../base/index.ts";
import { GATEWAY_DNS_PORT } from "../../dns/index.ts";
import { type Asked, createQuestionStream } from "./question-stream.ts";

export interface NameListener {
  close(): void;
}

/** Opens the name server's port at an address of its own. */
export type ListenForNames = (
  address: IpAddress,
  onAsked: (asked: Asked) => void,
  port?: number,
) => Promise<NameListener>;

/** All of one address. */
export const CONNECTIONS_MAX = 512;

/** @throws Error of the system, with its code */
export async function listenForNames(
  address: IpAddress,
  onAsked: (asked: Asked) => void,
  port = GATEWAY_DNS_PORT,
): Promise<NameListener> {
  const datagrams = await openDatagrams(address, port, onAsked);
  const sockets = new Set<Socket>();
  try {
    const server = await openStreams(address, port, (socket) => admit(address, socket, sockets, onAsked));
    return {
      close() {
        datagrams.close();
        server.close();
        for (const socket of sockets) socket.destroy();
      },
    };
  } catch (error) {
    datagrams.close();
    throw error;
  }
}

function openDatagrams(
  address: IpAddress,
  port: number,
  onAsked: (asked: Asked) => void,
): Promise<UdpSocket> {
  const socket = createSocket({ type: address.length === 4 ? "udp4" : "udp6" });
  socket.on("message", (bytes, from) => {
    const client = parseIp(from.address);
    if (!client.ok || !isInTunnel(address, client.value)) return;
    const reply = (answer: Uint8Array | undefined): void => {
      // Who does not get it asks again.
      if (answer !== undefined) socket.send(answer, from.port, from.address, () => {});
    };
    onAsked({ transport: "udp", client: client.value, bytes, reply });
  });
  return new Promise((resolve, reject) => {
    socket.once("error", (error) => {
      socket.close();
      reject(error);
    });
    socket.bind({ address: formatIp(address), port, exclusive: true }, () => {
      socket.removeAllListeners("error");
      // An error about a single answer is no error of the socket.
      socket.on("error", () => {});
      resolve(socket);
    });
  });
}

function openStreams(address: IpAddress, port: number, onSocket: (socket: Socket) => void): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, onSocket);
  server.maxConnections = CONNECTIONS_MAX;
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: formatIp(address), port, exclusive: true }, () => {
      server.removeAllListeners("error");
      server.on("error", () => {});
      resolve(server);
    });
  });
}

/**
 * Whether a question may have come through the tunnel: Linux takes packets for an address of its own at any device,
 * and a neighbour of the host must not use up the clients' connections.
 */
export function isInTunnel(own: IpAddress, source: IpAddress): boolean {
  const range = [TUNNEL_V4, TUNNEL_V6].find((one) => contains(one, own));
  return range === undefined || contains(range, source);
}

function admit(
  address: IpAddress,
  socket: Socket,
  sockets: Set<Socket>,
  onAsked: (asked: Asked) => void,
): void {
  const client = parseIp(socket.remoteAddress ?? "");
  if (client.ok && isInTunnel(address, client.value)) serve(socket, client.value, sockets, onAsked);
  else socket.resetAndDestroy();
}

function serve(
  socket: Socket,
  client: IpAddress,
  sockets: Set<Socket>,
  onAsked: (asked: Asked) => void,
): void {
  sockets.add(socket);
  const stream = createQuestionStream(client, onAsked, {
    write: (bytes) => socket.write(bytes),
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    end: () => void socket.end(),
    close: () => void socket.destroy(),
    abort: () => void socket.resetAndDestroy(),
  });
  socket.on("data", stream.data);
  socket.on("drain", stream.drained);
  socket.on("end", stream.ended);
  socket.on("error", () => {});
  socket.on("close", () => {
    stream.closed();
    sockets.delete(socket);
  });
}
