/**
 * A program that embeds the client, or the same one by the kernel's sockets; `main.mjs` starts it in the near
 * namespace. Prints one line of JSON.
 *
 *   node load.mjs '{ "via": "fast", "load": "tcp", "direction": "down", "seconds": 10, … }'
 *
 * `via`: `tun` (what runs beside it has a TUN device), or the grade of the library's sockets. `apiUrl` and `token`
 * are of the portal, `address` is the far end's.
 */
import { Agent, get } from "node:http";
import { connect } from "node:net";
import { connectClient } from "../../build/src/index.js";
import { createConnection, HttpAgent } from "../../build/src/library/node/index.js";
import { transfer } from "./iperf.mjs";

const IPERF_PORT = 5201;
const HTTP_PORT = 8081;
const WARM_UP_SECONDS = 2;
const MEASURED_AFTER = 500;

const options = JSON.parse(process.argv[2]);
const { via, address } = options;

const LOADS = { tcp: loadTcp, connections: loadConnections, requests: loadRequests, memory: loadMemory };
const started = performance.now();
const client = via === "tun" ? undefined : await open("bench-embed");
const connectedMs = performance.now() - started;
const found = await LOADS[options.load]();
const { grade } = client?.status().sockets ?? {};
await client?.close();
console.log(JSON.stringify({ ...found, ...(grade && { grade }), connectedMs }));

function open(id) {
  const { apiUrl, token } = options;
  return connectClient({ apiUrl, token, id, sockets: via });
}

async function loadTcp() {
  const { direction, seconds } = options;
  const dialed = performance.now();
  const first = await client.dial({ host: address, port: HTTP_PORT });
  const reader = first.readable.getReader();
  const writer = first.writable.getWriter();
  await writer.write(new TextEncoder().encode("GET / HTTP/1.1\r\nhost: far\r\nconnection: close\r\n\r\n"));
  await reader.read();
  const firstByteMs = performance.now() - dialed;
  first.abort();
  const dial = () => client.dial({ host: address, port: IPERF_PORT });
  await transfer(dial, { direction, seconds: WARM_UP_SECONDS });
  const before = process.cpuUsage();
  const { bytes, seconds: took, retransmits } = await transfer(dial, { direction, seconds });
  const { user, system } = process.cpuUsage(before);
  return {
    value: (bytes * 8) / took / 1e9,
    cpu_s_per_gb: (user + system) / 1e6 / (bytes / 1e9),
    ...{ firstByteMs, retransmits, losses: lossesOf(client.status().counters) },
  };
}

/** What was dropped here, and sent again. */
function lossesOf(counters) {
  const all = Object.entries(counters).flatMap(([where, counts]) =>
    Object.entries(counts).map(([name, count]) => [`${where}.${name}`, count]),
  );
  return Object.fromEntries(
    all.filter(([name]) =>
      /drop|overflow|retransmitted|out_of_order|errno|again|polls|reads|writes|segments/.test(name),
    ),
  );
}

function duplex() {
  const target = { host: address, port: HTTP_PORT };
  return client === undefined ? connect(target) : createConnection(client, target);
}

/** All open at once; each asks once more when the last one is there. */
async function loadConnections() {
  const { count } = options;
  // The way is there: what is measured are the connections.
  const first = await ready(duplex());
  await answerLength(first);
  first.destroy();
  const from = performance.now();
  const sockets = await Promise.all(Array.from({ length: count }, () => ready(duplex())));
  const openSeconds = (performance.now() - from) / 1000;
  const lengths = await Promise.all(sockets.map(answerLength));
  const seconds = (performance.now() - from) / 1000;
  for (const socket of sockets) socket.destroy();
  const answered = lengths.filter((length) => length > 0).length;
  return {
    value: count / seconds,
    openSeconds,
    answered,
    memory_mb: [residentMb()],
    valid: answered === count,
  };
}

function ready(socket) {
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.once("connect", () => resolve(socket));
  });
}

function answerLength(socket) {
  return new Promise((resolve) => {
    socket.once("data", (bytes) => resolve(bytes.length));
    socket.once("close", () => resolve(0));
    socket.write("GET / HTTP/1.1\r\nhost: far\r\n\r\n");
  });
}

/** Small requests over kept connections, as many at a time as `count` says. */
async function loadRequests() {
  const { count, seconds } = options;
  const limits = { keepAlive: true, maxSockets: count };
  const agent = client === undefined ? new Agent(limits) : new HttpAgent(client, limits);
  let [done, from, isOver] = [0, 0, false];
  async function ask() {
    while (!isOver) {
      await request(agent);
      if (++done === MEASURED_AFTER) from = performance.now();
    }
  }
  const asking = Array.from({ length: count }, ask);
  while (from === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const value = (done - MEASURED_AFTER) / ((performance.now() - from) / 1000);
  isOver = true;
  await Promise.all(asking);
  agent.destroy();
  return { value };
}

function request(agent) {
  return new Promise((resolve, reject) => {
    get({ host: address, port: HTTP_PORT, agent }, (response) => {
      response.on("end", resolve).resume();
    }).once("error", reject);
  });
}

/** What every further instance adds; each has a connection up. */
async function loadMemory() {
  const { count } = options;
  await exchange(client);
  globalThis.gc?.();
  const before = residentMb();
  const more = [];
  for (let i = 0; i < count; i++) more.push(await open(`bench-embed-${i}`));
  for (const one of more) await exchange(one);
  globalThis.gc?.();
  const value = (residentMb() - before) / count;
  await Promise.all(more.map((one) => one.close()));
  return { value, memory_mb: [residentMb()] };
}

async function exchange(one) {
  const response = await one.fetch(`http://${address}:${HTTP_PORT}/`);
  await response.text();
}

function residentMb() {
  return process.memoryUsage().rss / 2 ** 20;
}
