/**
 * Puts IP packets of any shape into a network device, as no IP stack would make them: what a malicious
 * owner of a WireGuard peer can do. Linux, root; made of our own bindings, so build first.
 *
 *   node inject.mjs DEVICE HEX…
 *   node inject.mjs by-routes HEX…      IPv4 as the host sends it, but for what the packet says itself
 */
import { readFileSync } from "node:fs";
import { openSysCalls } from "../../build/bindings/sys/index.js";

const AF_INET = 2;
const AF_PACKET = 17;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const IPPROTO_RAW = 255;
const ETH_P_IP = 0x0800;
const ETH_P_IPV6 = 0x86dd;
const LINK_NAME_BYTES = 20;
const NAME_BYTES = 16;
/** Where things lie in the memory that the calls see. */
const NAME = 0;
const VECTOR = 64;
const MESSAGE = 128;
const PACKET = 1024;

const [device = "", ...packets] = process.argv.slice(2);
const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
const sys = openSysCalls(memory);
const bytes = new Uint8Array(memory.buffer);
const view = new DataView(memory.buffer);
const isRouted = device === "by-routes";
const socket = isRouted ? sys.socket(AF_INET, SOCK_RAW, IPPROTO_RAW) : sys.socket(AF_PACKET, SOCK_DGRAM, 0);
if (socket < 0) throw new Error(`packet socket: errno ${sys.errno()}`);

/** Where the packet goes: struct sockaddr_in, or struct sockaddr_ll. */
function writeName(packet) {
  if (isRouted) {
    view.setUint16(NAME, AF_INET, true);
    bytes.set(packet.subarray(16, 20), NAME + 4);
    return NAME_BYTES;
  }
  view.setUint16(NAME, AF_PACKET, true);
  // The protocol is what the header claims, or IPv4 where it claims nothing.
  view.setUint16(NAME + 2, packet[0] >> 4 === 6 ? ETH_P_IPV6 : ETH_P_IP);
  view.setInt32(NAME + 4, Number(readFileSync(`/sys/class/net/${device}/ifindex`, "utf8")), true);
  return LINK_NAME_BYTES;
}

for (const hex of packets) {
  const packet = Buffer.from(hex, "hex");
  bytes.set(packet, PACKET);
  view.setBigUint64(VECTOR, sys.base + BigInt(PACKET), true);
  view.setBigUint64(VECTOR + 8, BigInt(packet.length), true);
  view.setBigUint64(MESSAGE, sys.base + BigInt(NAME), true);
  view.setUint32(MESSAGE + 8, writeName(packet), true);
  view.setBigUint64(MESSAGE + 16, sys.base + BigInt(VECTOR), true);
  view.setBigUint64(MESSAGE + 24, 1n, true);
  if (sys.sendmsg(socket, MESSAGE, 0) < 0) throw new Error(`send: errno ${sys.errno()}`);
}
sys.close(socket);
