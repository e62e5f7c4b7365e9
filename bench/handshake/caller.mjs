/**
 * Plays many peers, each at an address of its own, and counts the responses; runs in the near namespace.
 *
 *   node caller.mjs prepare PEERS            prints private and public keys as JSON
 *   node caller.mjs call FILE ADDRESS PORT   reads { responder, keys, rounds, window, warmUp } from FILE
 *   node caller.mjs one-by-one FILE ADDRESS PORT   each peer once: how long it waited for its response
 *
 * All messages are made before the clock starts, so that the responder's work is measured. A responder
 * under load asks for cookies: the message is sent again with one, as a peer would (WG-30). Each peer
 * has an address of its own (10.10.0.0/16), since a source is allowed few messages under load (WG-32).
 * What a responder leaves aside because more comes than it will judge (PG-51) is sent again.
 */
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import { createNodeCrypto } from "../../build/src/program/crypto-node.js";
import { openCookieReply } from "../../build/src/wireguard/cookie.js";
import { macFields, parseMessage } from "../../build/src/wireguard/messages.js";
import {
  createInitiation,
  createOwnIdentity,
  createRemoteIdentity,
  sealMacs,
} from "../../build/src/wireguard/noise.js";
import { stampOf } from "../../build/src/wireguard/tai64n.js";

/** An initiation that is not answered is sent again, sooner than a peer would (5 s), and in the end lost. */
const RESEND_AFTER_MS = 100;
const TIMES_MAX = 20;
/** One by one. */
const GIVE_UP_AFTER_MS = 1000;
const PAUSE_MS = 100;

const crypto = createNodeCrypto();
const base64 = (bytes) => Buffer.from(bytes).toString("base64");

function prepare(count) {
  const keys = Array.from({ length: count }, () => {
    const privateKey = randomBytes(32);
    return {
      privateKey: base64(privateKey),
      publicKey: base64(crypto.keyPair(Uint8Array.from(privateKey)).publicKey),
    };
  });
  console.log(JSON.stringify(keys));
}

/** The peers, each with a socket and one initiation for each round; its stamps rise from round to round. */
async function createPeers({ responder, keys, rounds }, address, port) {
  const started = Date.now();
  const peers = [];
  for (const [i, { privateKey }] of keys.entries()) {
    const own = createOwnIdentity(crypto, Uint8Array.from(Buffer.from(privateKey, "base64")));
    const remote = createRemoteIdentity(crypto, own, Uint8Array.from(Buffer.from(responder, "base64")));
    const initiations = Array.from({ length: rounds }, (_, round) => {
      const { datagram } = createInitiation(crypto, {
        own,
        remote,
        sender: round * keys.length + i,
        ephemeral: crypto.keyPair(Uint8Array.from(randomBytes(32))),
        stamp: stampOf(started + round * 100),
      });
      sealMacs(crypto, datagram, remote, undefined);
      return datagram;
    });
    peers.push({ remote, initiations, cookie: undefined, socket: await openSocket(i, address, port) });
  }
  return peers;
}

async function openSocket(i, address, port) {
  const socket = createSocket("udp4");
  await new Promise((resolve) => socket.bind(0, `10.10.${(i >> 8) + 1}.${i & 255}`, resolve));
  await new Promise((resolve) => socket.connect(port, address, resolve));
  return socket;
}

/** Sends some rounds with a bounded number under way; resolves to what came of it. */
async function send(peers, { from, to, window }) {
  const result = { responses: 0, cookies: 0, resent: 0, lost: 0, elapsedMs: 0 };
  const jobs = [];
  for (let round = from; round < to; round++) {
    for (const peer of peers) jobs.push({ peer, datagram: peer.initiations[round] });
  }
  /** Sender index → when it was sent, and what. */
  const waiting = new Map();
  let next = 0;
  const started = performance.now();
  await new Promise((resolve) => {
    const dispatch = (job) => {
      if (job.peer.cookie !== undefined) sealMacs(crypto, job.datagram, job.peer.remote, job.peer.cookie);
      const times = (waiting.get(senderOf(job.datagram))?.times ?? 0) + 1;
      waiting.delete(senderOf(job.datagram));
      waiting.set(senderOf(job.datagram), { since: performance.now(), times, job });
      job.peer.socket.send(job.datagram);
    };
    const fill = () => {
      while (waiting.size < window && next < jobs.length) dispatch(jobs[next++]);
      if (waiting.size > 0) return;
      clearInterval(sweep);
      resolve();
    };
    const sweep = setInterval(() => {
      // In the order in which they were sent.
      for (const [sender, { since, times, job }] of [...waiting]) {
        if (performance.now() - since < RESEND_AFTER_MS) break;
        if (times < TIMES_MAX) {
          result.resent++;
          dispatch(job);
        } else {
          waiting.delete(sender);
          result.lost++;
        }
      }
      fill();
    }, 10);
    const handle = (bytes) => {
      const message = parseMessage(bytes);
      if (!message.ok || !("receiver" in message.value)) return;
      const { value } = message;
      const entry = waiting.get(value.receiver);
      if (entry === undefined) return;
      waiting.delete(value.receiver);
      if (value.kind === "cookie-reply") {
        result.cookies++;
        const { mac1 } = macFields(entry.job.datagram);
        entry.job.peer.cookie = openCookieReply(crypto, entry.job.peer.remote, value, mac1);
        dispatch(entry.job);
        return;
      }
      result.responses++;
      fill();
    };
    for (const { socket } of peers) socket.removeAllListeners("message").on("message", handle);
    fill();
  });
  result.elapsedMs = performance.now() - started;
  return result;
}

/** Milliseconds until the response, a cookie answered at once; null: none within a second. */
function tryOnce({ remote, initiations: [datagram], socket }, result) {
  return new Promise((resolve) => {
    const started = performance.now();
    const end = (time) => {
      clearTimeout(timer);
      socket.close();
      resolve(time);
    };
    const timer = setTimeout(() => end(null), GIVE_UP_AFTER_MS);
    socket.on("message", (bytes) => {
      const message = parseMessage(bytes);
      if (!message.ok || message.value.receiver !== senderOf(datagram)) return;
      if (message.value.kind !== "cookie-reply") return end(performance.now() - started);
      result.cookies++;
      const cookie = openCookieReply(crypto, remote, message.value, macFields(datagram).mac1);
      sealMacs(crypto, datagram, remote, cookie);
      socket.send(datagram);
    });
    socket.send(datagram);
  });
}

async function oneByOne(file, address, port) {
  const peers = await createPeers(JSON.parse(readFileSync(file, "utf8")), address, port);
  const result = { times: [], cookies: 0 };
  for (const peer of peers) {
    result.times.push(await tryOnce(peer, result));
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  console.log(JSON.stringify(result));
}

function senderOf(datagram) {
  return new DataView(datagram.buffer, datagram.byteOffset).getUint32(4, true);
}

async function call(file, address, port) {
  const plan = JSON.parse(readFileSync(file, "utf8"));
  const peers = await createPeers(plan, address, port);
  await send(peers, { from: 0, to: plan.warmUp, window: plan.window });
  // The reader of this line takes the processor time of the responder now, and answers by a signal.
  const go = new Promise((resolve) => process.once("SIGUSR2", resolve));
  console.log("warm");
  await go;
  const result = await send(peers, { from: plan.warmUp, to: plan.rounds, window: plan.window });
  console.log(JSON.stringify(result));
  for (const { socket } of peers) socket.close();
}

const [mode, first, second, third] = process.argv.slice(2);
if (mode === "prepare") prepare(Number(first));
else if (mode === "one-by-one") await oneByOne(first, second, Number(third));
else await call(first, second, Number(third));
