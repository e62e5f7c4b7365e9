/** The listener with a UDP echo in the relay's place: what goes in by TCP comes out by UDP, and back. */
import { createSocket, type RemoteInfo } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, connect as dial, type Socket } from "node:net";
import { connect as dialTls } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import { instant, ip, SILENT } from "../../../../src/base/index.ts";
import { openStreamListener, type StreamListener } from "../../../../src/program/stream/index.ts";
import { encodeChannelData, toStream } from "../../../../src/turn/index.ts";

const VECTORS = new URL("../../../vectors/portal/", import.meta.url).pathname;
const certificate = {
  cert: readFileSync(`${VECTORS}localhost.crt`, "utf8"),
  key: readFileSync(`${VECTORS}localhost.key`, "utf8"),
};
const ends: (() => void)[] = [];

afterEach(() => {
  for (const end of ends.splice(0).reverse()) end();
});

interface Setting {
  readonly listener: StreamListener;
  readonly port: number;
  /** Who sent to the relay. */
  readonly clients: RemoteInfo[];
  setTime(ms: number): void;
}

async function listen(
  options: { readonly maxConnections?: number; readonly isTls?: boolean } = {},
): Promise<Setting> {
  const relay = createSocket("udp4").bind(0, "127.0.0.1");
  await once(relay, "listening");
  ends.push(() => relay.close());
  const clients: RemoteInfo[] = [];
  relay.on("message", (datagram, from) => {
    clients.push(from);
    relay.send(datagram, from.port, from.address);
  });
  let time = 0;
  const listener = await openStreamListener({
    listen: { address: ip("127.0.0.1"), port: 0 },
    ...(options.isTls === true ? { certificate } : {}),
    relay: { address: ip("127.0.0.1"), port: (relay.address() as AddressInfo).port },
    maxConnections: options.maxConnections ?? 100,
    now: () => instant(time),
    log: SILENT,
  });
  ends.push(() => listener.close());
  return { listener, port: listener.address.port, clients, setTime: (ms) => (time = ms) };
}

async function connect(port: number): Promise<Socket> {
  const socket = dial(port, "127.0.0.1");
  ends.push(() => socket.destroy());
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

const message = (text: string): Uint8Array => {
  const data = Buffer.from(text);
  const bytes = new Uint8Array(4 + data.length);
  encodeChannelData(bytes, { channel: 0x4000, data });
  return bytes;
};
const heard = async (socket: Socket): Promise<string> => {
  const [bytes] = (await once(socket, "data")) as [Buffer];
  return bytes.toString("latin1");
};

describe("streams of the relay", () => {
  it("RL-201, RL-206: a message goes to the relay by UDP, its answer comes back padded", async () => {
    const { port, clients } = await listen();
    const socket = await connect(port);
    socket.write(toStream(message("hello")));
    expect(await heard(socket)).toBe("\x40\x00\x00\x05hello\x00\x00\x00");
    expect(clients[0]?.address).toMatch(/^127\.64\./);
  });

  it("RL-206: each connection is a client with an address of its own", async () => {
    const { port, clients } = await listen();
    for (const socket of [await connect(port), await connect(port)]) {
      socket.write(toStream(message("hello")));
      await heard(socket);
    }
    expect(clients[0]?.address).not.toBe(clients[1]?.address);
  });

  it("RL-206: a bridge takes datagrams from the relay only", async () => {
    const { port, clients } = await listen();
    const socket = await connect(port);
    socket.write(toStream(message("hello")));
    await heard(socket);
    const stranger = createSocket("udp4");
    ends.push(() => stranger.close());
    const { address = "", port: bridge = 0 } = clients[0] ?? {};
    await new Promise((resolve) => stranger.send(message("evil"), bridge, address, resolve));
    socket.write(toStream(message("again")));
    expect(await heard(socket)).toContain("again");
  });

  it("RL-200: TLS, also for a client that offers stun.turn", async () => {
    const { port } = await listen({ isTls: true });
    for (const ALPNProtocols of [undefined, ["stun.turn"]]) {
      const ca = readFileSync(`${VECTORS}localhost.crt`, "utf8");
      const socket = dialTls({
        port,
        host: "127.0.0.1",
        servername: "localhost",
        ca,
        ...(ALPNProtocols && { ALPNProtocols }),
      });
      ends.push(() => socket.destroy());
      await once(socket, "secureConnect");
      socket.write(toStream(message("hello")));
      expect(await heard(socket)).toContain("hello");
    }
  });

  it("RL-205: a browser is told that nothing is here", async () => {
    const { port, listener } = await listen();
    const response = await fetch(`http://127.0.0.1:${port}/`);
    expect([response.status, await response.text()]).toEqual([404, ""]);
    expect(listener.counters().visitors).toBe(1);
  });

  it("RL-201: what is no TURN ends the connection", async () => {
    const { port, listener } = await listen();
    const socket = await connect(port);
    // How TLS begins.
    socket.write(Buffer.from("1603010200010001fc0303", "hex"));
    await once(socket, "close");
    expect(listener.counters().framing).toBe(1);
    expect(listener.connections()).toBe(0);
  });

  it("RL-203: 32 connections of one address, and the limit of all", async () => {
    const { port, listener } = await listen();
    const sockets: Socket[] = [];
    for (let i = 0; i < 33; i++) sockets.push(await connect(port));
    await once(sockets[32] as Socket, "close");
    expect(listener.counters()).toMatchObject({ accepted: 32, refused: 1 });
    sockets[0]?.destroy();
    await expect.poll(() => listener.connections()).toBe(31);
    const small = await listen({ maxConnections: 1 });
    await connect(small.port);
    await once(await connect(small.port), "close");
    expect(small.listener.counters()).toMatchObject({ accepted: 1, refused: 1 });
  });

  it("RL-203: no request within 10 s, or 60 s of silence, end it", async () => {
    const { port, setTime, listener } = await listen();
    const silent = await connect(port);
    const talking = await connect(port);
    talking.write(toStream(message("hello")));
    await heard(talking);
    setTime(10_001);
    await once(silent, "close");
    expect(listener.connections()).toBe(1);
    setTime(60_001);
    await once(talking, "close");
    expect(listener.connections()).toBe(0);
  });
});
