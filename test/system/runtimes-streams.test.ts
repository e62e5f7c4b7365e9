/**
 * Streams of the programs under every runtime, with Node at the other end: TURN over TCP and TLS at both ends, DNS
 * over HTTPS and over TCP, all from descriptors that the runtime adopts (`test/lib/stream-probe.mjs`).
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createSecureServer } from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, createServer, connect as dial, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as dialTls } from "node:tls";
import { afterAll, beforeAll, expect, it } from "vitest";
import { instant, ip, SILENT } from "../../src/base/index.ts";
import { startChild } from "../../src/program/lab/index.ts";
import { openStreamListener } from "../../src/program/stream/index.ts";
import { makeCertificate } from "../lib/certificate.ts";
import { describeWith, type Requirement } from "../lib/requirements.ts";
import { startWordsOf } from "../lib/runtimes.ts";

const NAME = "probe.example";
const PROBE = join(import.meta.dirname, "../lib/stream-probe.mjs");
const WITHIN_MS = 20_000;
/** Channel data with five octets, as it goes through a stream (RL-201). */
const CHANNEL_DATA = Buffer.from("\x40\x00\x00\x05hello\0\0\0", "latin1");
const TEXT = { "content-type": "application/dns-message" };

let folder: string;
let certificate: { readonly cert: Buffer; readonly key: Buffer };
/** Of the servers that the probe asks, in the order of its arguments. */
let ports: readonly number[];
const ends: (() => void)[] = [];

async function portOf(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  ends.push(() => server.close());
  server.on("connection", (socket: Socket) => ends.push(() => socket.destroy()));
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** A relay's listener with an echo behind it. */
async function relayPort(isTls: boolean): Promise<number> {
  const relay = createSocket("udp4").bind(0, "127.0.0.1");
  await once(relay, "listening");
  ends.push(() => relay.close());
  relay.on("message", (datagram, from) => relay.send(datagram, from.port, from.address));
  const listener = await openStreamListener({
    listen: { address: ip("127.0.0.1"), port: 0 },
    ...(isTls && { certificate }),
    relay: { address: ip("127.0.0.1"), port: relay.address().port },
    maxConnections: 10,
    now: () => instant(0),
    log: SILENT,
  });
  ends.push(() => listener.close());
  return listener.address.port;
}

/** DNS over TCP: the first question's answer is whole, the second's comes in pieces, the third gets none. */
function createNameServer(): Server {
  return createServer((socket) => {
    socket.setNoDelay(true).on("error", () => {});
    socket.once("data", async (question) => {
      const id = question[2];
      if (id === 3) return socket.resetAndDestroy();
      if (id === 1) return socket.end(question);
      for (const [from, to] of [
        [0, 1],
        [1, 9],
        [9, 99],
      ] as const)
        await new Promise((resolve) => socket.write(question.subarray(from, to), resolve));
    });
  });
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "postern-streams-"));
  makeCertificate(folder, NAME, `DNS:${NAME}`);
  certificate = { cert: readFileSync(join(folder, "crt")), key: readFileSync(join(folder, "key")) };
  ports = [
    await relayPort(false),
    await relayPort(true),
    await portOf(
      createSecureServer(certificate, (request, response) => {
        if (request.url.startsWith("/torn")) return request.stream.session?.destroy();
        response.writeHead(200, TEXT);
        response.end("two");
      }),
    ),
    await portOf(
      createHttpsServer(certificate, (request, response) => {
        if (request.url?.startsWith("/torn")) return request.socket.destroy();
        response.writeHead(200, TEXT).end("one");
      }),
    ),
    await portOf(createNameServer()),
  ];
});
afterAll(() => {
  for (const end of ends.splice(0).reverse()) end();
  rmSync(folder, { recursive: true, force: true });
});

/** Sends to a listener of the probe; resolves to what came before it closed, or to the echo. */
async function heardFrom(port: number, isTls: boolean, bytes: Buffer | string): Promise<string> {
  const options = { host: "127.0.0.1", port };
  const tls = { ca: certificate.cert, servername: NAME, ALPNProtocols: ["stun.turn"] };
  const socket = isTls ? dialTls({ ...options, ...tls }) : dial(options);
  ends.push(() => socket.destroy());
  await once(socket, isTls ? "secureConnect" : "connect");
  socket.write(bytes);
  let heard = "";
  socket.on("data", (chunk) => {
    heard += chunk.toString("latin1");
    if (heard.length >= CHANNEL_DATA.length) socket.destroy();
  });
  await once(socket, "close");
  return heard;
}

const CASES: readonly { name: "node" | "deno" | "bun"; needs: readonly Requirement[] }[] = [
  { name: "node", needs: [] },
  { name: "deno", needs: ["deno"] },
  { name: "bun", needs: ["bun"] },
];

for (const { name, needs } of CASES) {
  describeWith(["build", "openssl", ...needs], `streams under ${name}`, () => {
    it("RL-200, RL-201, RL-207, RL-210, DN-62, DN-71: TURN over TCP and TLS at both ends, DNS by HTTPS and TCP", async () => {
      const [command, ...words] = startWordsOf(name);
      const args = [...words, PROBE, folder, ...ports.map(String)];
      const probe = startChild({ name: "stream-probe", command, args });
      try {
        const [, ...own] = await probe.waitForLine(/^listening (\d+) (\d+)$/, { withinMs: WITHIN_MS });
        for (const isTls of [false, true]) {
          const port = Number(own[isTls ? 1 : 0]);
          expect(await heardFrom(port, isTls, CHANNEL_DATA)).toBe(CHANNEL_DATA.toString("latin1"));
          expect(await heardFrom(port, isTls, "GET / HTTP/1.1\r\n\r\n")).toMatch(/^HTTP\/1\.1 404/);
          // Neither STUN nor channel data: the framing is lost.
          expect(await heardFrom(port, isTls, Buffer.alloc(12, 0xff))).toBe("");
        }
        const [line] = await probe.waitForLine(/^\[.*\]$/, { withinMs: WITHIN_MS });
        expect(JSON.parse(line)).toEqual([
          "hello",
          "hello",
          "ERR_TLS_CERT_ALTNAME_INVALID",
          ["text", "other", "chain"],
          ["two", "two", "failed", "two"],
          ["one", "one", "failed", "one"],
          [1, 7],
          [2, 7],
          "failed",
        ]);
        expect(probe.stderr()).toBe("");
      } finally {
        await probe.stop();
      }
    }, 60_000);
  });
}
