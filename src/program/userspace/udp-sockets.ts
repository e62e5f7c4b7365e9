/**
 * The runtime's own UDP sockets, one per own address and all on one port: runtimes do not tell to which of our
 * addresses a datagram came (PG-122). Nothing native, no privilege.
 */
import { createSocket, type Socket } from "node:dgram";
import {
  copyOf,
  equalIp,
  formatIp,
  type IpAddress,
  type Log,
  PosternError,
  parseIp,
  type SocketAddress,
} from "../../base/index.ts";

export interface ArrivedDatagram {
  readonly from: SocketAddress;
  readonly local: SocketAddress;
  readonly bytes: Uint8Array;
}

export interface RuntimeSocketsOptions {
  readonly addresses: readonly IpAddress[];
  /** Asked for first; another one where somebody has it. 0: any. */
  readonly port: number;
  readonly onDatagram: (datagram: ArrivedDatagram) => void;
  readonly log: Log;
}

export interface RuntimeSockets {
  /** Our addresses, each with the port. */
  readonly own: readonly SocketAddress[];
  readonly port: number;
  /** From `source`, or from the first address of the family. `busy`: too much waits to be sent. */
  send(to: SocketAddress, bytes: Uint8Array, source?: IpAddress): "done" | "busy";
  close(): void;
}

interface OwnSocket {
  readonly socket: Socket;
  readonly local: SocketAddress;
}

const PORT_TRIES = 16;
/** Asked of the system; what it grants is its own affair. */
const KERNEL_BUFFER_BYTES = 4 << 20;
/** What may wait in a socket before its datagrams are lost, as on a full link. */
const QUEUED_BYTES_MAX = 4 << 20;
const KNOWN_TEXTS_MAX = 4_096;

/** @throws PosternError `host` when none of the addresses can be bound */
export async function openRuntimeSockets(options: RuntimeSocketsOptions): Promise<RuntimeSockets> {
  const { addresses, onDatagram, log } = options;
  const opened = await bindAll(options);
  for (const { socket, local } of opened) {
    socket.on("message", (bytes, { address, port }) => {
      const from = addressOf(address);
      if (from !== undefined) onDatagram({ from: { address: from, port }, local, bytes });
    });
    // A send that failed is a datagram lost; the next one tells again.
    socket.on("error", (error) => log.debug?.("UDP socket", { error }));
  }
  const port = opened[0]?.local.port ?? 0;
  log.debug?.("UDP sockets of the runtime", { addresses: addresses.map(formatIp), port });
  return {
    own: opened.map(({ local }) => local),
    port,
    send: (to, bytes, source) => send(opened, { to, bytes, source }),
    close() {
      for (const { socket } of opened) socket.close();
    },
  };
}

async function bindAll({ addresses, port, log }: RuntimeSocketsOptions): Promise<readonly OwnSocket[]> {
  let wanted = port;
  for (let attempt = 0; attempt < PORT_TRIES; attempt++) {
    const opened: OwnSocket[] = [];
    try {
      for (const address of addresses) {
        const one = await bind(address, opened[0]?.local.port ?? wanted);
        if (one !== undefined) opened.push(one);
      }
      if (opened.length > 0) return opened;
      break;
    } catch (error) {
      for (const { socket } of opened) socket.close();
      if (wanted !== 0) log.info?.("UDP port is in use: another one is taken", { port: wanted });
      else log.debug?.("UDP port is not free at every address", { error });
      wanted = 0;
    }
  }
  throw new PosternError(
    "host",
    "no UDP socket could be opened",
    "is there a network, and may this process use it?",
  );
}

/** `undefined`: the address has gone. Rejects where the port is taken. */
function bind(address: IpAddress, port: number): Promise<OwnSocket | undefined> {
  const isV6 = address.length === 16;
  const socket = createSocket({
    ...(isV6 ? { type: "udp6", ipv6Only: true } : { type: "udp4" }),
    // Addresses only: nothing is to be asked, and nothing to be waited for.
    lookup: (host, _options, callback) => callback(null, host, isV6 ? 6 : 4),
  });
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void => {
      socket.close();
      if (error.code === "EADDRINUSE") reject(error);
      else resolve(undefined);
    };
    socket.once("error", failed);
    socket.bind({ address: formatIp(address), port, exclusive: true }, () => {
      socket.removeListener("error", failed);
      enlarge(socket);
      resolve({ socket, local: { address, port: socket.address().port } });
    });
  });
}

function enlarge(socket: Socket): void {
  try {
    socket.setRecvBufferSize(KERNEL_BUFFER_BYTES);
    socket.setSendBufferSize(KERNEL_BUFFER_BYTES);
  } catch {
    // Some runtimes cannot, and it works without.
  }
}

function send(
  opened: readonly OwnSocket[],
  {
    to,
    bytes,
    source,
  }: { readonly to: SocketAddress; readonly bytes: Uint8Array; readonly source: IpAddress | undefined },
): "done" | "busy" {
  const own = opened.find(({ local }) =>
    source === undefined ? local.address.length === to.address.length : equalIp(local.address, source),
  );
  // An address that we have no more: the path fails by its own time-outs.
  if (own === undefined) return "done";
  const { socket } = own;
  if ((socket.getSendQueueSize?.() ?? 0) > QUEUED_BYTES_MAX) return "busy";
  // Nobody waits for it, which spares a callback for each.
  socket.send(bytes, to.port, textOf(to.address));
  return "done";
}

/** The peers of a process are few, their datagrams many. */
const addressByText = new Map<string, IpAddress>();
const textByKey = new Map<string, string>();
/** Of the datagram before, which most often went to the same. */
let lastTo: { readonly address: IpAddress; readonly text: string } | undefined;

function addressOf(text: string): IpAddress | undefined {
  const known = addressByText.get(text);
  if (known !== undefined) return known;
  const parsed = parseIp(text.split("%", 1)[0] ?? "");
  if (!parsed.ok) return undefined;
  if (addressByText.size >= KNOWN_TEXTS_MAX) addressByText.clear();
  addressByText.set(text, parsed.value);
  return parsed.value;
}

function textOf(address: IpAddress): string {
  if (lastTo === undefined || !equalIp(lastTo.address, address)) {
    lastTo = { address: copyOf(address), text: knownTextOf(address) };
  }
  return lastTo.text;
}

function knownTextOf(address: IpAddress): string {
  const key = address.join();
  const known = textByKey.get(key);
  if (known !== undefined) return known;
  if (textByKey.size >= KNOWN_TEXTS_MAX) textByKey.clear();
  const text = formatIp(address);
  textByKey.set(key, text);
  return text;
}
