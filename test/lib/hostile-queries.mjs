/**
 * Sends each of the messages to a name server, by UDP and by TCP, and prints what comes back.
 *
 *   node hostile-queries.mjs ADDRESS PORT GOOD NAME=HEX…   prints `NAME udp WHAT`, `NAME tcp WHAT` by line
 *
 * WHAT is `silence`, `closed`, or `rcode R questions Q`. After each datagram comes the good query, whose answer ends the
 * wait: a server answers one socket's messages in order, at least those that it refuses.
 */
import { createSocket } from "node:dgram";
import { connect } from "node:net";

const [address = "", port = "", good = "", ...rows] = process.argv.slice(2);
const GOOD = Buffer.from(good, "hex");
const GOOD_ID = GOOD.readUInt16BE(0);

function describe(answer) {
  if (answer.length < 12) return `${answer.length} octets`;
  // OPT of EDNS comes last, without options: its first octet of TTL is the upper part of the code (RFC 6891).
  const hasEdns = answer.readUInt16BE(10) === 1;
  const upper = hasEdns ? answer.readUInt8(answer.length - 6) : 0;
  return `rcode ${(upper << 4) | (answer.readUInt8(3) & 15)} questions ${answer.readUInt16BE(4)}`;
}

function byUdp(message) {
  return new Promise((resolve) => {
    const socket = createSocket("udp4");
    let heard = "silence";
    let timer;
    socket.on("message", (answer) => {
      if (answer.length >= 12 && answer.readUInt16BE(0) !== GOOD_ID) {
        heard = describe(answer);
        return;
      }
      clearInterval(timer);
      socket.close();
      resolve(heard);
    });
    const ask = () => socket.send(GOOD, Number(port), address);
    socket.send(message, Number(port), address, ask);
    timer = setInterval(ask, 2_000);
  });
}

function byTcp(message) {
  return new Promise((resolve) => {
    const socket = connect(Number(port), address, () =>
      socket.write(Buffer.concat([Buffer.from([message.length >> 8, message.length & 255]), message])),
    );
    let heard = Buffer.alloc(0);
    const end = (what) => {
      socket.destroy();
      resolve(what);
    };
    socket.on("data", (chunk) => {
      heard = Buffer.concat([heard, chunk]);
      if (heard.length >= 2 && heard.length >= 2 + heard.readUInt16BE(0)) end(describe(heard.subarray(2)));
    });
    socket.on("error", () => end("closed"));
    socket.on("close", () => end("closed"));
  });
}

for (const row of rows) {
  const [name = "", hex = ""] = row.split("=");
  const message = Buffer.from(hex, "hex");
  console.log(`${name} udp ${await byUdp(message)}`);
  console.log(`${name} tcp ${await byTcp(message)}`);
}
