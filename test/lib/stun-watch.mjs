/**
 * Each STUN message that passes an interface of this network namespace, as a line `TYPE TRANSACTION NANOSECONDS WAY`, by
 * the kernel's clock: a socket filter keeps everything else away, so that a saturated cable is no burden.
 *
 *   node stun-watch.mjs INTERFACE      prints `watching` first
 */

import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import koffi from "koffi";

const AF_PACKET = 17;
/** Without the link's own header: every packet begins with IP. */
const SOCK_DGRAM = 2;
/** `ETH_P_ALL` in network order. */
const ALL_PROTOCOLS = 0x0300;
const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const SIOCGSTAMPNS = 0x8907;
const MAGIC_COOKIE = 0x2112a442;
/** Of the STUN message in a datagram over IPv4 without options, and over IPv6. */
const MESSAGE_AT = { 4: 28, 6: 48 };
/** Both addresses and both ports, which follow each other. */
const WAY = { 4: [12, 24], 6: [8, 44] };
const COOKIE_AT = 4;
const TRANSACTION_AT = 8;

const libc = koffi.load("libc.so.6");
const socket = libc.func("int socket(int domain, int type, int protocol)");
const bind = libc.func("int bind(int fd, const uint8_t *address, uint32_t bytes)");
const setsockopt = libc.func(
  "int setsockopt(int fd, int level, int name, const uint8_t *value, uint32_t bytes)",
);
const recv = libc.func("long recv(int fd, _Out_ uint8_t *buffer, unsigned long bytes, int flags)");
const ioctl = libc.func("int ioctl(int fd, unsigned long request, _Out_ uint8_t *value)");

/** struct sock_filter: code, jump if true, jump if not, operand. */
function instructions(list) {
  const bytes = Buffer.alloc(8 * list.length);
  for (const [i, [code, isSo, isNot, operand]] of list.entries()) {
    bytes.writeUInt16LE(code, 8 * i);
    bytes.writeUInt8(isSo, 8 * i + 2);
    bytes.writeUInt8(isNot, 8 * i + 3);
    bytes.writeUInt32LE(operand, 8 * i + 4);
  }
  return bytes;
}

/** A load beyond the packet's end refuses it. */
const FILTER = instructions([
  [0x30, 0, 0, 0], // ldb [0]
  [0x54, 0, 0, 0xf0], // and 0xf0
  [0x15, 0, 2, 0x40], // version 4?
  [0x20, 0, 0, MESSAGE_AT[4] + COOKIE_AT], // ld [32]
  [0x15, 2, 3, MAGIC_COOKIE],
  [0x20, 0, 0, MESSAGE_AT[6] + COOKIE_AT], // ld [52]
  [0x15, 0, 1, MAGIC_COOKIE],
  [0x06, 0, 0, 256], // its head
  [0x06, 0, 0, 0], // nothing
]);

function attach(fd) {
  const program = Buffer.alloc(16);
  program.writeUInt16LE(FILTER.length / 8, 0);
  program.writeBigUInt64LE(BigInt(koffi.address(FILTER)), 8);
  return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, program, program.length);
}

/** struct sockaddr_ll */
function addressOf(device) {
  const address = Buffer.alloc(20);
  address.writeUInt16LE(AF_PACKET, 0);
  address.writeUInt16LE(ALL_PROTOCOLS, 2);
  address.writeInt32LE(Number(readFileSync(`/sys/class/net/${device}/ifindex`, "utf8")), 4);
  return address;
}

const [device] = process.argv.slice(2);
if (!(device in networkInterfaces())) throw new Error(`no interface ${device}`);
const fd = socket(AF_PACKET, SOCK_DGRAM, ALL_PROTOCOLS);
const address = addressOf(device);
if (fd < 0 || attach(fd) < 0 || bind(fd, address, address.length) < 0) {
  throw new Error(`cannot watch ${device}: errno ${koffi.errno()}`);
}
console.log("watching");
const [buffer, stamp] = [Buffer.alloc(256), Buffer.alloc(16)];
for (;;) {
  const bytes = recv(fd, buffer, buffer.length, 0);
  if (bytes < 0) break;
  const family = buffer[0] >> 4;
  const at = MESSAGE_AT[family];
  if (bytes < at + TRANSACTION_AT + 12 || ioctl(fd, SIOCGSTAMPNS, stamp) < 0) continue;
  const transaction = buffer.toString("hex", at + TRANSACTION_AT, at + TRANSACTION_AT + 12);
  const time = stamp.readBigInt64LE(0) * 1_000_000_000n + stamp.readBigInt64LE(8);
  console.log(`${buffer.readUInt16BE(at)} ${transaction} ${time} ${buffer.toString("hex", ...WAY[family])}`);
}
