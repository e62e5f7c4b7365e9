/**
 * Asks a name server at a steady rate from one socket per hundred queries, and judges every answer by itself.
 *
 *   node dns-load.mjs SERVER QUERIES_PER_SECOND SECONDS RESOURCE_SUFFIX FOREIGN_SUFFIX
 *
 * Every other name is a resource's, whose addresses must lie in 100.96.0.0/11 and never change; of the others the
 * address is the last two labels' numbers. Prints one line of JSON.
 */
import { createSocket } from "node:dgram";

const [server = "", rate = "1000", seconds = "10", resources = "", foreign = ""] = process.argv.slice(2);
const SLOT_MS = 10;
const RESOURCES = 200;
const FOREIGN = 2_000;
const PER_SOCKET = 100;
/** At a fifth of the rate at first: more than 1,000 forwarded queries at once fail by DN-70. */
const WARM_UP_S = 2;
const SLOW = 0.2;
/** Whoever is not run for a while must not send a burst that no queue holds: half of the plane's ring to control. */
const OUTSTANDING_MAX = 1_000;
const total = Number(rate) * (Number(seconds) + WARM_UP_S * SLOW);

const seen = new Map();
const tally = { asked: 0, answered: 0, wrong: 0, failed: 0, twice: 0, rcodes: {} };
let [slowestMs, sentInS] = [0, 0];
const delays = [];

function encode(id, name) {
  const labels = name.split(".").flatMap((label) => [label.length, ...Buffer.from(label)]);
  return Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1]);
}

/** The name of the question, and the first address. */
function decode(bytes) {
  const labels = [];
  let at = 12;
  for (let length = bytes[at]; length > 0; length = bytes[at]) {
    labels.push(bytes.toString("latin1", at + 1, at + 1 + length));
    at += 1 + length;
  }
  const answers = bytes.readUInt16BE(6);
  const rcode = bytes[3] & 15;
  at += 5;
  if (answers === 0) return { id: bytes.readUInt16BE(0), name: labels.join("."), rcode, address: "" };
  // The owner is a pointer, or a whole name.
  if ((bytes[at] & 0xc0) === 0xc0) at += 2;
  else {
    while (bytes[at] > 0) at += 1 + bytes[at];
    at += 1;
  }
  const address = [...bytes.subarray(at + 10, at + 14)].join(".");
  return { id: bytes.readUInt16BE(0), name: labels.join("."), rcode, address };
}

function isRight(name, address) {
  if (!name.endsWith(resources)) {
    const number = Number(/\d+/.exec(name)?.[0]);
    return address === `192.0.${number >> 8}.${number & 255}`;
  }
  const [a, b] = address.split(".").map(Number);
  const before = seen.get(name) ?? address;
  seen.set(name, before);
  return a === 100 && b >= 96 && b <= 127 && before === address;
}

function open() {
  const pending = new Map();
  const socket = createSocket({ type: "udp4", recvBufferSize: 4 << 20 });
  socket.on("message", (bytes) => {
    const { id, name, rcode, address } = decode(bytes);
    const asked = pending.get(id);
    if (asked === undefined) {
      tally.twice++;
      return;
    }
    pending.delete(id);
    tally.answered++;
    const ms = performance.now() - asked.at;
    delays.push(ms);
    slowestMs = Math.max(slowestMs, ms);
    if (rcode !== 0) {
      tally.failed++;
      tally.rcodes[rcode] = (tally.rcodes[rcode] ?? 0) + 1;
    }
    if (rcode === 0 && (name !== asked.name || !isRight(name, address))) tally.wrong++;
  });
  return { socket, pending };
}

const sockets = [];
let last = open();
let used = 0;
function ask(number) {
  if (used === PER_SOCKET) {
    sockets.push(last);
    last = open();
    used = 0;
    // Those of a second ago have their answers.
    while (sockets.length > (Number(rate) / PER_SOCKET) * 6) sockets.shift()?.socket.close();
  }
  const name =
    number % 2 === 0 ? `r${(number / 2) % RESOURCES}.${resources}` : `f${number % FOREIGN}.${foreign}`;
  const id = number % 65_536;
  used++;
  last.pending.set(id, { name, at: performance.now() });
  last.socket.send(encode(id, name), 53, server);
  tally.asked++;
}

const startedAt = performance.now();
const timer = setInterval(() => {
  const elapsedS = (performance.now() - startedAt) / 1_000;
  const fullS = Math.max(0, elapsedS - WARM_UP_S) + Math.min(elapsedS, WARM_UP_S) * SLOW;
  const due = Math.min(total, Math.floor(fullS * Number(rate)));
  while (tally.asked < due && tally.asked - tally.answered < OUTSTANDING_MAX) ask(tally.asked);
  if (tally.asked < total) return;
  clearInterval(timer);
  sentInS = Math.round(performance.now() - startedAt) / 1_000;
  setTimeout(() => {
    delays.sort((a, b) => a - b);
    const at = (share) => Math.round((delays[Math.floor(delays.length * share)] ?? 0) * 100) / 100;
    console.log(
      JSON.stringify({
        ...tally,
        sentInS,
        medianMs: at(0.5),
        p99Ms: at(0.99),
        slowestMs: Math.round(slowestMs),
      }),
    );
    process.exit(0);
  }, 6_000);
}, SLOT_MS);
