/**
 * Floods a responder with initiations from random sources at a steady rate (TS-57); runs in a namespace of
 * its own. Their mac1 is right, which needs the responder's public key only, so that each costs it as much
 * as a stranger can make it cost.
 *
 *   node flood.mjs ADDRESS PORT PUBLIC-KEY RATE SECONDS     prints one JSON object at the end, or on SIGTERM
 */
import { randomFillSync } from "node:crypto";
import { blake2s } from "@noble/hashes/blake2.js";
import { openRawUdp } from "../../test/lib/raw-udp.mjs";

const INITIATION_BYTES = 148;
const MAC1_AT = 116;
const MESSAGES = 4096;
/** No more at a time, when the machine let us wait: a flood has no bursts of a second. */
const BURST_MAX = 2000;
const TICK_MS = 1;

const [address = "", port, publicKey = "", rate, seconds] = process.argv.slice(2);
const to = { address: Uint8Array.from(address.split(".").map(Number)), port: Number(port) };
const wire = openRawUdp();

function createMessages() {
  const key = blake2s(Buffer.concat([Buffer.from("mac1----"), Buffer.from(publicKey, "base64")]));
  return Array.from({ length: MESSAGES }, () => {
    const message = randomFillSync(new Uint8Array(INITIATION_BYTES));
    message.set([1, 0, 0, 0]);
    message.set(blake2s(message.subarray(0, MAC1_AT), { key, dkLen: 16 }), MAC1_AT);
    message.fill(0, MAC1_AT + 16);
    return message;
  });
}

async function flood(messages) {
  const from = { address: Uint8Array.from([198, 18, 0, 0]), port: 0 };
  const result = { sent: 0, refused: 0, cookies: 0, elapsedMs: 0 };
  let isOver = false;
  process.once("SIGTERM", () => {
    isOver = true;
  });
  const started = performance.now();
  while (!isOver && result.elapsedMs < Number(seconds) * 1000) {
    const due = Math.floor((result.elapsedMs / 1000) * Number(rate)) - result.sent - result.refused;
    for (let left = Math.min(due, BURST_MAX); left > 0; left--) {
      const number = result.sent + result.refused;
      // 198.18.0.0/15 is for benchmarks (RFC 2544); every message has another source.
      from.address.set([18 + ((number >> 16) & 1), number >> 8, number], 1);
      from.port = 1024 + (number % 60_000);
      if (wire.sendFrom(from, to, messages[number % MESSAGES])) result.sent++;
      else result.refused++;
    }
    for (let reply = wire.sniff(); reply !== undefined; reply = wire.sniff()) {
      if (reply.payload[0] === 3 && reply.payload.length === 64) result.cookies++;
    }
    await new Promise((resolve) => setTimeout(resolve, TICK_MS));
    result.elapsedMs = performance.now() - started;
  }
  return result;
}

const messages = createMessages();
console.log("ready");
console.log(JSON.stringify(await flood(messages)));
wire.close();
