/**
 * The plane's workers on whatever runtime executes this, in a network namespace of its own (`unshare -rn`):
 * what an application sends through the TUN device arrives sealed at a socket, what a socket sends sealed
 * arrives at an application; another implementation of the AEAD stands at the other end. Prints one line of
 * JSON. What runs is what the build made.
 *
 *     application ── tun ── plane ── UDP on loopback ── this program with noble
 */
import { spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { readdirSync, readFileSync } from "node:fs";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { chooseCipher } from "../../build/bindings/cipher/index.js";
import { openKernel, openTun, openUdpSockets } from "../../build/bindings/linux/index.js";
import { createPlane, createPlaneMemory } from "../../build/bindings/plane/index.js";
import { currentRuntime } from "../../build/bindings/runtime/index.js";
import { spawnPlaneThreads } from "../../build/bindings/thread/index.js";
import { ip, prefix } from "../../build/src/base/index.js";

const OWN = "10.9.1.1";
const OTHER = "10.9.2.1";
const PLANE_PORT = 51820;
const PEER_ID = 0x0b0b0b;
const LOCAL = (PEER_ID * 256 + 1) >>> 0;
const REMOTE = 0x0a0a0a01;
const SEND_KEY = new Uint8Array(32).fill(1);
const RECEIVE_KEY = new Uint8Array(32).fill(2);
const FAR_FUTURE = Number.MAX_SAFE_INTEGER / 2;
const COUNT = 50;
const DEADLINE_MS = 10_000;

const threads = spawnPlaneThreads();
await threads.loaded;
const cipher = chooseCipher();
command("link", "set", "lo", "up");

const { memory, scratch } = createPlaneMemory();
const kernel = openKernel({ memory, area: scratch });
const tun = openTun(kernel, { name: "pt0" });
command("addr", "add", `${OWN}/24`, "dev", "pt0");
command("link", "set", "pt0", "mtu", "1400", "up");
command("route", "add", "10.9.0.0/16", "dev", "pt0");
const udp = openUdpSockets(kernel, {
  port: { kind: "fixed", port: PLANE_PORT },
  gro: true,
  sendBufferBytes: 1 << 20,
  receiveBufferBytes: 1 << 20,
});

const peer = await bound("127.0.0.1");
const application = await bound(OWN);
const plane = createPlane({
  memory,
  module: cipher.module,
  sys: kernel.sys,
  threads,
  mode: "plain",
  mtu: 1400,
  maxPeers: 4,
});
configure(plane, peer.socket.address().port);
let wakes = 0;
const unlisten = plane.onWake(() => {
  wakes++;
});

const report = { runtime: currentRuntime(), cipher: cipher.name, rounds: [] };
for (let round = 0; round < 2; round++) report.rounds.push(await carry(round));
unlisten();
peer.socket.close();
application.socket.close();
// As after an error that nobody caught: nobody stops the workers (PF-23).
await plane.start(descriptors());
const last = JSON.stringify({ ...report, wakes, counters: plane.counters() });
process.stdout.write(`${last}\n`, () => process.exit(0));

/** Starts the workers, sends both ways, lets control be woken, stops the workers. */
async function carry(round) {
  await plane.start(descriptors());
  if (round === 0) report.threads = threadNames();
  const before = { sealed: peer.messages.length, opened: application.messages.length };
  for (let i = 0; i < COUNT; i++) {
    application.socket.send(payload(i), 7000, OTHER);
    peer.socket.send(seal(BigInt(round * COUNT + i), packet(payload(i))), PLANE_PORT, "127.0.0.1");
    if (i % 10 === 9) await pause(1);
  }
  await until(() => peer.messages.length - before.sealed >= COUNT);
  await until(() => application.messages.length - before.opened >= COUNT);
  const wakesBefore = wakes;
  peer.socket.send(new Uint8Array([0xff]), PLANE_PORT, "127.0.0.1");
  await until(() => wakes > wakesBefore);
  const events = plane.takeEvents(100).map(({ kind }) => kind);
  const started = performance.now();
  // The first time the threads stay, the second time they end.
  await (round === 0 ? plane.pause() : plane.stop());
  return {
    sealed: peer.messages.slice(before.sealed).map(openedPayload),
    opened: application.messages.slice(before.opened).map(numberOf),
    events,
    stopMs: performance.now() - started,
  };
}

/** Of the workers: whoever looks at the process sees which is which (PG-65). */
function threadNames() {
  return readdirSync("/proc/self/task")
    .map((id) => readFileSync(`/proc/self/task/${id}/comm`, "utf8").trim())
    .filter((name) => name.startsWith("postern-"))
    .sort();
}

function descriptors() {
  return {
    tun: tun.fd,
    udp4: udp.v4.fd,
    port4: PLANE_PORT,
    hasSegmentation: true,
    hasTcpOffload: true,
    hasUdpOffload: true,
  };
}

function configure({ execute, publish }, port) {
  execute({ kind: "add-peer", slot: 0, peerId: PEER_ID });
  execute({
    kind: "set-path",
    slot: 0,
    path: {
      kind: "direct",
      headRoom: 0,
      isIdle: false,
      isBroken: false,
      generation: 1,
      destination: { address: ip("127.0.0.1"), port },
    },
  });
  const session = {
    local: LOCAL,
    remote: REMOTE,
    generation: 1,
    isInitiator: true,
    sendKey: SEND_KEY,
    receiveKey: RECEIVE_KEY,
    sendUntil: FAR_FUTURE,
    recvUntil: FAR_FUTURE,
  };
  execute({ kind: "install", slot: 0, peerId: PEER_ID, session });
  execute({ kind: "set-current", slot: 0, local: LOCAL });
  publish({
    routes: [{ prefix: prefix(`${OTHER}/24`), target: { kind: "peer", slot: 0 } }],
    permits: [],
  });
}

async function bound(address) {
  const messages = [];
  const socket = createSocket("udp4").on("message", (bytes) => messages.push(Uint8Array.from(bytes)));
  await new Promise((resolve) => socket.bind(address === OWN ? 7001 : 0, address, resolve));
  return { socket, messages };
}

function payload(number) {
  const bytes = new Uint8Array(100).fill(number);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

function numberOf(bytes) {
  const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  return bytes.length === 100 && bytes.subarray(4).every((byte) => byte === number) ? number : -1;
}

/** An IPv4 packet with a UDP datagram for the application; a UDP checksum of 0 is none. */
function packet(bytes) {
  const all = new Uint8Array(28 + bytes.length);
  const view = new DataView(all.buffer);
  all.set([0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17]);
  view.setUint16(2, all.length);
  all.set(ip(OTHER), 12);
  all.set(ip(OWN), 16);
  view.setUint16(20, 7000);
  view.setUint16(22, 7001);
  view.setUint16(24, 8 + bytes.length);
  all.set(bytes, 28);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += view.getUint16(at);
  sum = (sum & 0xffff) + (sum >> 16);
  view.setUint16(10, ~(sum + (sum >> 16)) & 0xffff);
  return all;
}

function seal(counter, text) {
  const header = new Uint8Array(16);
  const view = new DataView(header.buffer);
  view.setUint32(0, 4, true);
  view.setUint32(4, LOCAL, true);
  view.setBigUint64(8, counter, true);
  const sealed = chacha20poly1305(RECEIVE_KEY, nonceOf(header)).encrypt(text);
  const message = new Uint8Array(16 + sealed.length);
  message.set(header);
  message.set(sealed, 16);
  return message;
}

function openedPayload(message) {
  const text = chacha20poly1305(SEND_KEY, nonceOf(message)).decrypt(message.subarray(16));
  return numberOf(text.slice(28, 128));
}

function nonceOf(message) {
  const nonce = new Uint8Array(12);
  nonce.set(message.subarray(8, 16), 4);
  return nonce;
}

function command(...words) {
  const { status, stderr } = spawnSync("ip", words, { timeout: 60_000, encoding: "utf8" });
  if (status !== 0) throw new Error(`ip ${words.join(" ")}: ${stderr}`);
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function until(condition) {
  const end = performance.now() + DEADLINE_MS;
  while (!condition()) {
    if (performance.now() > end) {
      console.error(
        JSON.stringify({
          counters: plane.counters(),
          wakes,
          peer: peer.messages.length,
          application: application.messages.length,
        }),
      );
      throw new Error(`after ${DEADLINE_MS} ms still not: ${condition}`);
    }
    await pause(5);
  }
}
