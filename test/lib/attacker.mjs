/**
 * An attacker on the path between two WireGuard ends, in the router's namespace: it sees what passes and
 * sends, in everybody's name, noise, captured datagrams replayed, cut, grown and flipped, forged transport
 * messages for sessions that it has seen, and forged handshake messages. It goes on until SIGTERM.
 *
 * From SIGUSR2 on it replays true handshake messages, too. Not before: those that bear a cookie use up
 * what is allowed to their sender under load (WG-32), which stops every WireGuard from a new handshake.
 *
 *   node attacker.mjs PLAN
 *
 * PLAN is JSON: `{ seed, perRound, ends: [{ address, port, publicKey? }, { … }] }`. With an end's public key
 * its forged initiations have a valid mac1. Prints after each round one JSON line: rounds, datagrams sent
 * by kind, datagrams captured, cookie replies seen.
 */
import { blake2s } from "@noble/hashes/blake2.js";
import { openRawUdp } from "./raw-udp.mjs";

const CAPTURED_MAX = 400;
const SNIFFS_MAX = 400;
const INITIATION_BYTES = 148;
const MAC1_AT = 116;

const plan = JSON.parse(process.argv[2] ?? "{}");
const wire = openRawUdp();
const random = createRandom(plan.seed ?? 1);
const ends = plan.ends.map(({ address, port, publicKey }) => ({
  address: Uint8Array.from(address.split(".").map(Number)),
  port,
  mac1Key:
    publicKey === undefined
      ? undefined
      : blake2s(Uint8Array.from([...Buffer.from("mac1----"), ...Buffer.from(publicKey, "base64")])),
  /** Datagrams that were sent to this end, and receiver indices that it has. */
  captured: [],
  /** Handshake messages among them: there are few, and they are worth more. */
  handshakes: [],
  indices: new Set(),
  initiations: [],
}));
let isReplayingHandshakes = false;
const report = { rounds: 0, sent: {}, refused: 0, captured: 0, cookies: 0 };

/** sfc32: the same plan sends the same noise. */
function createRandom(seed) {
  let [a, b, c, d] = [0x9e3779b9 ^ seed, 0x243f6a88, 0xb7e15162, 1];
  const next = () => {
    const sum = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  };
  const below = (limit) => next() % limit;
  let supply = new Uint8Array();
  return {
    below,
    pick: (list) => list[below(list.length)],
    /** From a supply made once: the rate counts here, not the quality. */
    bytes(length) {
      if (supply.length === 0) supply = Uint8Array.from({ length: 1 << 20 }, next);
      const at = below(supply.length - length);
      return supply.slice(at, at + length);
    },
  };
}

function stranger() {
  return { address: Uint8Array.from([198, 51, 100, 1 + random.below(250)]), port: 1 + random.below(65_535) };
}

/** Whose name a datagram bears: mostly the other end's. */
function sourceFor(end) {
  return random.below(3) === 0 ? stranger() : ends.find((other) => other !== end);
}

function remember(end, message) {
  const isHandshake = message[0] >= 1 && message[0] <= 3 && message.length <= INITIATION_BYTES;
  if (isHandshake) end.handshakes.push(message);
  else if (end.captured.length < CAPTURED_MAX) end.captured.push(message);
  else end.captured[random.below(CAPTURED_MAX)] = message;
}

/** Takes what has passed since the last round, without what we sent ourselves. */
function look() {
  for (let i = 0; i < SNIFFS_MAX; i++) {
    const seen = wire.sniff();
    if (seen === undefined) return;
    const end = ends.find((one) => one.port === seen.to.port && isSame(one.address, seen.to.address));
    const { payload } = seen;
    if (payload[0] === 3 && payload.length === 64) report.cookies++;
    if (end === undefined || payload.length < 32) continue;
    report.captured++;
    for (const message of messagesOf(payload)) remember(end, message);
    if (payload[0] === 4 && payload.length > 200) end.indices.add(viewOf(payload).getUint32(4, true));
  }
}

/** The kernel joins datagrams of a run: the next begins where the same index stands again. */
function messagesOf(payload) {
  if (payload.length <= 1500) return [payload];
  const head = payload.subarray(0, 8);
  const next = payload.findIndex((_, i) => i >= 32 && isSame(payload.subarray(i, i + 8), head));
  return next < 0 || next > 1500 ? [] : [payload.slice(0, next)];
}

function isSame(a, b) {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function send(kind, isSent) {
  if (isSent) report.sent[kind] = (report.sent[kind] ?? 0) + 1;
  else report.refused++;
}

/** Random bytes, and what begins like a message of some kind. */
function noise(end) {
  const length = random.pick([1, 31, 32, 64, 92, 148, 1 + random.below(1400)]);
  const bytes = random.bytes(length);
  if (random.below(2) === 0 && length >= 4) bytes.set([random.below(6), 0, 0, 0]);
  if (random.below(8) === 0 && length >= 20) bytes.set([0, 1, 0, length - 20, 0x21, 0x12, 0xa4, 0x42]);
  send("noise", wire.sendFrom(sourceFor(end), end, bytes));
}

function replay(end) {
  const isHandshake = isReplayingHandshakes && end.handshakes.length > 0 && random.below(4) === 0;
  const message = random.pick(isHandshake ? end.handshakes : end.captured);
  if (message !== undefined) send("replayed", wire.sendFrom(sourceFor(end), end, message));
}

function damage(end) {
  const original = random.pick(random.below(8) === 0 ? end.handshakes : end.captured);
  if (original === undefined) return;
  const copy = Uint8Array.from(original);
  switch (random.below(4)) {
    case 0:
      send("cut", wire.sendFrom(sourceFor(end), end, copy.subarray(0, random.below(copy.length))));
      return;
    case 1: {
      const grown = new Uint8Array(Math.min(1472, copy.length + 1 + random.below(40)));
      grown.set(copy.subarray(0, grown.length));
      send("grown", wire.sendFrom(sourceFor(end), end, grown));
      return;
    }
    default: {
      const at = random.below(random.pick([16, copy.length]));
      copy[at] ^= 1 << random.below(8);
      send("flipped", wire.sendFrom(sourceFor(end), end, copy));
    }
  }
}

/** An initiation by nobody; with the end's public key its mac1 is right, and it costs the end most. */
function initiation(end) {
  if (end.initiations.length < 256) {
    const made = random.bytes(INITIATION_BYTES);
    made.set([1, 0, 0, 0]);
    if (end.mac1Key !== undefined) {
      made.set(blake2s(made.subarray(0, MAC1_AT), { key: end.mac1Key, dkLen: 16 }), MAC1_AT);
    }
    end.initiations.push(made);
  }
  send("initiation", wire.sendFrom(stranger(), end, random.pick(end.initiations)));
}

/** A run of transport messages for a session that exists, all forged, in one send. */
function forgedRun(end) {
  const stride = random.pick([32, 96, 480, 1392]);
  const run = random.bytes(stride * Math.floor(40_000 / Math.max(1000, stride)));
  const index = random.pick([...end.indices]) ?? 1;
  const view = viewOf(run);
  for (let at = 0; at < run.length; at += stride) {
    view.setUint32(at, 4, true);
    view.setUint32(at + 4, index, true);
    view.setBigUint64(at + 8, BigInt(random.below(1 << 20)), true);
  }
  send("forged run", wire.sendRun(end, run, stride));
}

function round() {
  look();
  for (const end of ends) {
    for (let i = 0; i < plan.perRound; i++) {
      random.pick([noise, replay, replay, damage, damage, initiation])(end);
      if (i % 64 === 0) forgedRun(end);
    }
  }
  report.rounds++;
  console.log(JSON.stringify(report));
}

process.on("SIGTERM", () => {
  wire.close();
  process.exit(0);
});
process.on("SIGUSR2", () => {
  isReplayingHandshakes = true;
});
setInterval(round, plan.everyMs ?? 0);
