/** SOCKS 5 (RFC 1928) with user name and password (RFC 1929): CONNECT, UDP ASSOCIATE, names. */
import { createSocket, type Socket as DatagramSocket } from "node:dgram";
import type { Socket } from "node:net";
import { formatIp, PosternError, parseIp } from "../../../base/index.ts";
import type { UdpSocket } from "../face.ts";
import { createByteReader, release } from "./byte-reader.ts";
import type { ProxyParts } from "./face.ts";
import { join } from "./join.ts";

const VERSION = 5;
const METHOD = { none: 0, password: 2, unacceptable: 0xff } as const;
const COMMAND = { connect: 1, udpAssociate: 3 } as const;
const KIND = { v4: 1, name: 3, v6: 4 } as const;
const REPLY = {
  done: 0,
  failure: 1,
  notAllowed: 2,
  unreachable: 4,
  refused: 5,
  expired: 6,
  command: 7,
  kind: 8,
} as const;
const NOBODY: Target = { host: "0.0.0.0", port: 0 };

interface Target {
  readonly host: string;
  readonly port: number;
}

/** Rejects when the peer does not speak the protocol. */
export async function serveSocks(parts: ProxyParts, socket: Socket): Promise<void> {
  const reader = createByteReader(socket);
  const [version, methods = 0] = await reader.take(2);
  if (version !== VERSION) throw new Error("the peer does not speak SOCKS 5");
  const offered = await reader.take(methods);
  const method = parts.password === undefined ? METHOD.none : METHOD.password;
  if (!offered.includes(method)) return void socket.end(Uint8Array.of(VERSION, METHOD.unacceptable));
  socket.write(Uint8Array.of(VERSION, method));
  if (method === METHOD.password) {
    const [, userBytes = 0] = await reader.take(2);
    const user = await reader.take(userBytes);
    const [passwordBytes = 0] = await reader.take(1);
    const isRight = parts.isAllowed(user.toString(), (await reader.take(passwordBytes)).toString());
    if (!isRight) return void socket.end(Uint8Array.of(1, 1));
    socket.write(Uint8Array.of(1, 0));
  }
  const [, command, , kind = 0] = await reader.take(4);
  const target = await readTarget(kind, (count) => reader.take(count));
  if (target === undefined) return void socket.end(replyOf(REPLY.kind));
  release(socket);
  socket.setTimeout(0);
  if (command === COMMAND.connect) return await connect(parts, socket, target);
  if (command === COMMAND.udpAssociate) return await associate(parts, socket);
  socket.end(replyOf(REPLY.command));
}

async function readTarget(
  kind: number,
  take: (count: number) => Promise<Buffer> | Buffer,
): Promise<Target | undefined> {
  let host: string;
  if (kind === KIND.v4) host = formatIp(await take(4));
  else if (kind === KIND.v6) host = formatIp(await take(16));
  else if (kind === KIND.name) host = (await take((await take(1))[0] ?? 0)).toString("latin1");
  else return undefined;
  return { host, port: (await take(2)).readUInt16BE() };
}

async function connect({ dial }: ProxyParts, socket: Socket, target: Target): Promise<void> {
  const gone = new AbortController();
  const leave = (): void => gone.abort();
  socket.once("close", leave);
  try {
    const tunnel = await dial({ ...target, signal: gone.signal });
    socket.removeListener("close", leave);
    socket.write(replyOf(REPLY.done, { host: tunnel.local.address, port: tunnel.local.port }));
    await join(socket, tunnel);
  } catch (error) {
    socket.end(replyOf(replyFor(error)));
  }
}

function replyFor(error: unknown): number {
  switch (error instanceof PosternError ? error.code : "") {
    case "not_a_resource":
    case "prohibited":
      return REPLY.notAllowed;
    case "unreachable":
    case "offline":
      return REPLY.unreachable;
    case "refused":
      return REPLY.refused;
    case "timeout":
      return REPLY.expired;
    default:
      return REPLY.failure;
  }
}

function replyOf(reply: number, bound: Target = NOBODY): Uint8Array {
  return Uint8Array.of(VERSION, reply, 0, ...addressBytes(bound));
}

function addressBytes({ host, port }: Target): readonly number[] {
  const parsed = parseIp(host);
  const address = parsed.ok ? parsed.value : new Uint8Array(4);
  return [address.length === 4 ? KIND.v4 : KIND.v6, ...address, port >> 8, port & 0xff];
}

/** Datagrams of one client, as long as its connection stays (RFC 1928 §7). */
async function associate({ udp }: ProxyParts, control: Socket): Promise<void> {
  const isV6 = control.localFamily === "IPv6";
  const host = createSocket(isV6 ? "udp6" : "udp4");
  const tunnel = new Map<4 | 6, Promise<UdpSocket>>();
  const close = (): void => {
    host.close();
    for (const opening of tunnel.values()) void opening.then((socket) => socket.close());
  };
  await new Promise<void>((resolve, reject) => {
    host.once("error", reject);
    host.bind(0, control.localAddress, resolve);
  });
  if (control.destroyed) return close();
  control.once("close", close);
  control.resume();
  host.on("error", () => {});
  let client: number | undefined;
  const answer = (data: Uint8Array, from: Target): void => {
    if (client === undefined || control.destroyed) return;
    host.send(Uint8Array.of(0, 0, 0, ...addressBytes(from), ...data), client, control.remoteAddress);
  };
  host.on("message", (bytes, { address, port }) => {
    // Nobody but who holds the connection, and from one port of his.
    if (address !== control.remoteAddress || (client !== undefined && client !== port)) return;
    client = port;
    void forward(bytes, (family) => {
      const known = tunnel.get(family);
      if (known !== undefined) return known;
      const opening = Promise.resolve(udp(family));
      tunnel.set(family, opening);
      void opening.then((socket) => pumpBack(socket, answer));
      return opening;
    }).catch(() => {});
  });
  control.write(replyOf(REPLY.done, { host: control.localAddress ?? "", port: portOf(host) }));
}

function portOf(socket: DatagramSocket): number {
  return socket.address().port;
}

/** `[0 u16][fragment u8][kind u8][address][port u16]data`; fragments are dropped, as most do. */
async function forward(bytes: Buffer, open: (family: 4 | 6) => Promise<UdpSocket>): Promise<void> {
  let at = 4;
  const take = (count: number): Buffer => {
    at += count;
    return bytes.subarray(at - count, at);
  };
  if (bytes.length < at || bytes[2] !== 0) return;
  const target = await readTarget(bytes[3] ?? 0, take);
  if (target === undefined || at > bytes.length) return;
  const socket = await open(target.host.includes(":") ? 6 : 4);
  socket.send(bytes.subarray(at), target);
}

async function pumpBack(socket: UdpSocket, answer: (data: Uint8Array, from: Target) => void): Promise<void> {
  try {
    for (;;) {
      const { data, from } = await socket.receive();
      answer(data, { host: from.address, port: from.port });
    }
  } catch {
    // Closed, with the association.
  }
}
