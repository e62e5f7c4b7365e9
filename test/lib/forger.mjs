/**
 * A name server whose queries others overhear: before its true answer come forged ones, and late ones behind it.
 *
 *   node forger.mjs ADDRESS TRUE FORGED     answers A queries at ADDRESS port 53 with TRUE; prints `asked` for each
 */
import { createSocket } from "node:dgram";

const [own = "", truth = "", forgery = ""] = process.argv.slice(2);
const TRUE_AFTER_MS = 300;
const LATE_AFTER_MS = 300;

const socket = createSocket("udp4");
const stranger = createSocket("udp4");
stranger.bind(0, own);

/** The answer to `query` with one address. */
function answer(query, address, change = () => undefined) {
  const question = query.subarray(0, query.indexOf(0, 12) + 5);
  const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...address.split(".").map(Number)]);
  const message = Buffer.concat([question, record]);
  message.writeUInt16BE(0x8180, 2);
  for (const [at, count] of [
    [4, 1],
    [6, 1],
    [8, 0],
    [10, 0],
  ])
    message.writeUInt16BE(count, at);
  change(message);
  return message;
}

/** What each forgery has wrong. */
const FORGED = [
  (message) => message.writeUInt16BE((message.readUInt16BE(0) + 1) & 0xffff, 0),
  (message) => message.writeUInt16BE(message.readUInt16BE(0) ^ 0x8000, 0),
  // Another question: its name begins with another letter.
  (message) => message.writeUInt8(message.readUInt8(13) === 0x7a ? 0x79 : 0x7a, 13),
  (message) => message.writeUInt16BE(28, message.indexOf(0, 12) + 1),
  (message) => message.writeUInt16BE(3, message.indexOf(0, 12) + 3),
  // A query, not an answer; another opcode; two questions; more records than there are.
  (message) => message.writeUInt16BE(0x0100, 2),
  (message) => message.writeUInt16BE(0xa980, 2),
  (message) => message.writeUInt16BE(2, 4),
  (message) => message.writeUInt16BE(65_535, 6),
];

socket.on("message", (query, from) => {
  console.log("asked");
  for (const change of FORGED) socket.send(answer(query, forgery, change), from.port, from.address);
  for (let bytes = 0; bytes < query.length; bytes += 7)
    socket.send(query.subarray(0, bytes), from.port, from.address);
  // In every respect right, but from elsewhere.
  stranger.send(answer(query, forgery), from.port, from.address);
  setTimeout(() => {
    socket.send(answer(query, truth), from.port, from.address);
    setTimeout(() => socket.send(answer(query, forgery), from.port, from.address), LATE_AFTER_MS);
  }, TRUE_AFTER_MS);
});
socket.bind(53, own, () => console.log("listening"));
