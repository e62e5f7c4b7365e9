/**
 * Postern in the shapes of Deno's sockets (PG-121): `connect` gives a `Deno.Conn`, `listenDatagram` a
 * `Deno.DatagramConn`.
 */
import type { Addr, TcpSocket } from "../../program/userspace/index.ts";
import type { Client, DialOptions } from "../face.ts";

export interface NetAddr {
  readonly transport: "tcp" | "udp";
  readonly hostname: string;
  readonly port: number;
}

export interface ConnectOptions extends Pick<DialOptions, "timeoutMs" | "signal"> {
  readonly hostname: string;
  readonly port: number;
}

/** A `Deno.Conn`. */
export interface Conn extends Disposable {
  readonly localAddr: NetAddr;
  readonly remoteAddr: NetAddr;
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  /** `null`: the other end has no more to say. Not beside `readable`. */
  read(into: Uint8Array): Promise<number | null>;
  /** Not beside `writable`. */
  write(bytes: Uint8Array): Promise<number>;
  closeWrite(): Promise<void>;
  close(): void;
  ref(): void;
  unref(): void;
}

/** A `Deno.DatagramConn`. */
export interface DatagramConn extends AsyncIterable<[Uint8Array, NetAddr]> {
  readonly addr: NetAddr;
  receive(into?: Uint8Array): Promise<[Uint8Array, NetAddr]>;
  send(bytes: Uint8Array, to: NetAddr): Promise<number>;
  close(): void;
}

export async function connect(
  client: Pick<Client, "dial">,
  { hostname, ...rest }: ConnectOptions,
): Promise<Conn> {
  return toConn(await client.dial({ host: hostname, ...rest }));
}

function toConn(socket: TcpSocket): Conn {
  const { readable, writable } = socket;
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  let writer: WritableStreamDefaultWriter<Uint8Array> | undefined;
  let left: Uint8Array = new Uint8Array(0);
  const close = (): void => socket.abort();
  return {
    ...{ localAddr: toNetAddr("tcp", socket.local), remoteAddr: toNetAddr("tcp", socket.remote) },
    ...{ readable, writable, close, ref() {}, unref() {}, [Symbol.dispose]: close },
    async read(into) {
      reader ??= readable.getReader();
      while (left.length === 0) {
        const { done, value } = await reader.read();
        if (done) return null;
        left = value;
      }
      const part = left.subarray(0, into.length);
      into.set(part);
      left = left.subarray(part.length);
      return part.length;
    },
    async write(bytes) {
      writer ??= writable.getWriter();
      await writer.write(bytes);
      return bytes.length;
    },
    async closeWrite() {
      writer ??= writable.getWriter();
      await writer.close();
    },
  };
}

export async function listenDatagram(
  client: Pick<Client, "udp">,
  options: { readonly family?: 4 | 6 } = {},
): Promise<DatagramConn> {
  const socket = await client.udp(options);
  const receive = async (into?: Uint8Array): Promise<[Uint8Array, NetAddr]> => {
    const { data, from } = await socket.receive();
    const addr = toNetAddr("udp", from);
    if (into === undefined) return [data, addr];
    const part = data.subarray(0, into.length);
    into.set(part);
    return [into.subarray(0, part.length), addr];
  };
  return {
    addr: toNetAddr("udp", socket.local),
    receive,
    async send(bytes, { hostname, port }) {
      socket.send(bytes, { host: hostname, port });
      return bytes.length;
    },
    close: () => socket.close(),
    async *[Symbol.asyncIterator]() {
      for (;;) yield await receive();
    },
  };
}

function toNetAddr(transport: NetAddr["transport"], { address, port }: Addr): NetAddr {
  return { transport, hostname: address, port };
}
