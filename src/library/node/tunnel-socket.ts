/** A connection to a resource as Node's programs know sockets: a Duplex with the methods of `net.Socket` (PG-121). */
import { Duplex } from "node:stream";
import type { RawTcp, TcpSocket } from "../../program/userspace/index.ts";
import type { Client, DialOptions } from "../face.ts";
import { rawOf } from "./raw-of.ts";

/** What of `net.Socket` there is. It keeps no process alive by itself; its client does. */
export interface TunnelSocket extends Duplex {
  readonly connecting: boolean;
  readonly pending: boolean;
  readonly readyState: string;
  readonly localAddress: string | undefined;
  readonly localPort: number | undefined;
  readonly remoteAddress: string | undefined;
  readonly remotePort: number | undefined;
  readonly remoteFamily: "IPv4" | "IPv6" | undefined;
  /** Where it was created without a target. Emits `connect`. */
  connect(port: number, host: string, connected?: () => void): this;
  connect(target: DialOptions, connected?: () => void): this;
  /** Emits `timeout` after so long without traffic; 0: never. */
  setTimeout(ms: number, late?: () => void): this;
  setNoDelay(isOn?: boolean): this;
  setKeepAlive(isOn?: boolean, initialDelayMs?: number): this;
  ref(): this;
  unref(): this;
}

export type Target = Pick<DialOptions, "host" | "port" | "family" | "timeoutMs" | "signal">;

const DEFAULT_KEEP_ALIVE_MS = 60_000;

interface State {
  readonly client: Pick<Client, "dial">;
  readonly given: AbortController;
  socket: RawTcp | undefined;
  /** Octets are wanted. */
  isReading: boolean;
  /** Told to whoever reads or writes next. */
  failure: Error | undefined;
  isConnecting: boolean;
  /** What waits for the connection. */
  readonly waiting: ((socket: RawTcp) => void)[];
  keepAliveMs: number;
  timer: NodeJS.Timeout | undefined;
  timeoutMs: number;
}

/** As `net.Socket` names it; clients of databases wait for `closed`, and end only what is `open`. */
function readyStateOf({ readable, writable }: Duplex, { isConnecting }: State): string {
  if (isConnecting) return "opening";
  if (readable) return writable ? "open" : "readOnly";
  return writable ? "writeOnly" : "closed";
}

/** With a target it begins to connect; without, `connect` does. */
export function createTunnelSocket(client: Pick<Client, "dial">, target?: Target): TunnelSocket {
  const state: State = {
    ...{ client, given: new AbortController(), socket: undefined, isReading: false, failure: undefined },
    ...{ isConnecting: false, waiting: [], keepAliveMs: 0, timer: undefined, timeoutMs: 0 },
  };
  const duplex = new Duplex({
    // As `net.createConnection`: agents rely on it to forget what a server has closed.
    allowHalfOpen: false,
    read: () => whenOpen(state, (socket) => read(duplex, state, socket)),
    write: (chunk: Uint8Array, _encoding, done) => whenOpen(state, (socket) => socket.write(chunk, done)),
    final: (done) => whenOpen(state, (socket) => socket.end(done)),
    destroy(error, done) {
      clearTimeout(state.timer);
      state.given.abort(error ?? undefined);
      // Where both sides have ended, what is under way still arrives.
      if (!duplex.writableFinished || !duplex.readableEnded) state.socket?.abort(error ?? undefined);
      done(error);
    },
  });
  const socket = Object.defineProperties(duplex, propertiesOf(duplex, state)) as TunnelSocket;
  if (target !== undefined) open(socket, state, target);
  return socket;
}

/** A connection that is there already, such as one that a gateway's program has accepted. */
export function toDuplex(socket: TcpSocket): TunnelSocket {
  return createTunnelSocket({ dial: async () => socket }, NO_TARGET);
}

const NO_TARGET: Target = { host: "", port: 0 };

function whenOpen(state: State, act: (socket: RawTcp) => void): void {
  if (state.socket === undefined) state.waiting.push(act);
  else act(state.socket);
}

function read(duplex: Duplex, state: State, socket: RawTcp): void {
  if (state.failure !== undefined) return void duplex.destroy(state.failure);
  state.isReading = true;
  socket.want();
}

/** What the connection has for the Duplex, straight out of its blocks. */
function listen(duplex: Duplex, state: State, socket: RawTcp): void {
  socket.open({
    take(unread) {
      state.isReading = false;
      touch(duplex, state);
      const piece = unread.shift();
      duplex.push(Buffer.from(piece.buffer, piece.byteOffset, piece.length));
      return piece.length;
    },
    ended: () => void duplex.push(null),
    failed(error) {
      state.failure = error;
      if (state.isReading) duplex.destroy(error);
    },
  });
}

function open(duplex: Duplex, state: State, { signal, ...target }: Target): void {
  state.isConnecting = true;
  const either = signal === undefined ? state.given.signal : AbortSignal.any([signal, state.given.signal]);
  state.client.dial({ ...target, signal: either }).then(
    (socket) => {
      state.isConnecting = false;
      if (duplex.destroyed) return socket.abort();
      const raw = rawOf(socket);
      state.socket = raw;
      listen(duplex, state, raw);
      if (state.keepAliveMs > 0) raw.setKeepAlive(state.keepAliveMs);
      duplex.emit("connect");
      duplex.emit("ready");
      for (const act of state.waiting.splice(0)) act(raw);
    },
    (error: unknown) => {
      state.isConnecting = false;
      duplex.destroy(error as Error);
    },
  );
}

/** Any traffic begins the time anew. */
function touch(duplex: Duplex, state: State): void {
  clearTimeout(state.timer);
  if (state.timeoutMs === 0 || duplex.destroyed) return;
  state.timer = setTimeout(() => duplex.emit("timeout"), state.timeoutMs).unref();
}

function propertiesOf(duplex: Duplex, state: State): PropertyDescriptorMap {
  const getter = (get: () => unknown): PropertyDescriptor => ({ get, enumerable: true, configurable: true });
  const method = (value: (...args: never[]) => unknown): PropertyDescriptor => ({
    value: (...args: never[]) => {
      value(...args);
      return duplex;
    },
    writable: true,
    configurable: true,
  });
  return {
    connecting: getter(() => state.isConnecting),
    pending: getter(() => state.socket === undefined),
    readyState: getter(() => readyStateOf(duplex, state)),
    localAddress: getter(() => state.socket?.local.address),
    localPort: getter(() => state.socket?.local.port),
    remoteAddress: getter(() => state.socket?.remote.address),
    remotePort: getter(() => state.socket?.remote.port),
    remoteFamily: getter(() => state.socket && (state.socket.remote.address.includes(":") ? "IPv6" : "IPv4")),
    connect: method((...args: never[]) => {
      const [first, second, third] = args as unknown as [number | DialOptions, unknown, unknown];
      const target = typeof first === "number" ? { port: first, host: String(second) } : first;
      const connected = typeof second === "function" ? second : third;
      if (typeof connected === "function") duplex.once("connect", connected as () => void);
      open(duplex, state, target);
    }),
    setTimeout: method((ms: number, late?: () => void) => {
      if (late !== undefined) duplex.once("timeout", late);
      state.timeoutMs = ms;
      touch(duplex, state);
    }),
    setNoDelay: method(() => {}),
    setKeepAlive: method((isOn = false, delayMs: number = DEFAULT_KEEP_ALIVE_MS) => {
      const ms = isOn ? delayMs || DEFAULT_KEEP_ALIVE_MS : 0;
      // Agents say so behind every request.
      if (ms !== state.keepAliveMs) state.socket?.setKeepAlive(ms);
      state.keepAliveMs = ms;
    }),
    ref: method(() => {}),
    unref: method(() => {}),
  };
}
