/**
 * Writes all IP packets of this network namespace to a file in the format of pcap, until it is ended.
 *
 *   node scripts/capture.mjs FILE
 *   sudo ip netns exec NAMESPACE node scripts/capture.mjs FILE
 *
 * Every interface is in one file, each packet as it passes one: what goes into a tunnel is there as a
 * packet of the TUN device and as the datagram that carries it, or as a frame of many before the kernel
 * splits it. Wireshark and tcpdump read it. Needs root or CAP_NET_RAW.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import koffi from "koffi";

const AF_PACKET = 17;
/** Without the link's own header: every packet begins with IP. */
const SOCK_DGRAM = 2;
/** `ETH_P_ALL` in network order. */
const ALL_PROTOCOLS = 0x0300;
const LINKTYPE_RAW = 101;
const PACKET_BYTES_MAX = 1 << 18;

const libc = koffi.load("libc.so.6");
const socket = libc.func("int socket(int domain, int type, int protocol)");
const recv = libc.func("long recv(int fd, _Out_ uint8_t *buffer, unsigned long bytes, int flags)");

function fileHeader() {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(PACKET_BYTES_MAX, 16);
  header.writeUInt32LE(LINKTYPE_RAW, 20);
  return header;
}

function recordHeader(bytes) {
  const us = Math.round((performance.timeOrigin + performance.now()) * 1000);
  const header = Buffer.alloc(16);
  header.writeUInt32LE(Math.floor(us / 1e6), 0);
  header.writeUInt32LE(us % 1e6, 4);
  header.writeUInt32LE(bytes, 8);
  header.writeUInt32LE(bytes, 12);
  return header;
}

function main([path]) {
  if (path === undefined) {
    console.error("usage: node scripts/capture.mjs FILE");
    return 2;
  }
  const fd = socket(AF_PACKET, SOCK_DGRAM, ALL_PROTOCOLS);
  if (fd < 0) {
    console.error(
      `capture: cannot open a packet socket (errno ${koffi.errno()}); run as root or with CAP_NET_RAW`,
    );
    return 5;
  }
  const file = openSync(path, "w");
  writeSync(file, fileHeader());
  console.log("capturing");
  const buffer = Buffer.alloc(PACKET_BYTES_MAX);
  // The loop waits in a system call, and a signal's default action ends it: whatever was written is whole.
  for (;;) {
    const bytes = recv(fd, buffer, buffer.length, 0);
    if (bytes < 0) break;
    const version = buffer[0] >> 4;
    if (version !== 4 && version !== 6) continue;
    writeSync(file, Buffer.concat([recordHeader(bytes), buffer.subarray(0, bytes)]));
  }
  closeSync(file);
  return 1;
}

process.exitCode = main(process.argv.slice(2));
