/** Tries the way to a portal and to relays, as the programs would go it (PG-64, PG-141). */
import { randomBytes } from "node:crypto";
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { request as httpRequest, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { Kernel } from "../../../bindings/linux/index.ts";
import {
  equalBytes,
  formatIp,
  formatSocketAddress,
  malformed,
  type Parsed,
  parsed,
  type SocketAddress,
} from "../../base/index.ts";
import { createNameResolver, FWMARK, startTls } from "../../host/index.ts";
import { authorityOf, type PortalUrl } from "../../portal/protocol/index.ts";
import {
  attributeOf,
  encodeFrame,
  METHOD_BINDING,
  parseFrame,
  parseXorAddress,
  TRANSACTION_ID_BYTES,
  XOR_MAPPED_ADDRESS,
} from "../../stun/index.ts";
import type { ProgramIo } from "../io.ts";
import { firstConnection, loadRoots, markedTcp, plainTcp, reasonOf } from "../portal-transport.ts";
import { type Reach, reachTarget } from "../proxy/index.ts";
import type { PortalFacts, RelayFacts } from "./facts.ts";

const STEP_MS_MAX = 5_000;
/** A lost datagram is sent again; a relay is never that far away. */
const STUN_SEND_AT_MS = [0, 500, 1_500] as const;
const STUN_MS_MAX = 3_000;
const STUN_BYTES_MAX = 128;

export interface WayOptions {
  /** With it and the privilege sockets are marked, as a client's or gateway's. */
  readonly kernel: Kernel | undefined;
  readonly isPrivileged: boolean;
  readonly caFile: string | undefined;
  readonly io: ProgramIo;
}

export async function examinePortal(url: PortalUrl, options: WayOptions): Promise<PortalFacts> {
  const isTls = url.scheme === "wss";
  const about = { url: `${url.scheme}://${authorityOf(url)}`, isTls };
  const reach = reachOf(url, options);
  const addresses = await settle(reach.resolve(url.host));
  const named = addresses.ok && addresses.value.length === 0 ? malformed("no address") : addresses;
  if (!named.ok) return { ...about, addresses: named };
  const known = { ...about, addresses: parsed(named.value.map(formatIp)) };
  const began = performance.now();
  const tcp = await settle(firstConnection(named.value, url.port, (to) => reach.openTcp(to, STEP_MS_MAX)));
  if (!tcp.ok) return { ...known, tcp };
  const at = formatSocketAddress({ address: named.value[0] ?? new Uint8Array(4), port: url.port });
  const address = tcp.value.remoteAddress === undefined ? at : remoteOf(tcp.value);
  const connected = { ...known, tcp: parsed({ address, ms: Math.round(performance.now() - began) }) };
  try {
    if (!isTls) return { ...connected, answer: await settle(askHealth(url, tcp.value)) };
    const roots = loadRoots(options.caFile);
    const tls = await settle(secured(startTls(tcp.value, { servername: url.host, ca: roots })));
    if (!tls.ok) return { ...connected, tls };
    const validTo = tls.value.getPeerCertificate().valid_to;
    return { ...connected, tls: parsed({ validTo }), answer: await settle(askHealth(url, tls.value)) };
  } finally {
    tcp.value.destroy();
  }
}

function reachOf(url: PortalUrl, { kernel, isPrivileged, caFile, io }: WayOptions): Reach {
  const log = io.log.scope("doctor");
  const own =
    kernel !== undefined && isPrivileged
      ? {
          openTcp: markedTcp(kernel, FWMARK),
          resolve: createNameResolver({ kernel, mark: FWMARK, log }),
        }
      : { openTcp: plainTcp };
  return reachTarget({ target: url, env: io.env, caFile, log, ...own });
}

function remoteOf({ remoteAddress = "", remotePort }: Socket): string {
  return remoteAddress.includes(":") ? `[${remoteAddress}]:${remotePort}` : `${remoteAddress}:${remotePort}`;
}

function secured(socket: Socket): Promise<TLSSocket> {
  return within(
    new Promise((resolve, reject) => {
      socket.once("error", reject);
      if (socket instanceof TLSSocket) socket.once("secureConnect", () => resolve(socket));
    }),
    STEP_MS_MAX,
  );
}

async function askHealth(
  url: PortalUrl,
  socket: Socket,
): Promise<{ status: number; dateMs: number | undefined }> {
  const response = await within(
    new Promise<IncomingMessage>((resolve, reject) => {
      const request = httpRequest({
        path: `${url.path}/healthz`,
        headers: { host: authorityOf(url), connection: "close" },
        createConnection: () => socket,
      });
      request.once("response", resolve);
      request.once("error", reject);
      request.end();
    }),
    STEP_MS_MAX,
  );
  response.resume();
  const dateMs = Date.parse(response.headers.date ?? "");
  return { status: response.statusCode ?? 0, dateMs: Number.isNaN(dateMs) ? undefined : dateMs };
}

/** Asks all relays from one socket per family, so that what they see can be compared. */
export async function examineRelays(relays: readonly SocketAddress[]): Promise<readonly RelayFacts[]> {
  const sockets = { udp4: createSocket("udp4"), udp6: createSocket({ type: "udp6", ipv6Only: true }) };
  for (const socket of Object.values(sockets)) socket.on("error", () => {});
  try {
    return await Promise.all(
      relays.map((relay) => examineRelay(sockets[relay.address.length === 4 ? "udp4" : "udp6"], relay)),
    );
  } finally {
    for (const socket of Object.values(sockets)) socket.close();
  }
}

async function examineRelay(socket: UdpSocket, relay: SocketAddress): Promise<RelayFacts> {
  const binding = await settle(askBinding(socket, relay));
  return { address: formatSocketAddress(relay), binding };
}

async function askBinding(
  socket: UdpSocket,
  { address, port }: SocketAddress,
): Promise<{ readonly mapped: string; readonly ms: number }> {
  const transactionId = new Uint8Array(randomBytes(TRANSACTION_ID_BYTES));
  const bytes = new Uint8Array(STUN_BYTES_MAX);
  const content = { method: METHOD_BINDING, class: "request", transactionId, attributes: [] } as const;
  const request = bytes.subarray(0, encodeFrame(bytes, content, {}));
  const began = performance.now();
  const timers: NodeJS.Timeout[] = [];
  let listener: ((datagram: Uint8Array) => void) | undefined;
  try {
    return await within(
      new Promise((resolve, reject) => {
        listener = (datagram) => {
          const mapped = mappedAddress(datagram, transactionId);
          if (mapped !== undefined) resolve({ mapped, ms: Math.round(performance.now() - began) });
        };
        socket.on("message", listener);
        const send = (): void =>
          socket.send(request, port, formatIp(address), (error) => error && reject(error));
        for (const atMs of STUN_SEND_AT_MS) timers.push(setTimeout(send, atMs));
      }),
      STUN_MS_MAX,
    );
  } finally {
    for (const timer of timers) clearTimeout(timer);
    if (listener !== undefined) socket.off("message", listener);
  }
}

function mappedAddress(datagram: Uint8Array, transactionId: Uint8Array): string | undefined {
  const frame = parseFrame(datagram);
  if (!frame.ok || !equalBytes(frame.value.transactionId, transactionId)) return undefined;
  const value = attributeOf(frame.value, XOR_MAPPED_ADDRESS);
  const mapped = value && parseXorAddress(value, transactionId);
  return mapped?.ok ? formatSocketAddress(mapped.value) : undefined;
}

async function within<T>(work: Promise<T>, limitMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(reject, limitMs, new Error(`no answer within ${limitMs / 1000} s`));
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function settle<T>(work: Promise<T>): Promise<Parsed<T>> {
  try {
    return parsed(await work);
  } catch (error) {
    return malformed(reasonOf(error));
  }
}
