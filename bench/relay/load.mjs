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
import { readFileSync } from "node:fs";
import { openKernel, sendDatagram } from "../../build/bindings/linux/index.js";
import { formatIp, ip } from "../../build/src/base/index.js";
import { encodeChannelData } from "../../build/src/turn/index.js";
import { allocate, openSocket } from "./client.mjs";

const TICK_MS = 1;
const CHANNEL_HEADER_BYTES = 4;

/** The answer to a binding is on its way when its channel is told: before it, channel data would be dropped. */
const BOUND_AFTER_MS = 200;

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
  const allocation =
    plan.server === undefined ? undefined : await allocate(socket, { ...plan, peers: [plan.peer] });
  await new Promise((resolve) => setTimeout(resolve, BOUND_AFTER_MS));
  if (allocation === undefined) socket.on("message", () => {});
  // Node tells no descriptor of a socket by a public name.
  const { fd } = socket._handle;
  process.on("SIGUSR2", () => {
    const { to, bytes, count, sendsPerSecond, seconds } = JSON.parse(readFileSync(jobFile, "utf8"));
    const train = trainOf({ bytes, count, channel: allocation?.channels[0] });
    void send(kernel, fd, { to: { address: ip(to.address), port: to.port }, train, sendsPerSecond, seconds });
  });
  const { address, port } = allocation?.relayed ?? {};
  console.log(`ready ${JSON.stringify(address === undefined ? {} : { address: formatIp(address), port })}`);
}

await main(process.argv.slice(2));
