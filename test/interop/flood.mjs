/**
 * Sends initiations with a valid mac1, from keys that nobody knows: they cost the receiver a key
 * operation each unless it asks for cookies.
 *
 *   node flood.mjs ADDRESS PORT PUBLIC_KEY_BASE64 PER_SECOND SECONDS     prints `flooding`, then `done SENT cookies N`
 */
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { createNodeCrypto } from "../../build/src/program/crypto-node.js";
import {
  createInitiation,
  createOwnIdentity,
  createRemoteIdentity,
  sealMacs,
} from "../../build/src/wireguard/noise.js";
import { stampOf } from "../../build/src/wireguard/tai64n.js";

const [, , address, port, publicKey, rate, seconds] = process.argv;
const crypto = createNodeCrypto();
const own = createOwnIdentity(crypto, randomBytes(32));
const remote = createRemoteIdentity(crypto, own, new Uint8Array(Buffer.from(publicKey, "base64")));
const datagrams = Array.from({ length: 20 }, (_, i) => {
  const input = {
    own,
    remote,
    sender: i,
    ephemeral: crypto.keyPair(randomBytes(32)),
    stamp: stampOf(Date.now()),
  };
  const { datagram } = createInitiation(crypto, input);
  sealMacs(crypto, datagram, remote, undefined);
  return datagram;
});

const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
let cookies = 0;
socket.on("message", (message) => {
  if (message[0] === 3) cookies++;
});
const end = Date.now() + 1000 * Number(seconds);
/** In bursts: wireguard-go calls it load when 128 messages wait at a time. */
const BURSTS_PER_SECOND = 10;
const burst = Math.ceil(Number(rate) / BURSTS_PER_SECOND);
let sent = 0;
console.log("flooding");
const timer = setInterval(() => {
  for (let i = 0; i < burst; i++) socket.send(datagrams[sent++ % datagrams.length], Number(port), address);
  if (Date.now() >= end) finish();
}, 1000 / BURSTS_PER_SECOND);
process.once("SIGINT", finish);

function finish() {
  clearInterval(timer);
  setTimeout(() => {
    console.log(`done ${sent} cookies ${cookies}`);
    socket.close();
  }, 200);
}
