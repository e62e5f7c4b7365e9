/** All sockets of an instance, on one stack: who waits for what, and what becomes of them at the end (PG-130). */
import {
  formatIp,
  formatSocketAddress,
  type IpAddress,
  PosternError,
  type SocketAddress,
} from "../../base/index.ts";
import type { StackEvent, TcpEnd, Unreached } from "../../stack/index.ts";
import type { Engine } from "./engine.ts";
import type { TcpSocket, UdpSocket } from "./face.ts";
import { type TcpHandle, toAddr } from "./raw-tcp.ts";
import { createTcpSocket } from "./tcp-socket.ts";
import { createUdpSocket, type UdpHandle } from "./udp-socket.ts";

export interface Sockets {
  handle(event: StackEvent): void;
  /** Rejects with a PosternError of PG-124, or with the signal's reason. */
  connect(remote: SocketAddress, signal: AbortSignal): Promise<TcpSocket>;
  /** A connection that was asked for and is there now. */
  adopt(event: Extract<StackEvent, { kind: "tcp-opened" }>): TcpSocket;
  /** The same for whoever wants no streams. */
  attach(id: number, remote: SocketAddress, handle: TcpHandle): void;
  /** Ends connections to addresses that are not allowed any more (PG-124). */
  revoke(isAllowed: (remote: IpAddress) => boolean): void;
  udp(options: UdpOptions): UdpSocket;
  /** Milliseconds until the echo came. */
  ping(remote: IpAddress, signal: AbortSignal): Promise<number>;
  counts(): { readonly tcp: number; readonly udp: number };
  close(): void;
}

export interface UdpOptions {
  readonly family: 4 | 6;
  /** Sends when the name is known. */
  readonly resolve: (host: string) => Promise<SocketAddress["address"]> | IpAddress;
}

interface Opening {
  readonly resolve: (socket: TcpSocket) => void;
  readonly reject: (error: unknown) => void;
  readonly remote: SocketAddress;
}

interface Ping {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  readonly remote: IpAddress;
}

interface OpenTcp {
  readonly handle: TcpHandle;
  readonly remote: SocketAddress;
}

interface State {
  readonly engine: Pick<Engine, "withStack">;
  readonly opening: Map<number, Opening>;
  readonly tcp: Map<number, OpenTcp>;
  readonly udp: Map<number, UdpHandle>;
  readonly pings: Map<number, Ping>;
  isClosed: boolean;
}

export function createSockets(engine: Pick<Engine, "withStack">): Sockets {
  const state: State = {
    engine,
    ...{ opening: new Map(), tcp: new Map(), udp: new Map(), pings: new Map(), isClosed: false },
  };
  return {
    handle: (event) => handle(state, event),
    connect: (remote, signal) => connect(state, remote, signal),
    adopt: (event) => adopt(state, event),
    attach: (id, remote, handle) => void state.tcp.set(id, { handle, remote }),
    revoke: (isAllowed) => revoke(state, isAllowed),
    udp: (options) => openUdp(state, options),
    ping: (remote, signal) => ping(state, remote, signal),
    counts: () => ({ tcp: state.tcp.size, udp: state.udp.size }),
    close: () => close(state),
  };
}

function handle(state: State, event: StackEvent): void {
  switch (event.kind) {
    case "tcp-opened":
      return opened(state, event);
    case "tcp-data":
      return state.tcp.get(event.id)?.handle.data(event.bytes);
    case "tcp-writable":
      return state.tcp.get(event.id)?.handle.writable();
    case "tcp-ended":
      return state.tcp.get(event.id)?.handle.ended();
    case "tcp-closed":
      return closed(state, event);
    case "datagram":
      return state.udp.get(event.local.port)?.datagram(event.bytes, event.remote);
    case "echoed":
      return state.pings.get(event.ping)?.resolve();
    case "echo-unreached": {
      const one = state.pings.get(event.ping);
      return one?.reject(unreached(event.reason, formatIp(one.remote)));
    }
    default:
      // A router's, and errors about datagrams, which UDP does not promise.
      return;
  }
}

function opened(state: State, event: Extract<StackEvent, { kind: "tcp-opened" }>): void {
  const waiting = state.opening.get(event.id);
  if (waiting === undefined) return;
  state.opening.delete(event.id);
  waiting.resolve(adopt(state, event));
}

function adopt(state: State, event: Extract<StackEvent, { kind: "tcp-opened" }>): TcpSocket {
  const { id, local, remote } = event;
  const { socket, handle } = createTcpSocket({ engine: state.engine, id, local, remote });
  state.tcp.set(id, { handle, remote });
  return socket;
}

function closed(state: State, { id, reason }: Extract<StackEvent, { kind: "tcp-closed" }>): void {
  const waiting = state.opening.get(id);
  state.opening.delete(id);
  waiting?.reject(connectError(reason, waiting.remote));
  state.tcp.get(id)?.handle.closed(reason);
  state.tcp.delete(id);
}

function connect(state: State, remote: SocketAddress, signal: AbortSignal): Promise<TcpSocket> {
  if (state.isClosed) return Promise.reject(instanceClosed());
  if (signal.aborted) return Promise.reject(signal.reason);
  const begun = state.engine.withStack((stack, now) => stack.connect(now, remote));
  if (begun === undefined) {
    return Promise.reject(
      new PosternError("unreachable", `no address of ours can reach ${formatSocketAddress(remote)}`),
    );
  }
  const id = begun;
  return new Promise((resolve, reject) => {
    const aborted = (): void => {
      state.opening.delete(id);
      state.engine.withStack((stack, now) => stack.abort(now, id));
      reject(signal.reason);
    };
    signal.addEventListener("abort", aborted, { once: true });
    const settled = (): void => signal.removeEventListener("abort", aborted);
    state.opening.set(id, {
      remote,
      resolve(socket) {
        settled();
        resolve(socket);
      },
      reject(error) {
        settled();
        reject(error);
      },
    });
  });
}

function openUdp(state: State, { family, resolve }: UdpOptions): UdpSocket {
  if (state.isClosed) throw instanceClosed();
  const { port, address } = state.engine.withStack((stack) => {
    const own = stack.addressOf(family);
    return { address: own, port: own && stack.bindUdp() };
  });
  if (address === undefined || port === undefined) {
    throw new PosternError("unreachable", `no IPv${family} address in the tunnel`);
  }
  const local = { address, port };
  const known = new Map<string, IpAddress>();
  const sendTo = (to: SocketAddress, data: Uint8Array): "sent" | "too-big" =>
    state.engine.withStack((stack) => stack.sendUdp(local, to, data));
  const handle = createUdpSocket({
    local: toAddr(local),
    toAddr,
    send(data, to) {
      const found = known.get(to.host) ?? resolve(to.host);
      if (!(found instanceof Promise)) {
        known.set(to.host, found);
        if (sendTo({ address: found, port: to.port }, data) === "too-big") throw tooBig(data);
        return;
      }
      const copy = data.slice();
      found.then(
        (one) => {
          known.set(to.host, one);
          if (state.udp.has(port)) sendTo({ address: one, port: to.port }, copy);
        },
        // A datagram to nobody is lost, as on any network.
        () => {},
      );
    },
    release() {
      state.udp.delete(port);
      state.engine.withStack((stack) => stack.releaseUdp(port));
    },
  });
  state.udp.set(port, handle);
  return handle.socket;
}

export function tooBig(data: Uint8Array): PosternError {
  return new PosternError(
    "host",
    `a datagram of ${data.length} bytes does not fit into the tunnel's packets`,
    undefined,
    {
      detail: "datagram-too-big",
    },
  );
}

async function ping(state: State, remote: IpAddress, signal: AbortSignal): Promise<number> {
  if (state.isClosed) throw instanceClosed();
  signal.throwIfAborted();
  const id = state.engine.withStack((stack) => stack.ping(remote));
  if (id === undefined) throw unreached("unreachable", formatIp(remote));
  const sentAt = performance.now();
  try {
    await new Promise<void>((resolve, reject) => {
      state.pings.set(id, { resolve, reject, remote });
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
    return performance.now() - sentAt;
  } finally {
    state.pings.delete(id);
    state.engine.withStack((stack) => stack.forgetPing(id));
  }
}

function revoke(state: State, isAllowed: (remote: IpAddress) => boolean): void {
  for (const [id, open] of state.tcp) {
    if (!isAllowed(open.remote.address)) abort(state, id, open, "prohibited");
  }
}

function abort(state: State, id: number, { handle }: OpenTcp, reason: "closed" | "prohibited"): void {
  state.engine.withStack((stack, now) => stack.abort(now, id));
  state.tcp.delete(id);
  handle.closed(reason);
}

/** Nothing pends afterwards. */
function close(state: State): void {
  if (state.isClosed) return;
  state.isClosed = true;
  for (const one of [...state.opening.values(), ...state.pings.values()]) one.reject(instanceClosed());
  state.opening.clear();
  for (const [id, open] of state.tcp) abort(state, id, open, "closed");
  for (const one of [...state.udp.values()]) one.closed();
}

export function instanceClosed(): PosternError {
  return new PosternError("closed", "the instance is closed");
}

export function connectError(reason: TcpEnd, remote: SocketAddress): PosternError {
  const at = `${formatIp(remote.address)} port ${remote.port}`;
  switch (reason) {
    case "refused":
    case "prohibited":
    case "unreachable":
      return unreached(reason, at);
    case "timeout":
      return new PosternError("timeout", `${at} does not answer`);
    default:
      return new PosternError("reset", `the connection to ${at} was reset while it opened`);
  }
}

const SAYINGS: Readonly<Record<Unreached, readonly [string, string | undefined]>> = {
  refused: ["nobody listens there", undefined],
  prohibited: [
    "access is not granted",
    "a policy or the resource's filters do not allow it; `postern portal access` explains",
  ],
  unreachable: ["not reachable", "its site may be offline, or it may not exist behind the gateway"],
};

export function unreached(reason: Unreached, at: string): PosternError {
  const [saying, hint] = SAYINGS[reason];
  return new PosternError(reason, `${at}: ${saying}`, hint);
}
