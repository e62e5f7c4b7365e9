/**
 * What an attacker on the path can do and a socket cannot: see every datagram that passes, and send
 * datagrams in anybody's name. Linux, root; made of our own bindings, so build first.
 */
import { openSysCalls } from "../../build/bindings/sys/index.js";

const AF_INET = 2;
const AF_PACKET = 17;
const SOCK_RAW = 3;
/** Link headers are cut off: what comes is IP. */
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0x800;
const ETH_P_ALL = 0x0300;
/** With it the IP header is ours, source included; the kernel fills in checksum and identification. */
const IPPROTO_RAW = 255;
const SOL_SOCKET = 1;
const SOL_UDP = 17;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const UDP_SEGMENT = 103;
const SOL_PACKET = 263;
/** What this machine sends itself is not seen (Linux 4.20). */
const PACKET_IGNORE_OUTGOING = 23;
const BUFFER_BYTES = 8 << 20;

const PROTOCOL_UDP = 17;
const IP_BYTES = 20;
const UDP_BYTES = 8;
/** Where things lie in the memory that the calls see. */
const NAME = 0;
const VECTOR = 64;
const MESSAGE = 128;
const CONTROL = 256;
const OPTION = 512;
const PACKET = 1024;
const RECEIVED = 0x20000;
const MEMORY_PAGES = 4;

/** Opens the attacker's three sockets. */
export function openRawUdp() {
  const memory = new WebAssembly.Memory({ initial: MEMORY_PAGES, maximum: MEMORY_PAGES, shared: true });
  const world = {
    sys: openSysCalls(memory),
    bytes: new Uint8Array(memory.buffer),
    view: new DataView(memory.buffer),
  };
  const { sys } = world;
  const sockets = openSockets(world);
  return {
    sendFrom: (from, to, payload) => sendFrom(world, sockets.raw, { from, to, payload }),
    sendRun: (to, run, stride) => sendRun(world, sockets.udp, { to, run, stride }),
    sniff: () => sniff(world, sockets.tap),
    close() {
      for (const fd of Object.values(sockets)) sys.close(fd);
    },
  };
}

function openSockets({ sys, view }) {
  const check = (result, what) => {
    if (result < 0) throw new Error(`${what}: errno ${sys.errno()}`);
    return result;
  };
  const raw = check(sys.socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_RAW), "raw socket");
  const tap = check(sys.socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK, ETH_P_ALL), "packet socket");
  const udp = check(sys.socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), "socket");
  view.setUint32(OPTION, 1, true);
  check(sys.setsockopt(tap, SOL_PACKET, PACKET_IGNORE_OUTGOING, OPTION, 4), "PACKET_IGNORE_OUTGOING");
  view.setUint32(OPTION, BUFFER_BYTES, true);
  sys.setsockopt(tap, SOL_SOCKET, SO_RCVBUFFORCE, OPTION, 4);
  for (const fd of [raw, udp]) sys.setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, OPTION, 4);
  return { raw, tap, udp };
}

/** struct sockaddr_in */
function writeName({ view, bytes }, { address, port }) {
  view.setUint16(NAME, AF_INET, true);
  view.setUint16(NAME + 2, port);
  bytes.set(address, NAME + 4);
  bytes.fill(0, NAME + 8, NAME + 16);
}

/** struct msghdr and struct iovec, whose pointers are absolute. */
function send({ sys, view }, fd, length, controlBytes) {
  view.setBigUint64(VECTOR, sys.base + BigInt(PACKET), true);
  view.setBigUint64(VECTOR + 8, BigInt(length), true);
  view.setBigUint64(MESSAGE, sys.base + BigInt(NAME), true);
  view.setUint32(MESSAGE + 8, 16, true);
  view.setBigUint64(MESSAGE + 16, sys.base + BigInt(VECTOR), true);
  view.setBigUint64(MESSAGE + 24, 1n, true);
  view.setBigUint64(MESSAGE + 32, controlBytes === 0 ? 0n : sys.base + BigInt(CONTROL), true);
  view.setBigUint64(MESSAGE + 40, BigInt(controlBytes), true);
  return sys.sendmsg(fd, MESSAGE, 0) >= 0;
}

/** Sends one datagram from any source. False: the kernel had no room, or refused. */
function sendFrom(world, fd, { from, to, payload }) {
  const { bytes, view } = world;
  const length = IP_BYTES + UDP_BYTES + payload.length;
  bytes.fill(0, PACKET, PACKET + IP_BYTES + UDP_BYTES);
  bytes.set([0x45, 0, length >> 8, length & 255], PACKET);
  bytes.set([64, PROTOCOL_UDP], PACKET + 8);
  bytes.set(from.address, PACKET + 12);
  bytes.set(to.address, PACKET + 16);
  view.setUint16(PACKET + IP_BYTES, from.port);
  view.setUint16(PACKET + IP_BYTES + 2, to.port);
  // Without a checksum, which IPv4 allows.
  view.setUint16(PACKET + IP_BYTES + 4, UDP_BYTES + payload.length);
  bytes.set(payload, PACKET + IP_BYTES + UDP_BYTES);
  writeName(world, { address: to.address, port: 0 });
  return send(world, fd, length, 0);
}

/** Sends a run of datagrams of `stride` bytes, which arrives as one receive where GRO is on. */
function sendRun(world, fd, { to, run, stride }) {
  const { bytes, view } = world;
  bytes.set(run, PACKET);
  writeName(world, to);
  view.setBigUint64(CONTROL, 18n, true);
  view.setUint32(CONTROL + 8, SOL_UDP, true);
  view.setUint32(CONTROL + 12, UDP_SEGMENT, true);
  view.setUint16(CONTROL + 16, stride, true);
  return send(world, fd, run.length, 24);
}

/** The next datagram that came to this machine, or undefined. What the kernel has joined comes as one. */
function sniff({ sys, bytes, view }, fd) {
  for (;;) {
    const length = sys.read(fd, RECEIVED, 65_536);
    if (length < 0) return undefined;
    const at = RECEIVED;
    if (length < IP_BYTES + UDP_BYTES || bytes[at] !== 0x45 || bytes[at + 9] !== PROTOCOL_UDP) continue;
    const end = (address) => Uint8Array.from(bytes.subarray(address, address + 4));
    return {
      from: { address: end(at + 12), port: view.getUint16(at + IP_BYTES) },
      to: { address: end(at + 16), port: view.getUint16(at + IP_BYTES + 2) },
      payload: Uint8Array.from(bytes.subarray(at + IP_BYTES + UDP_BYTES, at + length)),
    };
  }
}
