/**
 * What a stranger may send to a UDP port to see whether anybody is there, and what comes back.
 *
 *   node knock.mjs ADDRESS PORT      prints `knocked N answers M` after 2 s of silence
 *
 * ICMP's "port unreachable" shows as an error, and is told apart: `refused`.
 */
import { createHash, createHmac, randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";

const LISTEN_MS = 2_000;
const MAGIC_COOKIE = 0x2112a442;
const BINDING_REQUEST = 0x0001;
const ALLOCATE_REQUEST = 0x0003;

const [, , address, port] = process.argv;

function attribute(type, value) {
  const header = Buffer.alloc(4);
  header.writeUInt16BE(type, 0);
  header.writeUInt16BE(value.length, 2);
  return Buffer.concat([header, value, Buffer.alloc(-value.length & 3)]);
}

function stun(type, attributes) {
  const header = Buffer.alloc(20);
  header.writeUInt16BE(type, 0);
  header.writeUInt16BE(
    attributes.reduce((sum, one) => sum + one.length, 0),
    2,
  );
  header.writeUInt32BE(MAGIC_COOKIE, 4);
  randomBytes(12).copy(header, 8);
  return Buffer.concat([header, ...attributes]);
}

/** A check as ICE sends it, from somebody who knows neither fragment nor password. */
function strangersCheck() {
  const body = [
    attribute(0x0006, Buffer.from("abcd:efgh")),
    attribute(0x0024, Buffer.from([0x6e, 0, 0x1e, 0xff])),
    attribute(0x802a, randomBytes(8)),
  ];
  const unsigned = stun(BINDING_REQUEST, [...body, Buffer.alloc(24)]);
  const signature = createHmac("sha1", "no password").update(unsigned.subarray(0, -24)).digest();
  return Buffer.concat([unsigned.subarray(0, -24), attribute(0x0008, signature)]);
}

/** The types of WireGuard in their lengths, with all else random. */
function wireguard(type, length) {
  const message = randomBytes(length);
  message.writeUInt32LE(type, 0);
  return message;
}

const KNOCKS = [
  Buffer.alloc(0),
  Buffer.from([0]),
  Buffer.from("hello\n"),
  stun(BINDING_REQUEST, []),
  stun(BINDING_REQUEST, [attribute(0x8022, Buffer.from("stranger"))]),
  strangersCheck(),
  stun(ALLOCATE_REQUEST, [attribute(0x0019, Buffer.from([17, 0, 0, 0]))]),
  wireguard(1, 148),
  wireguard(2, 92),
  wireguard(3, 64),
  wireguard(4, 32),
  wireguard(4, 1280),
  Buffer.concat([Buffer.from([0x40, 0, 0, 8]), randomBytes(8)]),
  // Asks a name server for its version; QUIC asks for a version that nobody speaks.
  Buffer.from("1234010000010000000000000776657273696f6e0462696e640000100003", "hex"),
  Buffer.concat([Buffer.from([0xc0, 0xba, 0xba, 0xba, 0xba, 8]), randomBytes(1194)]),
  createHash("sha512").update("noise").digest(),
];

const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
let answers = 0;
let refused = 0;
socket.on("message", () => answers++);
socket.on("error", () => refused++);
socket.connect(Number(port), address, () => {
  for (const knock of KNOCKS) socket.send(knock);
  setTimeout(() => {
    console.log(`knocked ${KNOCKS.length} answers ${answers} refused ${refused}`);
    socket.close();
  }, LISTEN_MS);
});
