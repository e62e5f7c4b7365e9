/**
 * The simulated world's datagrams as a file in the format of pcap, for Wireshark or tcpdump:
 *
 *     POSTERN_PCAP=FOLDER npx vitest run test/sim/connect.test.ts -t "a name"
 *
 * One file per world, `world-SEED-N.pcap`, N counting the worlds of the process. Time stamps are virtual.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { SocketAddress } from "../../src/base/index.ts";

const LINKTYPE_RAW = 101;
const PROTOCOL_UDP = 17;
const UDP_HEADER_BYTES = 8;
const HOPS = 64;

export interface Capture {
  record(atUs: number, from: SocketAddress, to: SocketAddress, payload: Uint8Array): void;
}

let worlds = 0;

/** `undefined` unless `POSTERN_PCAP` names a folder. */
export function openCapture(seed: number, folder = process.env["POSTERN_PCAP"]): Capture | undefined {
  if (folder === undefined || folder === "") return undefined;
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `world-${seed}-${++worlds}.pcap`);
  writeFileSync(path, fileHeader());
  return {
    record(atUs, from, to, payload) {
      const packet = from.address.length === 4 ? ipv4(from, to, payload) : ipv6(from, to, payload);
      writeFileSync(path, Buffer.concat([recordHeader(atUs, packet.length), packet]), { flag: "a" });
    },
  };
}

function fileHeader(): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(65_535, 16);
  header.writeUInt32LE(LINKTYPE_RAW, 20);
  return header;
}

function recordHeader(atUs: number, bytes: number): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32LE(Math.floor(atUs / 1e6), 0);
  header.writeUInt32LE(atUs % 1e6, 4);
  header.writeUInt32LE(bytes, 8);
  header.writeUInt32LE(bytes, 12);
  return header;
}

/** Checksums stay zero: nothing in the world computes them, and readers do not insist. */
function udp(from: SocketAddress, to: SocketAddress, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(UDP_HEADER_BYTES);
  header.writeUInt16BE(from.port, 0);
  header.writeUInt16BE(to.port, 2);
  header.writeUInt16BE(UDP_HEADER_BYTES + payload.length, 4);
  return Buffer.concat([header, payload]);
}

function ipv4(from: SocketAddress, to: SocketAddress, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(12);
  header[0] = 0x45;
  header.writeUInt16BE(20 + UDP_HEADER_BYTES + payload.length, 2);
  header[8] = HOPS;
  header[9] = PROTOCOL_UDP;
  return Buffer.concat([header, from.address, to.address, udp(from, to, payload)]);
}

function ipv6(from: SocketAddress, to: SocketAddress, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(8);
  header[0] = 0x60;
  header.writeUInt16BE(UDP_HEADER_BYTES + payload.length, 4);
  header[6] = PROTOCOL_UDP;
  header[7] = HOPS;
  return Buffer.concat([header, from.address, to.address, udp(from, to, payload)]);
}
