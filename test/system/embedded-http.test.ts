/** HTTP, TLS and WebSocket through the library, to servers on loopback behind a gateway in this process (PG-121). */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, get, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer, get as getTls } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { connect, listenDatagram } from "../../src/library/deno/index.ts";
import {
  createConnection,
  createConnector,
  createLookup,
  HttpAgent,
  HttpsAgent,
} from "../../src/library/node/index.ts";
import { makeCertificate } from "../lib/certificate.ts";
import { type EmbeddedOffice, openEmbeddedOffice, SERVER, WIKI } from "../lib/embedded.ts";
import { describeWith } from "../lib/requirements.ts";

async function textOf(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

describeWith(["build", "openssl"], "HTTP through the library", () => {
  const folder = mkdtempSync(join(tmpdir(), "postern-embedded-"));
  let cert = "";
  const servers: Server[] = [];
  let office: EmbeddedOffice;
  let connections = 0;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? "/", "http://x");
    switch (pathname) {
      case "/moved":
        return void response.writeHead(302, { location: "/here" }).end("there");
      case "/away":
        return void response.writeHead(307, { location: "http://192.0.2.1/" }).end();
      case "/round":
        return void response.writeHead(301, { location: "/round" }).end();
      case "/empty":
        return void response.writeHead(204).end();
      case "/stuck":
        return;
      case "/many":
        response.setHeader("set-cookie", ["a=1", "b=2"]);
        return void response.end(Buffer.alloc(2_000_000, "x"));
      default: {
        const { method, headers } = request;
        const body = await textOf(request);
        response.setHeader("content-type", "application/json");
        response.end(
          JSON.stringify({ method, pathname, body, host: headers.host, length: headers["content-length"] }),
        );
      }
    }
  }

  async function listen(server: Server): Promise<number> {
    servers.push(server);
    server.on("connection", () => connections++);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return (server.address() as AddressInfo).port;
  }

  beforeAll(async () => {
    makeCertificate(folder, WIKI, `DNS:${WIKI}`);
    cert = readFileSync(join(folder, "crt"), "utf8");
    const key = readFileSync(join(folder, "key"), "utf8");
    const plain = createServer(answer);
    const sockets = new WebSocketServer({ server: plain });
    sockets.on("connection", (socket) => socket.on("message", (data) => socket.send(`heard ${data}`)));
    const ports = { 80: await listen(plain), 443: await listen(createTlsServer({ cert, key }, answer)) };
    office = await openEmbeddedOffice({
      resolver: async (_, family) => (family === 4 ? [SERVER] : []),
      async onFlow(flow) {
        if (flow.protocol !== "tcp") return;
        const port = ports[flow.destination.port as 80 | 443];
        if (port === undefined) return flow.refuse("refused");
        await flow.forward({ host: "127.0.0.1", port });
      },
    });
  });
  afterAll(async () => {
    await office?.close();
    for (const server of servers) server.closeAllConnections();
    for (const server of servers) server.close();
    rmSync(folder, { recursive: true });
  });

  it("PG-121: fetches by name, again over the same connection", async () => {
    const before = connections;
    const response = await office.client.fetch(`http://${WIKI}/page`);
    expect([response.status, response.ok, response.url, response.redirected]).toEqual([
      ...[200, true, `http://${WIKI}/page`, false],
    ]);
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(await response.json()).toMatchObject({ method: "GET", pathname: "/page", host: WIKI });
    // A connection is free a moment after its answer has been read.
    for (let i = 0; i < 10; i++) await (await office.client.fetch(`http://${WIKI}/again`)).text();
    expect(connections - before).toBeLessThan(5);
  });

  it("PG-121: a socket closes when the other side has ended, as agents expect", async () => {
    const socket = createConnection(office.client, { host: SERVER, port: 80 });
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk;
    });
    socket.write(`GET /bye HTTP/1.0\r\nHost: ${WIKI}\r\n\r\n`);
    await new Promise<void>((resolve) => socket.on("close", resolve));
    expect(text).toMatch(/"pathname":"\/bye"/);
  });

  it("PG-121: sends bodies, whole and as a stream", async () => {
    const whole = await office.client.fetch(`http://${SERVER}/post`, {
      method: "POST",
      body: "twelve bytes",
    });
    expect(await whole.json()).toMatchObject({ method: "POST", body: "twelve bytes", length: "12" });
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode("piece "));
        controller.enqueue(new TextEncoder().encode("by piece"));
        controller.close();
      },
    });
    const piecewise = await office.client.fetch(`http://${SERVER}/put`, { method: "PUT", body });
    expect(await piecewise.json()).toMatchObject({ method: "PUT", body: "piece by piece" });
  });

  it("PG-121: follows redirects as the web does, and nowhere but to resources", async () => {
    const { fetch } = office.client;
    const moved = await fetch(`http://${WIKI}/moved`, { method: "POST", body: "x" });
    expect([moved.url, moved.redirected]).toEqual([`http://${WIKI}/here`, true]);
    expect(await moved.json()).toMatchObject({ method: "GET", body: "" });
    expect((await fetch(`http://${WIKI}/moved`, { redirect: "manual" })).status).toBe(302);
    await expect(fetch(`http://${WIKI}/moved`, { redirect: "error" })).rejects.toThrow(/redirects to/);
    await expect(fetch(`http://${WIKI}/round`)).rejects.toThrow(/more than 20 times/);
    await expect(fetch(`http://${WIKI}/away`)).rejects.toMatchObject({ code: "not_a_resource" });
  });

  it("PG-121: hands on large bodies, several cookies, and none where there is none", async () => {
    const many = await office.client.fetch(`http://${WIKI}/many`);
    expect(many.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
    expect((await many.arrayBuffer()).byteLength).toBe(2_000_000);
    const empty = await office.client.fetch(`http://${WIKI}/empty`);
    expect([empty.status, empty.body]).toEqual([204, null]);
    expect(await (await office.client.fetch(`http://${WIKI}/x`, { method: "HEAD" })).text()).toBe("");
  });

  it("PG-121: ends with its signal, and with the reason of dial", async () => {
    const { fetch } = office.client;
    await expect(fetch(`http://${WIKI}/stuck`, { signal: AbortSignal.timeout(100) })).rejects.toThrow(
      /timeout/i,
    );
    await expect(fetch("http://192.0.2.1/")).rejects.toMatchObject({ code: "not_a_resource" });
    await expect(fetch(`http://${WIKI}:81/`)).rejects.toMatchObject({ code: "refused" });
    await expect(fetch("ftp://192.0.2.1/")).rejects.toThrow(/http and https/);
  });

  it("PG-121: speaks TLS by the runtime, and trusts whom it is told", async () => {
    const { fetch } = office.client;
    const trusted = await fetch(`https://${WIKI}/secret`, { tls: { ca: cert } });
    expect(await trusted.json()).toMatchObject({ pathname: "/secret" });
    await expect(fetch(`https://${WIKI}/secret`)).rejects.toThrow(/certificate/);
  });

  it("PG-121: agents serve http and https of Node", async () => {
    const { client } = office;
    const plain = new Promise<IncomingMessage>((resolve, reject) => {
      get(`http://${WIKI}/agent`, { agent: new HttpAgent(client) }, resolve).on("error", reject);
    });
    expect(JSON.parse(await textOf(await plain))).toMatchObject({ pathname: "/agent" });
    const secure = new Promise<IncomingMessage>((resolve, reject) => {
      getTls(`https://${WIKI}/tls`, { agent: new HttpsAgent(client), ca: cert }, resolve).on("error", reject);
    });
    expect(JSON.parse(await textOf(await secure))).toMatchObject({ pathname: "/tls" });
  });

  it.each(["http:", "https:"])("PG-121: a connector for undici connects %s", async (protocol) => {
    const connect = createConnector(office.client, { ca: cert });
    const socket = await new Promise<Socket>((resolve, reject) => {
      connect({ hostname: WIKI, protocol, port: "" }, (error, found) => {
        if (error === null) resolve(found as Socket);
        else reject(error);
      });
    });
    socket.write(`GET /raw HTTP/1.0\r\nHost: ${WIKI}\r\n\r\n`);
    expect(await textOf(socket)).toMatch(/^HTTP\/1.1 200 OK[\s\S]*"pathname":"\/raw"/);
  });

  it("PG-121: a WebSocket of `ws` runs over createConnection", async () => {
    const socket = new WebSocket(`ws://${WIKI}/`, {
      createConnection: () => createConnection(office.client, { host: WIKI, port: 80 }) as unknown as Socket,
    });
    await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
    const heard = new Promise((resolve) => socket.on("message", (data) => resolve(String(data))));
    socket.send("hello");
    expect(await heard).toBe("heard hello");
    socket.close();
  });

  it("PG-121: a socket connects later, tells its ends, its time and its failure", async () => {
    const socket = createConnection(office.client);
    expect(socket.pending).toBe(true);
    await new Promise<void>((resolve) => socket.connect(80, SERVER, resolve));
    expect(socket).toMatchObject({
      remoteAddress: SERVER,
      remotePort: 80,
      remoteFamily: "IPv4",
      connecting: false,
      readyState: "open",
    });
    await new Promise<void>((resolve) => socket.setTimeout(20, resolve));
    socket.destroy();
    expect(socket.readyState).toBe("closed");
    const refused = createConnection(office.client, { host: SERVER, port: 81 });
    const error = await new Promise((resolve) => refused.on("error", resolve));
    expect(error).toMatchObject({ code: "refused" });
  });

  it("PG-121: a lookup has the form of dns.lookup", async () => {
    const lookup = createLookup(office.client);
    const found = (options: { family?: 4; all?: boolean }): Promise<unknown[]> =>
      new Promise((resolve, reject) => {
        lookup(WIKI, options, (error, ...result) => (error ? reject(error) : resolve(result)));
      });
    expect(await found({ family: 4 })).toEqual([expect.stringMatching(/^100\./), 4]);
    const [all] = await found({ all: true });
    expect(all).toContainEqual({ address: expect.stringMatching(/^fd00:/), family: 6 });
  });

  it("PG-121: connections and datagrams have the shapes of Deno", async () => {
    const conn = await connect(office.client, { hostname: WIKI, port: 80 });
    expect(conn.remoteAddr).toMatchObject({ transport: "tcp", port: 80 });
    await conn.write(new TextEncoder().encode(`GET /deno HTTP/1.0\r\nHost: ${WIKI}\r\n\r\n`));
    const [chunk, pieces] = [new Uint8Array(7), [] as string[]];
    for (let count = await conn.read(chunk); count !== null; count = await conn.read(chunk)) {
      pieces.push(new TextDecoder().decode(chunk.subarray(0, count)));
    }
    expect(pieces.join("")).toMatch(/^HTTP\/1.1 200 OK[\s\S]*"pathname":"\/deno"/);
    conn.close();
    const datagrams = await listenDatagram(office.client);
    expect(await datagrams.send(Uint8Array.of(1), { transport: "udp", hostname: SERVER, port: 9 })).toBe(1);
    datagrams.close();
    await expect(datagrams.receive()).rejects.toMatchObject({ code: "closed" });
  });
});
