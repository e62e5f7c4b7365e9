/** A proxy of a few lines on loopback, so that each of its answers can be chosen (RFC 9110 §9.3.6). */
import { once } from "node:events";
import { type AddressInfo, createServer, connect as dial, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { PosternError, secret } from "../../../../src/base/index.ts";
import { connectThrough, type HttpProxy } from "../../../../src/program/proxy/index.ts";

const TARGET = { host: "portal.example.com", port: 443 };
const servers: Server[] = [];
const sockets: Socket[] = [];

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

/** Answers the first bytes of every connection by `answer`, and keeps them. */
async function startProxy(answer: (socket: Socket) => void) {
  const heard: string[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.once("data", (bytes) => {
      heard.push(bytes.toString());
      answer(socket);
    });
  });
  servers.push(server.listen(0, "127.0.0.1"));
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    proxy: { scheme: "http", host: "127.0.0.1", port, credentials: undefined } satisfies HttpProxy,
    heard,
  };
}

async function through(proxy: HttpProxy, target = TARGET): Promise<Socket> {
  const tcp = dial(proxy.port, proxy.host);
  sockets.push(tcp);
  await once(tcp, "connect");
  return connectThrough(tcp, proxy, target);
}

async function refusalOf(answer: (socket: Socket) => void): Promise<PosternError> {
  const { proxy } = await startProxy(answer);
  const error = await through(proxy).catch((reason: unknown) => reason);
  if (!(error instanceof PosternError)) throw new Error(`not refused: ${error}`);
  return error;
}

describe("RL-211: CONNECT", () => {
  it("asks for host and port, and hands over what the target says, from its first byte", async () => {
    const { proxy, heard } = await startProxy((socket) =>
      socket.write("HTTP/1.1 200 OK\r\nVia: x\r\n\r\nhello"),
    );
    const socket = await through(proxy);
    const [bytes] = (await once(socket, "data")) as [Buffer];
    expect(bytes.toString()).toBe("hello");
    expect(heard).toEqual([
      "CONNECT portal.example.com:443 HTTP/1.1\r\nHost: portal.example.com:443\r\n\r\n",
    ]);
  });

  it("an answer in pieces is one answer", async () => {
    const { proxy } = await startProxy((socket) => {
      socket.write("HTTP/1.0 200 Conn");
      setTimeout(() => socket.write("ected\r\n\r"), 20);
      setTimeout(() => socket.write("\nhello"), 40);
    });
    const socket = await through(proxy);
    const [bytes] = (await once(socket, "data")) as [Buffer];
    expect(bytes.toString()).toBe("hello");
  });

  it("writes an IPv6 address in brackets", async () => {
    const { proxy, heard } = await startProxy((socket) => socket.write("HTTP/1.1 200 OK\r\n\r\n"));
    await through(proxy, { host: "2001:db8::1", port: 8443 });
    expect(heard[0]).toMatch(/^CONNECT \[2001:db8::1\]:8443 HTTP/);
  });

  it("sends credentials as Basic", async () => {
    const { proxy, heard } = await startProxy((socket) => socket.write("HTTP/1.1 200 OK\r\n\r\n"));
    await through({ ...proxy, credentials: secret("anna:p@ss") });
    expect(heard[0]).toContain(
      `Proxy-Authorization: Basic ${Buffer.from("anna:p@ss").toString("base64")}\r\n`,
    );
  });

  it("a refusal names the proxy, the status and what to do", async () => {
    const error = await refusalOf((socket) => socket.write("HTTP/1.1 403 Forbidden\r\n\r\n"));
    expect(error).toMatchObject({ code: "proxy-refused", hint: expect.stringMatching(/NO_PROXY/) });
    expect(error.message).toMatch(/^the proxy 127\.0\.0\.1:\d+ answered 403 for portal\.example\.com:443$/);
    const denied = await refusalOf((socket) => socket.write("HTTP/1.1 407 No\r\n\r\n"));
    expect(denied.hint).toMatch(/credentials/);
  });

  it.each([
    ["closes", (socket: Socket) => socket.end(), /closed the connection/],
    ["speaks no HTTP", (socket: Socket) => socket.write("SSH-2.0-x\r\n\r\n"), /did not answer in HTTP/],
    [
      "talks without end",
      (socket: Socket) => socket.write(`HTTP/1.1 200 OK\r\n${"a: b\r\n".repeat(4000)}`),
      /more than 16384/,
    ],
  ])("one that %s is refused", async (_, answer, message) => {
    expect((await refusalOf(answer)).message).toMatch(message);
  });
});
