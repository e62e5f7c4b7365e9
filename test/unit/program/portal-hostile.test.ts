/** The portal over real sockets, with peers and strangers that mean harm. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { get, ServerResponse } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { afterEach, describe, expect, it, vi } from "vitest";
import { connectPeer, loginUrl, openSocket, startPortal, type TestPortal } from "./portal-peer.ts";

const running: TestPortal[] = [];

afterEach(async () => {
  vi.restoreAllMocks();
  for (const portal of running.splice(0)) await portal.stop();
});

async function devPortal(): Promise<TestPortal> {
  const portal = await startPortal();
  running.push(portal);
  return portal;
}

describe("one peer's input", () => {
  it("PT-7: a join and a frame of 6,000 levels in one write leave the others connected", async () => {
    const portal = await devPortal();
    const gateway = await connectPeer(portal.url, { role: "gateway", token: portal.tokens.gateway });
    const socket = openSocket(portal.url, { role: "client", token: portal.tokens.client, id: "new" });
    await once(socket, "open");
    const deep = `${"[".repeat(6_000)}${"]".repeat(6_000)}`;
    const answers: string[] = [];
    socket.on("message", (data) => answers.push(JSON.parse(data.toString()).event));
    socket.send('{"topic":"client","event":"phx_join","payload":{},"ref":0}');
    socket.send(`{"topic":"client","event":"x","payload":${deep},"ref":1}`);
    await vi.waitFor(() => expect(answers).toEqual(["phx_reply", "init"]), 5_000);
    gateway.send("heartbeat", {}, 9, "phoenix");
    expect(await gateway.next("phx_reply")).toMatchObject({ ref: 9 });
    socket.close();
  });
});

describe("a defect of ours", () => {
  it("PG-18: in reading an upgrade or a request ends that one only", async () => {
    const portal = await devPortal();
    const client = await connectPeer(portal.url, { role: "client", token: portal.tokens.client });
    const defect = function defect() {
      throw new Error("defect");
    };
    const socket = openSocket(portal.url, { role: "client", token: portal.tokens.client, id: "new" });
    vi.spyOn(globalThis, "URLSearchParams").mockImplementationOnce(defect);
    const [error] = await once(socket, "error");
    expect(error).toMatchObject({ code: "ECONNRESET" });
    vi.spyOn(ServerResponse.prototype, "writeHead").mockImplementationOnce(defect);
    const request = get(portal.url.replace("ws:", "http:"));
    await expect(once(request, "response")).rejects.toThrow();
    client.send("heartbeat", {}, 9, "phoenix");
    expect(await client.next("phx_reply")).toMatchObject({ ref: 9 });
  });
});

/** Everything that comes back until the portal closes. */
async function talk(portal: TestPortal, text: string): Promise<string> {
  const socket = connect(Number(new URL(portal.url).port), "127.0.0.1");
  socket.on("error", () => undefined);
  const parts: Buffer[] = [];
  socket.on("data", (part) => parts.push(part));
  socket.write(text);
  await once(socket, "close");
  return Buffer.concat(parts).toString();
}

describe("a connection", () => {
  it("PT-72: carries one request; what is pipelined behind it is read by nobody", async () => {
    const portal = await devPortal();
    const one = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    const answer = await talk(portal, one.repeat(5));
    expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1);
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*connection: close/i);
  });

  it("PT-72: a head may come in pieces, and has 16 KiB", async () => {
    const portal = await devPortal();
    const socket = connect(Number(new URL(portal.url).port), "127.0.0.1");
    for (const piece of ["GET /readyz HT", "TP/1.1\r\nHost: x\r\n\r", "\n"]) {
      socket.write(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const [answer] = await once(socket, "data");
    expect(String(answer)).toMatch(/^HTTP\/1\.1 200 OK/);
    socket.destroy();
    expect(await talk(portal, `GET / HTTP/1.1\r\nX: ${"x".repeat(20_000)}`)).toMatch(/^HTTP\/1\.1 431/);
    expect(await talk(portal, "nonsense\r\n\r\n")).toBe("");
  });

  it("PT-33: whose first byte is one of TLS ends at once where the portal speaks none; half a request may go on", async () => {
    const portal = await devPortal();
    const half = connect(Number(new URL(portal.url).port), "127.0.0.1", () => half.write("GET /healthz "));
    half.on("error", () => undefined);
    const answer: Buffer[] = [];
    half.on("data", (part) => answer.push(part));
    const closed = once(half, "close");
    await once(half, "connect");
    expect(await talk(portal, "\x16\x03\x01\x02\x00")).toBe("");
    // It was not kept until both were given up.
    half.write("HTTP/1.1\r\nHost: x\r\n\r\n");
    await closed;
    expect(Buffer.concat(answer).toString()).toMatch(/^HTTP\/1\.1 200 OK/);
  });

  it("PT-72: frames sent right behind the upgrade are not lost", async () => {
    const portal = await devPortal();
    const url = new URL(loginUrl(portal.url, { role: "client", token: portal.tokens.client }));
    const head = [
      `GET ${url.pathname}${url.search} HTTP/1.1`,
      "Host: x",
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
      "User-Agent: Linux/6 headless-client/1.5.0",
      `X-Authorization: Bearer ${portal.tokens.client}`,
    ];
    const text = Buffer.from('{"topic":"client","event":"phx_join","payload":{},"ref":0}');
    // A masked text frame; a key of zeros changes nothing.
    const frame = Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), text]);
    const socket = connect(Number(url.port), "127.0.0.1");
    socket.write(Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`), frame]));
    let answer = "";
    socket.on("data", (part) => {
      answer += part.toString("latin1");
    });
    await vi.waitFor(
      () => expect(answer).toMatch(/101 Switching[\s\S]*phx_reply[\s\S]*"event":"init"/),
      5_000,
    );
    socket.destroy();
  });
});

describe("a peer that does not read", () => {
  it("PT-132: is closed with what it asked for unsent, and the portal's memory stays bounded", async () => {
    const portal = await devPortal();
    const peers = await Promise.all(
      Array.from({ length: 8 }, (_, n) =>
        connectPeer(portal.url, { role: "client", token: portal.tokens.client, id: `deaf-${n}` }),
      ),
    );
    const closed = peers.map(({ socket }) => once(socket, "close"));
    // Each unreadable reference comes back whole.
    const question = JSON.stringify({ topic: "x", event: "y", payload: {}, ref: "r".repeat(60_000) });
    for (const { socket } of peers) {
      socket.pause();
      for (let n = 0; n < 400; n++) socket.send(question);
    }
    setTimeout(() => {
      for (const { socket } of peers) socket.resume();
    }, 6_000);
    await Promise.all(closed);
    const one = await connectPeer(portal.url, { role: "client", token: portal.tokens.client, id: "other" });
    await one.next("init");
  }, 60_000);
});

describe("a certificate", () => {
  it("PT-114: that was renewed is served after SIGHUP; a broken one changes nothing", async () => {
    const folder = mkdtempSync(join(tmpdir(), "postern-tls-"));
    const [tlsCert, tlsKey] = [join(folder, "c.pem"), join(folder, "k.pem")];
    const make = (name: string) =>
      execFileSync(
        "openssl",
        [
          "req",
          "-x509",
          "-newkey",
          "ec",
          "-pkeyopt",
          "ec_paramgen_curve:prime256v1",
          "-nodes",
          "-days",
          "2",
        ].concat(["-subj", `/CN=${name}`, "-keyout", tlsKey, "-out", tlsCert]),
        { timeout: 60_000, stdio: "ignore" },
      );
    make("first");
    const portal = await startPortal({ tlsCert, tlsKey });
    running.push(portal);
    const served = async (): Promise<string> => {
      const socket = connectTls({
        port: Number(new URL(portal.url).port),
        host: "127.0.0.1",
        rejectUnauthorized: false,
      });
      await once(socket, "secureConnect");
      const { subject } = socket.getPeerCertificate();
      socket.destroy();
      return String(subject.CN);
    };
    expect(await served()).toBe("first");
    writeFileSync(tlsCert, "broken");
    portal.signal("SIGHUP");
    expect(await served()).toBe("first");
    make("second");
    portal.signal("SIGHUP");
    expect(await served()).toBe("second");
    rmSync(folder, { recursive: true });
  });
});
