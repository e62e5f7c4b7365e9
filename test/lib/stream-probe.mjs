/**
 * The program's TCP, TLS and HTTP/2 on whatever runtime executes this, with Node at the other end of each: streams
 * to a relay and of a relay, DNS over HTTPS and over TCP (RL-200, RL-210, DN-62). What runs is what the build made.
 *
 *     stream-probe.mjs FOLDER TCP TLS HTTP2 HTTP1 DNS     `crt` and `key` in the folder; ports of servers on loopback
 *
 * Prints `listening TCP TLS` with the ports of a relay of its own, which answers everything with itself, then a line
 * of JSON with what the servers answered, and goes on with its relay until it is ended.
 */
import { generateKeyPairSync } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { openKernel } from "../../build/bindings/linux/index.js";
import { formatIp, ip, SILENT } from "../../build/src/base/index.js";
import { openMarkedSocket } from "../../build/src/host/index.js";
import { createDirectPath } from "../../build/src/program/dns/direct-path.js";
import { createDohClient } from "../../build/src/program/dns/doh.js";
import { createRelayStreams } from "../../build/src/program/endpoint/relay-streams.js";
import { openStreamListener } from "../../build/src/program/stream/index.js";

const LOOPBACK = ip("127.0.0.1");
const NAME = "probe.example";
const DEADLINE_MS = 10_000;

const [folder = "", ...ports] = process.argv.slice(2);
const [tcp, tls, http2, http1, dns] = ports.map(Number);
const [cert, key] = ["crt", "key"].map((name) => readFileSync(`${folder}/${name}`, "utf8"));
const kernel = openKernel();
const now = () => performance.now();
/** Our own connected descriptor, which the runtime adopts, as with a mark (PG-43). */
const openTcp = (to, timeoutMs) => openMarkedSocket(kernel, { to, timeoutMs });

await openRelay();
const results = [];
const toTcp = { transport: "tcp", addresses: [{ address: LOOPBACK, port: tcp }] };
const toTls = { transport: "tls", addresses: [{ address: LOOPBACK, port: tls }] };
results.push(await echoThrough(toTcp));
results.push(await echoThrough({ ...toTls, name: NAME }));
results.push(await echoThrough({ ...toTls, name: "other.example" }));
results.push(await refusedPairs());
for (const port of [http2, http1]) results.push(await askByHttps(port));
for (const id of [1, 2, 3]) results.push(await askByTcp(id));
console.log(JSON.stringify(results));

/** A relay's listeners for streams; the relay behind them is an echo. */
async function openRelay() {
  const relay = createSocket("udp4").bind(0, "127.0.0.1");
  await once(relay, "listening");
  relay.on("message", (datagram, from) => relay.send(datagram, from.port, from.address));
  const options = {
    ...{ kernel, listen: { address: LOOPBACK, port: 0 }, maxConnections: 10, now, log: SILENT },
    relay: { address: LOOPBACK, port: relay.address().port },
  };
  const listeners = [
    await openStreamListener(options),
    await openStreamListener({ ...options, certificate: { cert, key } }),
  ];
  console.log(`listening ${listeners.map(({ address }) => address.port).join(" ")}`);
}

/** Whose use as a relay's certificate is refused (RL-200): not PEM, of another key, behind it something broken. */
async function refusedPairs() {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const other = privateKey.export({ type: "pkcs8", format: "pem" });
  const broken = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
  const pairs = { text: ["no certificate", key], other: [cert, other], chain: [`${cert}${broken}`, key] };
  const refused = [];
  for (const [name, [cert, key]] of Object.entries(pairs)) {
    const certificate = { cert, key };
    const relay = { address: LOOPBACK, port: 9 };
    const options = { kernel, listen: { address: LOOPBACK, port: 0 }, maxConnections: 1, now, log: SILENT };
    await openStreamListener({ ...options, relay, certificate }).catch(() => refused.push(name));
  }
  return refused;
}

/** Sends channel data through a stream and back. @returns what came, or why the stream was not opened */
async function echoThrough(place) {
  const plane = createSocket("udp4").bind(0, "127.0.0.1");
  await once(plane, "listening");
  const env = {};
  const surroundings = { udpPort: () => plane.address().port, openTcp, env, caFile: `${folder}/crt` };
  let streams;
  const news = await new Promise((resolve) => {
    streams = createRelayStreams({ surroundings, bridgePort: 0, now, tell: resolve, log: SILENT });
    streams.take({ kind: "open", relay: "r", place });
  });
  try {
    if (news.kind !== "opened") return news.reason;
    const { address, port } = news.socket;
    plane.send(Buffer.from("\x40\x00\x00\x05hello\0\0\0", "latin1"), port, formatIp(address));
    const [answer] = await once(plane, "message", { signal: AbortSignal.timeout(DEADLINE_MS) });
    return answer.toString("latin1", 4);
  } finally {
    streams.close();
    plane.close();
  }
}

/** Twice on one connection, then what ends without an answer, and once more. */
async function askByHttps(port) {
  const resolve = async () => [LOOPBACK];
  const client = createDohClient({ openTcp, resolve, roots: [cert], log: SILENT });
  const said = [];
  for (const path of ["right", "right", "torn", "right"]) {
    const url = `https://${NAME}:${port}/${path}`;
    const result = await client
      .ask(url, Uint8Array.of(0, 0, 7), AbortSignal.timeout(DEADLINE_MS))
      .catch(() => ({ kind: "failed" }));
    said.push(result.kind === "message" ? Buffer.from(result.message).toString("latin1") : result.kind);
  }
  client.close();
  return said;
}

async function askByTcp(id) {
  const message = new Uint8Array(20).fill(7).fill(id, 0, 1);
  const upstream = { kind: "do53", server: { address: LOOPBACK } };
  const openSockets = () => ({ ask() {}, forget() {}, close() {} });
  const result = await new Promise((resolve) => {
    const onResult = (_token, result) => resolve(result);
    const path = createDirectPath({ openTcp, port: dns, openSockets, onResult });
    path.send({ token: id, transport: "tcp", upstream, message });
  });
  return result.kind === "message" ? [...result.message.subarray(0, 2)] : result.kind;
}
