/** Sockets of the relay, and the epoll through which the peer side hears of those of allocations (RL-50, RL-54). */
import type { IpAddress, Log, PosternError } from "../../src/base/index.ts";
import type { IpFamily, PortResult } from "../../src/plane/index.ts";
import {
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLLIN,
  errnoName,
  hostError,
  isErrno,
  type Kernel,
  openRelaySocket,
} from "../linux/index.ts";
import { CONSTANTS, OFFSETS, type SharedMemory } from "../memory/index.ts";
import type { Quiescence } from "../table/index.ts";

const { plane: PLANE, relay: RELAY } = OFFSETS;

/** Of the listening sockets (RL-50), and of each allocation's: what a burst of a few trains needs. */
const LISTEN_BUFFER_BYTES = 8 << 20;
const ALLOCATION_BUFFER_BYTES = 2 << 20;
const LISTEN_BUFFER_LEAST = 1 << 20;

export interface RelaySockets {
  readonly listen: Readonly<Partial<Record<IpFamily, number>>>;
  openPort(port: number, families: readonly IpFamily[]): PortResult;
  closePort(port: number, families: readonly IpFamily[]): void;
  /** The socket of an allocation port. */
  fdOf(port: number, family: IpFamily): number | undefined;
  /** Open sockets of allocations, those that wait for workers included. */
  readonly count: number;
  /** Closes everything; no worker runs any more. */
  close(): void;
}

export interface RelaySocketsOptions {
  readonly kernel: Kernel;
  readonly shared: SharedMemory;
  readonly quiescence: Quiescence;
  readonly listenPort: number;
  /** Where sockets are bound; a family without address has none. */
  readonly bind: Readonly<Partial<Record<IpFamily, IpAddress>>>;
  readonly log: Log;
}

interface SocketsState extends RelaySocketsOptions {
  readonly epoll: number;
  readonly ports: Map<string, number>;
  readonly open: Set<number>;
}

/** `struct epoll_event` is packed on x86-64 alone (epoll_ctl(2)). */
const EVENT_LAYOUT = process.arch === "x64" ? { bytes: 12, dataAt: 4 } : { bytes: 16, dataAt: 8 };

/**
 * Opens the listening sockets.
 *
 * @throws PosternError `host` when one cannot be bound
 */
export function openRelaySockets(options: RelaySocketsOptions): RelaySockets {
  const { kernel, shared } = options;
  const { sys } = kernel;
  const epoll = sys.epollCreate(EPOLL_CLOEXEC);
  if (epoll < 0) throw hostError("cannot open an epoll descriptor", "epoll_create1", sys.errno());
  const relay = shared.words[(CONSTANTS.PLANE_ADDRESS + PLANE.relay) >> 2] ?? 0;
  shared.words[(relay + RELAY.epoll) >> 2] = epoll;
  shared.words[(relay + RELAY.epollEventBytes) >> 2] = EVENT_LAYOUT.bytes;
  shared.words[(relay + RELAY.epollDataAt) >> 2] = EVENT_LAYOUT.dataAt;
  const state: SocketsState = { ...options, epoll, ports: new Map(), open: new Set() };
  const listen = openListening(state);
  return {
    listen,
    openPort: (port, families) => openPort(state, port, families),
    closePort: (port, families) => closePort(state, port, families),
    fdOf: (port, family) => state.ports.get(portKey(port, family)),
    get count() {
      return state.open.size;
    },
    close() {
      for (const fd of [...state.open, ...Object.values(listen), epoll]) sys.close(fd);
      state.open.clear();
    },
  };
}

function openListening(state: SocketsState): Partial<Record<IpFamily, number>> {
  const { kernel, bind, listenPort, log, epoll } = state;
  const opened: Partial<Record<IpFamily, number>> = {};
  for (const family of [4, 6] as const) {
    const address = bind[family];
    if (address === undefined) continue;
    const socket = openRelaySocket(kernel, {
      address,
      port: listenPort,
      hasPacketInfo: true,
      sendBufferBytes: LISTEN_BUFFER_BYTES,
      receiveBufferBytes: LISTEN_BUFFER_BYTES,
    });
    if (typeof socket === "number") {
      for (const fd of [...Object.values(opened), epoll]) kernel.sys.close(fd);
      throw refused(listenPort, family, socket);
    }
    opened[family] = socket.fd;
    const { sendBufferBytes, receiveBufferBytes } = socket;
    log.info?.("listening", {
      family: `IPv${family}`,
      port: listenPort,
      sendBufferBytes,
      receiveBufferBytes,
    });
    if (Math.min(sendBufferBytes, receiveBufferBytes) < LISTEN_BUFFER_LEAST) {
      log.warn?.("socket buffers are small: datagrams may be lost in bursts", {
        sendBufferBytes,
        receiveBufferBytes,
        remedy: "raise net.core.rmem_max and net.core.wmem_max, or grant CAP_NET_ADMIN",
      });
    }
  }
  return opened;
}

function refused(port: number, family: IpFamily, errno: number): PosternError {
  const hint = isErrno(errno, "EADDRINUSE")
    ? "another relay or TURN server runs here; stop it or choose another --turn-port"
    : isErrno(errno, "EADDRNOTAVAIL")
      ? "--bind-ip4 and --bind-ip6 name addresses of this host"
      : undefined;
  return hostError(`cannot bind UDP port ${port} for IPv${family}`, "bind", errno, hint);
}

/** All of them, or none (RL-20). */
function openPort(state: SocketsState, port: number, families: readonly IpFamily[]): PortResult {
  const opened: (readonly [IpFamily, number])[] = [];
  for (const family of families) {
    const socket = openOne(state, port, family);
    if (typeof socket !== "number") {
      opened.push([family, socket.fd]);
      continue;
    }
    for (const [, fd] of opened) discard(state, fd);
    if (isErrno(socket, "EADDRINUSE")) return "in-use";
    state.log.warn?.("no socket for an allocation", {
      port,
      family: `IPv${family}`,
      errno: errnoName(socket),
    });
    return "error";
  }
  for (const [family, fd] of opened) state.ports.set(portKey(port, family), fd);
  return "ok";
}

/** An open socket that the peer side hears of, or the number of an error. */
function openOne(state: SocketsState, port: number, family: IpFamily): { readonly fd: number } | number {
  const { kernel, bind, open, epoll } = state;
  const socket = openRelaySocket(kernel, {
    address: bind[family] ?? new Uint8Array(family === 4 ? 4 : 16),
    port,
    hasPacketInfo: false,
    sendBufferBytes: ALLOCATION_BUFFER_BYTES,
    receiveBufferBytes: ALLOCATION_BUFFER_BYTES,
  });
  if (typeof socket === "number") return socket;
  open.add(socket.fd);
  const errno = kernel.scratch.frame((room) => {
    const event = room.take(EVENT_LAYOUT.bytes);
    room.view.setUint32(event, EPOLLIN, true);
    room.view.setUint32(event + EVENT_LAYOUT.dataAt, socket.fd, true);
    room.view.setUint32(event + EVENT_LAYOUT.dataAt + 4, port, true);
    return kernel.sys.epollControl(epoll, EPOLL_CTL_ADD, socket.fd, event) < 0 ? kernel.sys.errno() : 0;
  });
  if (errno === 0) return socket;
  discard(state, socket.fd);
  return errno;
}

function closePort(state: SocketsState, port: number, families: readonly IpFamily[]): void {
  for (const family of families) {
    const key = portKey(port, family);
    const fd = state.ports.get(key);
    state.ports.delete(key);
    if (fd !== undefined) discard(state, fd);
  }
}

/** A worker may be at work on the socket: its number must not become another's before that is over (RL-54). */
function discard({ kernel, epoll, open, quiescence }: SocketsState, fd: number): void {
  kernel.scratch.frame((room) => kernel.sys.epollControl(epoll, EPOLL_CTL_DEL, fd, room.take(16)));
  quiescence.after(() => {
    if (open.delete(fd)) kernel.sys.close(fd);
  });
}

function portKey(port: number, family: IpFamily): string {
  return `${port} ${family}`;
}
