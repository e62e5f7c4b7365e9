import { createSocket } from "node:dgram";
import { connect, createServer, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { concatBytes, createSeededRandom, instant, ip, SILENT } from "../../../../src/base/index.ts";
import {
  createNameServer,
  encodeQuery,
  type NameServer,
  parseMessage,
  RCODE,
  TYPE,
} from "../../../../src/dns/index.ts";
import { createNameService, type DirectPath } from "../../../../src/program/dns/index.ts";
import { nameOf } from "../../dns/octets.ts";

const HERE = ip("127.0.0.1");
const TEXT = Uint8Array.of(0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 100, 0, 3, 2, 0x68, 0x69);

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

/** A port that nobody has, over UDP and TCP, as far as anybody can know. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** The service with its machine, on loopback; the host's server answers everything with a text. */
async function openService(addresses = [HERE]) {
  const server = createNameServer({
    random: createSeededRandom(1),
    permit: (_, name) => ({ cid: "c", isGranted: name.key.includes("corp") }),
  });
  const failures: unknown[] = [];
  const now = () => instant(Math.floor(performance.now()));
  function give(use: (server: NameServer, at: ReturnType<typeof now>) => void): void {
    use(server, now());
    for (let event = server.pollEvent(); event !== undefined; event = server.pollEvent())
      service.handleEvent(event);
  }
  const asked: string[] = [];
  const port = await freePort();
  const service = createNameService({
    give,
    port,
    readServers: () => [{ address: ip("192.0.2.53") }],
    fail: (error) => failures.push(error),
    log: SILENT,
    openPath(onResult): DirectPath {
      return {
        send({ token, message, transport }) {
          asked.push(transport);
          const answer = concatBytes(message, TEXT);
          answer.set([0x81, 0x80], 2);
          answer.set([0, 1], 6);
          setImmediate(() => onResult(token, { kind: "message", message: answer }));
        },
        done: () => {},
        close: () => {},
      };
    },
  });
  service.start();
  service.listen(addresses);
  closers.push(() => service.close());
  return { service, port, failures, asked };
}

const query = (name: string, id = 7) => encodeQuery({ id, name: nameOf(name), type: TYPE.TXT });

/** Asks until something answers: the sockets may not be open yet. */
async function askByUdp(port: number, message: Uint8Array): Promise<Uint8Array> {
  const socket = createSocket("udp4");
  closers.push(() => socket.close());
  const answered = new Promise<Uint8Array>((resolve) => socket.once("message", resolve));
  for (let i = 0; i < 100; i++) {
    socket.send(message, port, "127.0.0.1");
    const answer = await Promise.race([
      answered,
      new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), 50)),
    ]);
    if (answer !== undefined) return answer;
  }
  throw new Error("no answer");
}

/** What a connection brings until it ends, or so many octets are there. */
function collect(socket: Socket, octets: number): Promise<Uint8Array> {
  return new Promise((resolve) => {
    let all: Uint8Array = new Uint8Array(0);
    socket.on("data", (chunk) => {
      all = concatBytes(all, chunk);
      if (all.length >= octets) resolve(all);
    });
    socket.on("error", () => resolve(all));
    socket.on("close", () => resolve(all));
  });
}

const framed = (message: Uint8Array) =>
  concatBytes(Uint8Array.of(message.length >> 8, message.length), message);
const rcodeOf = (bytes: Uint8Array): number | string => {
  const read = parseMessage(bytes);
  return read.ok ? read.value.header.rcode : read.reason;
};

describe("where clients ask the gateway", () => {
  it("DN-84: by UDP, with the answer from where it was asked", async () => {
    const { port } = await openService();
    expect(rcodeOf(await askByUdp(port, query("wiki.corp")))).toBe(RCODE.noError);
    expect(rcodeOf(await askByUdp(port, query("example.com")))).toBe(RCODE.refused);
  });

  it("DN-84, DN-90: by TCP, several at a time, in pieces; the answer comes although nobody asks any more", async () => {
    const { port, asked } = await openService();
    await askByUdp(port, query("wiki.corp"));
    const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    closers.push(() => socket.destroy());
    const one = query("a.corp", 1);
    const length = 2 + one.length + TEXT.length;
    const both = collect(socket, 2 * length);
    const bytes = concatBytes(framed(one), framed(query("b.corp", 2)));
    socket.write(bytes.subarray(0, 5));
    setTimeout(() => socket.end(bytes.subarray(5)), 20);
    const said = await both;
    expect([said[3], said[length + 3]].sort()).toEqual([1, 2]);
    expect(asked).toContain("tcp");
  });

  it("DN-90: what is no query ends its connection", async () => {
    const { port } = await openService();
    await askByUdp(port, query("wiki.corp"));
    for (const bytes of [Uint8Array.of(0, 3, 1, 2, 3), framed(new Uint8Array(12).fill(0x80))]) {
      const socket = connect({ host: "127.0.0.1", port });
      closers.push(() => socket.destroy());
      socket.write(bytes);
      expect(await collect(socket, 1)).toHaveLength(0);
    }
  });

  it("DN-84: what cannot be is fatal after three attempts, an address of a family that is not there is not", async () => {
    const { failures, port } = await openService([HERE, ip("fd00:2021:1111::77")]);
    await askByUdp(port, query("wiki.corp"));
    expect(failures).toEqual([]);
    const blocker = createServer().listen({ host: "127.0.0.1", port: 0 });
    closers.push(() => void blocker.close());
    await new Promise((resolve) => blocker.once("listening", resolve));
    const address = blocker.address();
    const taken = typeof address === "object" && address !== null ? address.port : 0;
    const failed = new Promise<unknown>((resolve) => {
      const service = createNameService({
        give: () => {},
        port: taken,
        readServers: () => [],
        fail: resolve,
        log: SILENT,
        openPath: () => ({ send: () => {}, done: () => {}, close: () => {} }),
      });
      closers.push(() => service.close());
      service.listen([HERE]);
    });
    expect(await failed).toMatchObject({ code: "host", message: expect.stringContaining("EADDRINUSE") });
  });
});
