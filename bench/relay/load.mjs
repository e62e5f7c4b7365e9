/**
 * The two ends of a relay's load; each in a namespace of its own.
 *
 *   node load.mjs PLAN JOB
 *
 * PLAN is a file with { own, port } and, for a client, { server, username, password, realm, peer }: it makes an
 * allocation and binds a channel. At SIGUSR2 either end reads the file JOB, { to, bytes, count, sendsPerSecond,
 * seconds }, and sends. `count` above 1 hands the kernel a train by one call (UDP_SEGMENT), as a tunnel does; a client
 * puts the channel in front of each datagram. What arrives is thrown away: devices count it.
 */
import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import { openKernel, sendDatagram } from "../../build/bindings/linux/index.js";
import { formatIp, instant, ip, unixMs } from "../../build/src/base/index.js";
import { systemRandom } from "../../build/src/program/system-random.js";
import { createRelayClient, encodeChannelData, parseTurn } from "../../build/src/turn/index.js";

const TICK_MS = 1;
const CHANNEL_HEADER_BYTES = 4;

const now = () => instant(Math.floor(performance.now()));

async function openSocket(address, port = 0) {
  const socket = createSocket("udp4");
  await new Promise((resolve) => socket.bind(port, address, resolve));
  return socket;
}

/** Drives the machine until the channel is bound; it goes on refreshing. */
async function allocate(socket, { server, username, password, realm, peer }) {
  const machine = createRelayClient({
    servers: { v4: { address: ip(server.address), port: server.port } },
    credentials: { username, password },
    realm,
    dialect: "rfc",
    software: "postern/bench",
    random: systemRandom,
    now: now(),
    unixNow: unixMs(Date.now()),
  });
  const to = { address: ip(peer.address), port: peer.port };
  let timer;
  const settle = () => {
    for (let next = machine.pollTransmit(); next !== undefined; next = machine.pollTransmit()) {
      socket.send(next.datagram, next.to.port, formatIp(next.to.address));
    }
    while (machine.pollEvent() !== undefined);
    clearTimeout(timer);
    const due = machine.pollTimeout();
    if (due === undefined) return;
    timer = setTimeout(
      () => {
        machine.handleTimeout(now());
        settle();
      },
      Math.max(1, due - now()),
    );
  };
  const { address, port } = socket.address();
  socket.on("message", (bytes, from) => {
    const message = parseTurn(Uint8Array.from(bytes));
    if (!message.ok) return;
    const sender = { address: ip(from.address), port: from.port };
    machine.handleStun(now(), {
      from: sender,
      local: { address: ip(address), port },
      message: message.value,
    });
    settle();
  });
  settle();
  await until(() => machine.relayed(4) !== undefined, "allocation");
  machine.bindChannel(now(), to);
  settle();
  await until(() => machine.channelTo(now(), to) !== undefined, "channel");
  // The answer to the binding is on its way: before it, channel data would be dropped.
  await new Promise((resolve) => setTimeout(resolve, 200));
  return { channel: machine.channelTo(now(), to), relayed: machine.relayed(4) };
}

async function until(condition, what) {
  const end = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`no ${what} within 10 s`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** One train, or one datagram; with a channel each begins with its header. */
function trainOf({ bytes, count, channel }) {
  const segment = channel === undefined ? bytes : bytes + CHANNEL_HEADER_BYTES;
  const train = new Uint8Array(segment * count);
  for (let i = 0; i < count; i++) {
    const place = train.subarray(i * segment, (i + 1) * segment);
    if (channel !== undefined) encodeChannelData(place, { channel, data: new Uint8Array(bytes).fill(i + 1) });
    else place.fill(i + 1);
  }
  return { bytes: train, ...(count > 1 && { segmentBytes: segment }) };
}

/** Sends at an even rate; says how many went. */
async function send(kernel, fd, { to, train, sendsPerSecond, seconds }) {
  const [started, until] = [performance.now(), performance.now() + seconds * 1000];
  let sent = 0;
  let refused = 0;
  while (performance.now() < until) {
    const due = Math.floor(((performance.now() - started) / 1000) * sendsPerSecond);
    while (sent < due) {
      if (sendDatagram(kernel, fd, { to, ...train }).kind !== "sent") refused++;
      sent++;
    }
    await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }
  console.log(`sent ${JSON.stringify({ sent, refused })}`);
}

async function main([planFile, jobFile]) {
  const kernel = openKernel();
  const plan = JSON.parse(readFileSync(planFile, "utf8"));
  const socket = await openSocket(plan.own, plan.port);
  const allocation = plan.server === undefined ? undefined : await allocate(socket, plan);
  if (allocation === undefined) socket.on("message", () => {});
  // Node tells no descriptor of a socket by a public name.
  const { fd } = socket._handle;
  process.on("SIGUSR2", () => {
    const { to, bytes, count, sendsPerSecond, seconds } = JSON.parse(readFileSync(jobFile, "utf8"));
    const train = trainOf({ bytes, count, channel: allocation?.channel });
    void send(kernel, fd, { to: { address: ip(to.address), port: to.port }, train, sendsPerSecond, seconds });
  });
  const { address, port } = allocation?.relayed ?? {};
  console.log(`ready ${JSON.stringify(address === undefined ? {} : { address: formatIp(address), port })}`);
}

await main(process.argv.slice(2));
