/** Where clients ask the gateway's name server: UDP and TCP at one tunnel address (DN-84, DN-90). */
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { createServer, type Server, type Socket } from "node:net";
import {
  concatBytes,
  contains,
  formatIp,
  type IpAddress,
  parseIp,
  TUNNEL_V4,
  TUNNEL_V6,
} from "../../base/index.ts";
import { GATEWAY_DNS_PORT, HEADER_BYTES, TCP_LENGTH_BYTES, UNANSWERED_MAX } from "../../dns/index.ts";

/** A question, and the way of its answer. */
export interface Asked {
  readonly transport: "udp" | "tcp";
  readonly client: IpAddress;
  readonly bytes: Uint8Array;
  /** `undefined`: what came is no question, and its connection is ended. */
  readonly reply: (answer: Uint8Array | undefined) => void;
}

export interface NameListener {
  close(): void;
}

const CONNECTIONS_MAX = 512;
const IDLE_MS = 10_000;

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

/** Several questions at a time, answers as they come. */
function serve(
  socket: Socket,
  client: IpAddress,
  sockets: Set<Socket>,
  onAsked: (asked: Asked) => void,
): void {
  sockets.add(socket);
  let unread: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  let unanswered = 0;
  let hasEnded = false;
  let idle = setTimeout(end, IDLE_MS);

  function end(): void {
    // Who waits for an answer is not idle.
    if (unanswered > 0) idle = setTimeout(end, IDLE_MS);
    else socket.destroy();
  }

  function read(): void {
    while (unanswered < UNANSWERED_MAX && unread.length >= TCP_LENGTH_BYTES && !socket.destroyed) {
      const length = ((unread[0] ?? 0) << 8) | (unread[1] ?? 0);
      if (length < HEADER_BYTES) return void socket.resetAndDestroy();
      const whole = TCP_LENGTH_BYTES + length;
      if (unread.length < whole) break;
      const bytes = unread.slice(TCP_LENGTH_BYTES, whole);
      unread = unread.slice(whole);
      unanswered++;
      clearTimeout(idle);
      idle = setTimeout(end, IDLE_MS);
      onAsked({ transport: "tcp", client, bytes, reply });
    }
    if (unanswered >= UNANSWERED_MAX) socket.pause();
    else socket.resume();
  }

  function reply(answer: Uint8Array | undefined): void {
    if (socket.destroyed) return;
    if (answer === undefined) return void socket.resetAndDestroy();
    unanswered--;
    socket.write(concatBytes(Uint8Array.of(answer.length >> 8, answer.length & 0xff), answer));
    read();
    if (hasEnded && unanswered === 0) socket.end();
  }

  socket.on("data", (chunk) => {
    unread = concatBytes(unread, chunk);
    read();
  });
  socket.on("end", () => {
    hasEnded = true;
    if (unanswered === 0) socket.end();
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    clearTimeout(idle);
    sockets.delete(socket);
  });
}
