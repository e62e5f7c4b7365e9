import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { openKernel } from "../../../bindings/linux/index.ts";
import { ip } from "../../../src/base/index.ts";
import { openMarkedSocket, startTls } from "../../../src/host/index.ts";
import { hasOpenssl, makeCertificate } from "../../lib/certificate.ts";

const kernel = openKernel();
const target = (port: number) => ({ to: { address: ip("127.0.0.1"), port }, timeoutMs: 2000 });

/** The first message that comes back for one that is sent. */
function echo(socket: WebSocket): Promise<string> {
  return new Promise((resolve, reject) => {
    socket.once("open", () => socket.send("hello"));
    socket.once("message", (message) => resolve(String(message)));
    socket.once("error", reject);
  });
}

function serveEcho(server: WebSocketServer): void {
  server.on("connection", (peer) => peer.on("message", (message) => peer.send(`echo ${message}`)));
}

describe("a socket of our own system calls", () => {
  it("PG-64: carries a WebSocket", async () => {
    const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
    await new Promise((resolve) => server.once("listening", resolve));
    serveEcho(server);
    const { port } = server.address() as AddressInfo;
    const socket = await openMarkedSocket(kernel, target(port));
    const client = new WebSocket(`ws://127.0.0.1:${port}/`, { createConnection: () => socket });
    expect(await echo(client)).toBe("echo hello");
    client.terminate();
    server.close();
  });

  it("leaves no descriptor behind when every address refuses", async () => {
    const listener = createTcpServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => listener.once("listening", resolve));
    const { port } = listener.address() as AddressInfo;
    await new Promise((resolve) => listener.close(resolve));
    const lowestFree = () => {
      const fd = kernel.sys.eventfd(0, 0);
      kernel.sys.close(fd);
      return fd;
    };
    const before = lowestFree();
    const refused = openMarkedSocket(kernel, target(port));
    await expect(refused).rejects.toMatchObject({
      cause: { message: expect.stringContaining("ECONNREFUSED") },
    });
    expect(lowestFree()).toBe(before);
  });
});

describe.skipIf(!hasOpenssl)("TLS over it (needs openssl)", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "postern-tls-"));
    makeCertificate(folder, "portal.example", "DNS:portal.example,IP:127.0.0.1");
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  async function connect(servername: string, isTrusted: boolean): Promise<string> {
    const ca = readFileSync(join(folder, "crt"), "utf8");
    const https = createHttpsServer({ cert: ca, key: readFileSync(join(folder, "key")) });
    const server = new WebSocketServer({ server: https });
    serveEcho(server);
    https.listen(0, "127.0.0.1");
    await new Promise((resolve) => https.once("listening", resolve));
    const { port } = https.address() as AddressInfo;
    const socket = await openMarkedSocket(kernel, target(port));
    const trust = { servername, ...(isTrusted ? { ca: [ca] } : {}) };
    const client = new WebSocket(`wss://${servername}:${port}/`, {
      createConnection: () => startTls(socket, trust),
    });
    try {
      return await echo(client);
    } finally {
      client.terminate();
      server.close();
      https.close();
    }
  }

  it.each(["portal.example", "127.0.0.1"])(
    "PG-64: %s is accepted when its certificate is trusted",
    async (name) => {
      expect(await connect(name, true)).toBe("echo hello");
    },
  );

  it("PG-64: another name's certificate is refused", async () => {
    await expect(connect("other.example", true)).rejects.toMatchObject({
      code: "ERR_TLS_CERT_ALTNAME_INVALID",
    });
  });

  it("PG-64: a certificate of unknown origin is refused", async () => {
    await expect(connect("portal.example", false)).rejects.toMatchObject({
      code: "DEPTH_ZERO_SELF_SIGNED_CERT",
    });
  });
});
