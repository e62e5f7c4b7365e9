/**
 * Sends or receives pseudo-random bytes over TCP or UDP and prints their digest.
 *
 *   node transfer.mjs receive tcp ADDRESS BYTES     prints `listening`, then `received SHA256 BYTES`
 *   node transfer.mjs send tcp ADDRESS BYTES        prints `sent SHA256 BYTES`
 *
 * UDP: datagrams of all lengths from 12 bytes to the MTU, each with a checksum of its own. The receiver
 * acknowledges every 32nd, for which the sender waits a little, so that no buffer overflows.
 */
import { createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import { connect, createServer } from "node:net";

const PORT = 4321;
const CHUNK = 1 << 16;
/** Datagram payloads: number, checksum, filling; up to what fits into 1,420 bytes. */
const UDP_HEADER = 12;
const UDP_PAYLOAD_MAX = 1420 - 48;
const BURST = 32;
const [, , role, protocol, address, size] = process.argv;
const total = Number(size);

/** The same bytes on both sides: a counter through SHA-256 is random enough to defeat repetition. */
function chunkOf(i, length) {
  const seed = createHash("sha256").update(`chunk ${i}`).digest();
  const chunk = Buffer.alloc(length);
  for (let at = 0; at < length; at += seed.length) {
    seed.writeUInt32LE(at, 0);
    seed.copy(chunk, at);
  }
  return chunk;
}

function sendTcp() {
  const hash = createHash("sha256");
  const socket = connect({ host: address, port: PORT }, () => {
    let sent = 0;
    const more = () => {
      while (sent < total) {
        const chunk = chunkOf(sent / CHUNK, Math.min(CHUNK, total - sent));
        hash.update(chunk);
        sent += chunk.length;
        if (!socket.write(chunk)) {
          socket.once("drain", more);
          return;
        }
      }
      socket.end();
    };
    more();
  });
  socket.resume();
  socket.on("close", () => console.log(`sent ${hash.digest("hex")} ${total}`));
}

function receiveTcp() {
  const server = createServer((socket) => {
    const hash = createHash("sha256");
    let received = 0;
    socket.on("data", (data) => {
      hash.update(data);
      received += data.length;
    });
    socket.on("end", () => {
      socket.end();
      server.close();
      console.log(`received ${hash.digest("hex")} ${received}`);
    });
  });
  server.listen(PORT, address, () => console.log("listening"));
}

function datagramOf(i) {
  const length = UDP_HEADER + (i % (UDP_PAYLOAD_MAX - UDP_HEADER + 1));
  const datagram = chunkOf(i, length);
  datagram.writeUInt32LE(i, 0);
  datagram.writeUInt32LE(length, 4);
  createHash("sha256").update(datagram.subarray(UDP_HEADER)).digest().copy(datagram, 8, 0, 4);
  return datagram;
}

function isWhole(datagram) {
  if (datagram.length < UDP_HEADER || datagram.readUInt32LE(4) !== datagram.length) return false;
  const digest = createHash("sha256").update(datagram.subarray(UDP_HEADER)).digest();
  return digest.subarray(0, 4).equals(datagram.subarray(8, 12));
}

async function sendUdp() {
  const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
  for (let i = 0; i < total; i++) {
    await new Promise((resolve) => socket.send(datagramOf(i), PORT, address, resolve));
    if (i % BURST !== BURST - 1) continue;
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, 500);
      socket.once("message", () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
  socket.close();
  console.log(`sent ${total}`);
}

function receiveUdp() {
  const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
  const seen = new Set();
  let broken = 0;
  let timer;
  const finish = () => {
    socket.close();
    console.log(`received ${seen.size} broken ${broken}`);
  };
  socket.on("message", (datagram, from) => {
    if (isWhole(datagram)) seen.add(datagram.readUInt32LE(0));
    else broken++;
    if (datagram.readUInt32LE(0) % BURST === BURST - 1) socket.send("ok", from.port, from.address);
    clearTimeout(timer);
    timer = setTimeout(finish, 2000);
    if (seen.size === total) {
      clearTimeout(timer);
      finish();
    }
  });
  socket.bind(PORT, address, () => console.log("listening"));
}

const ACTIONS = {
  "send tcp": sendTcp,
  "receive tcp": receiveTcp,
  "send udp": sendUdp,
  "receive udp": receiveUdp,
};
ACTIONS[`${role} ${protocol}`]();
