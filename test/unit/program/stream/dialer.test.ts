/** Streams of a client to a relay's listener, with a UDP socket each in place of the plane and of the relay. */
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer, connect as dial, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { formatIp, instant, ip, SILENT } from "../../../../src/base/index.ts";
import type { StreamNews, StreamPlace } from "../../../../src/connections/index.ts";
import { createRelayStreams, type RelayStreams } from "../../../../src/program/endpoint/relay-streams.ts";
import { type OpenTcp, plainTcp } from "../../../../src/program/portal-transport.ts";
import { openStreamListener } from "../../../../src/program/stream/index.ts";
import { encodeChannelData } from "../../../../src/turn/index.ts";

const VECTORS = new URL("../../../vectors/portal/", import.meta.url).pathname;
const CA = `${VECTORS}localhost.crt`;
const LOOPBACK = ip("127.0.0.1");
const ends: (() => void)[] = [];

afterEach(() => {
  for (const end of ends.splice(0).reverse()) end();
});

async function openUdp(): Promise<UdpSocket> {
  const socket = createSocket("udp4").bind(0, "127.0.0.1");
  await once(socket, "listening");
  ends.push(() => socket.close());
  return socket;
}

/** A relay that answers every datagram with itself. */
async function startRelay(isTls: boolean): Promise<StreamPlace> {
  const relay = await openUdp();
  relay.on("message", (datagram, from) => relay.send(datagram, from.port, from.address));
  const certificate = { cert: readFileSync(CA), key: readFileSync(`${VECTORS}localhost.key`) };
  const listener = await openStreamListener({
    listen: { address: ip("127.0.0.1"), port: 0 },
    ...(isTls && { certificate }),
    relay: { address: LOOPBACK, port: relay.address().port },
    maxConnections: 10,
    now: () => instant(0),
    log: SILENT,
  });
  ends.push(() => listener.close());
  const addresses = [{ address: LOOPBACK, port: listener.address.port }];
  return isTls ? { transport: "tls", addresses, name: "localhost" } : { transport: "tcp", addresses };
}

interface Dialer {
  readonly streams: RelayStreams;
  readonly plane: UdpSocket;
  /** The next that is told. */
  next(): Promise<StreamNews>;
}

async function createDialer(env: Record<string, string> = {}, openTcp: OpenTcp = plainTcp): Promise<Dialer> {
  const plane = await openUdp();
  const told: StreamNews[] = [];
  const streams = createRelayStreams({
    surroundings: { udpPort: () => plane.address().port, openTcp, env, caFile: CA },
    bridgePort: 0,
    now: () => instant(0),
    tell: (news) => told.push(news),
    log: SILENT,
  });
  ends.push(() => streams.close());
  return {
    streams,
    plane,
    next: () =>
      expect
        .poll(() => told[0])
        .toBeDefined()
        .then(() => told.shift() as StreamNews),
  };
}

/** Sends through the stream and back. */
async function echo({ plane }: Dialer, news: StreamNews, text: string): Promise<string> {
  if (news.kind !== "opened") throw new Error(news.reason);
  const data = Buffer.from(text);
  const bytes = new Uint8Array(4 + data.length);
  encodeChannelData(bytes, { channel: 0x4000, data });
  plane.send(bytes, news.socket.port, formatIp(news.socket.address));
  const [answer] = (await once(plane, "message")) as [Buffer];
  return answer.subarray(4).toString();
}

/** Forwards whatever it is asked for, and notes that. */
async function startProxy(): Promise<{ readonly url: string; readonly asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((socket: Socket) => {
    ends.push(() => socket.destroy());
    socket.on("error", () => {});
    socket.once("data", (request) => {
      const [, host = "", port = ""] = /^CONNECT (\S+):(\d+) /.exec(request.toString()) ?? [];
      asked.push(host);
      const onward = dial(Number(port), host, () => socket.write("HTTP/1.1 200 OK\r\n\r\n"));
      onward.on("error", () => socket.destroy());
      socket.pipe(onward).pipe(socket);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  ends.push(() => server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

describe("streams to relays", () => {
  it.each([true, false])("RL-210: datagrams go through and come back, TLS: %s", async (isTls) => {
    const dialer = await createDialer();
    dialer.streams.take({ kind: "open", relay: "r", place: await startRelay(isTls) });
    const news = await dialer.next();
    expect(news).toMatchObject({ kind: "opened", relay: "r" });
    expect(await echo(dialer, news, "hello")).toBe("hello");
    expect(dialer.streams.figures()).toEqual({ waiting: new Map([["r", 0]]), late: 0 });
    dialer.streams.take({ kind: "close", relay: "r" });
    expect(dialer.streams.figures().waiting.size).toBe(0);
  });

  it("RL-207: a certificate for another name is refused", async () => {
    const dialer = await createDialer();
    const place = { ...(await startRelay(true)), name: "relay.example" };
    dialer.streams.take({ kind: "open", relay: "r", place });
    expect(await dialer.next()).toEqual({
      kind: "ended",
      relay: "r",
      reason: "ERR_TLS_CERT_ALTNAME_INVALID",
    });
  });

  it("RL-209: a refused connection is told with its reason, once", async () => {
    const dialer = await createDialer();
    const addresses = [{ address: LOOPBACK, port: 1 }];
    dialer.streams.take({ kind: "open", relay: "r", place: { transport: "tcp", addresses } });
    expect(await dialer.next()).toEqual({ kind: "ended", relay: "r", reason: "ECONNREFUSED" });
  });

  it("RL-209: nothing stays open of a relay that takes the connection and goes on with no TLS", async () => {
    const silent = createServer();
    silent.listen(0, "127.0.0.1");
    ends.push(() => silent.close());
    await once(silent, "listening");
    const dialer = await createDialer();
    const addresses = [{ address: LOOPBACK, port: (silent.address() as AddressInfo).port }];
    const taken = once(silent, "connection");
    dialer.streams.take({
      kind: "open",
      relay: "r",
      place: { transport: "tls", addresses, name: "localhost" },
    });
    const [socket] = (await taken) as [Socket];
    ends.push(() => socket.destroy());
    socket.on("error", () => {});
    // The first of its handshake: it waits for an answer now.
    await once(socket, "data");
    dialer.streams.take({ kind: "close", relay: "r" });
    await expect.poll(() => socket.readableEnded || socket.destroyed, { timeout: 5_000 }).toBe(true);
  });

  it("RL-209: the reason is that of an address that the host has a way to", async () => {
    const refused: OpenTcp = async ({ address }) => {
      throw Object.assign(new Error(), { code: address.length === 4 ? "ETIMEDOUT" : "ENETUNREACH" });
    };
    const dialer = await createDialer({}, refused);
    const addresses = [LOOPBACK, ip("::1")].map((address) => ({ address, port: 1 }));
    dialer.streams.take({ kind: "open", relay: "r", place: { transport: "tcp", addresses } });
    expect(await dialer.next()).toMatchObject({ reason: "ETIMEDOUT" });
  });

  it("RL-211: the proxy of the environment is asked for the address, unless NO_PROXY has the name", async () => {
    const place = await startRelay(true);
    const proxy = await startProxy();
    const through = await createDialer({ HTTPS_PROXY: proxy.url });
    through.streams.take({ kind: "open", relay: "r", place });
    expect(await echo(through, await through.next(), "by proxy")).toBe("by proxy");
    expect(proxy.asked).toEqual(["127.0.0.1"]);
    const straight = await createDialer({ HTTPS_PROXY: proxy.url, NO_PROXY: "localhost" });
    straight.streams.take({ kind: "open", relay: "r", place });
    expect(await echo(straight, await straight.next(), "straight")).toBe("straight");
    expect(proxy.asked).toHaveLength(1);
  });
});
