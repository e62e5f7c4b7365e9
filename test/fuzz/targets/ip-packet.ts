/**
 * An IP packet, as anybody sends it: validated, read by every reader, rewritten, refused. The plane's code lies at the
 * very end of its memory, where a read too far traps, and is compared with control's, which is its twin.
 */
import { CONSTANTS, REASON_NAMES } from "../../../bindings/memory/index.ts";
import { concatBytes, equalBytes, ip } from "../../../src/base/index.ts";
import {
  isControlEvent,
  isIcmpError,
  isSyn,
  type PacketDescriptor,
  parseControlEvent,
  parseIcmpQuote,
  parsePacket,
  translated,
  viewPacket,
} from "../../../src/packet/index.ts";
import { encodeRefusal, encodeTooBig } from "../../../src/packet/refusal.ts";
import { withLowerMss } from "../../twin/plane/mss.ts";
import { checksumsHold } from "../../twin/plane/verify.ts";
import { loadPacketModule, type PacketModule, readDescriptor } from "../../unit/plane/load.ts";
import { counting, ipPacket, tcp, udp } from "../../unit/plane/packets.ts";
import { mendPacket } from "../packet-fields.ts";
import { claim, type FuzzTarget } from "../target.ts";

const PACKET_BYTES_MAX = 1500;
const MTU = 1280;
const TO = { 4: ip("10.9.8.7"), 6: ip("fd00::9:8:7") } as const;
const GUARD = 0xa5;
const GUARD_BYTES = 64;

export function createTarget(): FuzzTarget {
  const plane = loadPacketModule();
  return {
    seeds: [
      tcp(counting(40), { family: 4, flags: 0x18 }),
      tcp(new Uint8Array(), { family: 6, flags: 2, tcpOptions: Uint8Array.of(2, 4, 5, 0xb4, 1, 3, 3, 7) }),
      udp(counting(20), { family: 4, options: Uint8Array.of(1, 1, 1, 0) }),
      udp(counting(20), { family: 6 }),
      icmpError(4, tcp(counting(8), { family: 4 })),
      icmpError(6, udp(counting(8), { family: 6 })),
    ],
    words: [
      Uint8Array.of(0x45, 0),
      Uint8Array.of(0x60, 0, 0, 0),
      ...[0, 6, 17, 43, 44, 51, 58, 60].map(byte),
    ],
    bytesMax: PACKET_BYTES_MAX + 20,
    mend: mendPacket,
    run(packet) {
      compare(plane, packet, "plain");
      const found = compare(plane, packet, "strict");
      if (found === undefined) return;
      const exact = packet.subarray(0, found.totalBytes);
      const view = viewPacket(exact);
      claim(view.protocol === found.protocol || found.isFragment, "views agree");
      isSyn(view);
      parseIcmpQuote(exact, found);
      if (isControlEvent(exact)) parseControlEvent(exact);
      rewrite(plane, exact, found);
      for (const made of [encodeRefusal(exact, "prohibited"), encodeTooBig(exact, MTU)]) {
        const isValid = made === undefined || parsePacket(made, { limitBytes: 1500, mode: "strict" }).ok;
        claim(isValid, "an error that we make is a valid packet");
      }
    },
  };
}

/** Puts the packet at the end of memory, behind a guard; returns where it is. */
function place({ bytes, end }: PacketModule, packet: Uint8Array): number {
  const at = end - packet.length;
  bytes.fill(GUARD, at - GUARD_BYTES, at);
  bytes.set(packet, at);
  return at;
}

function checkGuard({ bytes }: PacketModule, at: number): void {
  for (let i = at - GUARD_BYTES; i < at; i++) claim(bytes[i] === GUARD, "nothing is written before a packet");
}

function compare(
  plane: PacketModule,
  packet: Uint8Array,
  mode: "plain" | "strict",
): PacketDescriptor | undefined {
  const { wasm, bytes, descriptor, end } = plane;
  const at = place(plane, packet);
  const limits = { limitBytes: PACKET_BYTES_MAX, mode };
  const result = wasm.validate(at, packet.length, PACKET_BYTES_MAX, mode === "strict" ? 1 : 0, descriptor);
  const found = parsePacket(packet, limits);
  if (!found.ok) {
    claim(REASON_NAMES[-result] === found.reason, `refused for the same reason: ${found.reason}`);
    return undefined;
  }
  claim(result === found.value.totalBytes, "validation agrees with its twin");
  const { PACKET_FLAG_PORTS, PACKET_FLAG_FRAGMENT } = CONSTANTS;
  const read = readDescriptor(plane, PACKET_FLAG_PORTS, PACKET_FLAG_FRAGMENT);
  claim(JSON.stringify(read) === JSON.stringify(inOrder(found.value)), "so does what is found");
  claim((wasm.isIcmpError(at, descriptor) !== 0) === isIcmpError(packet, found.value), "ICMP errors");
  wasm.icmpReason(at, descriptor);
  claim((wasm.checksumsHold(at, descriptor) !== 0) === checksumsHold(packet, found.value), "checksums");
  if (wasm.isSyn(at, descriptor) !== 0) wasm.clampMss(at, descriptor, MTU);
  claim(equalBytes(bytes.subarray(at, end), withLowerMss(packet, found.value, MTU)), "lower MSS");
  wasm.mergeEcn(at, wasm.innerEcn(at) ^ 3);
  checkGuard(plane, at);
  return found.value;
}

function rewrite(plane: PacketModule, packet: Uint8Array, found: PacketDescriptor): void {
  const { wasm, bytes, descriptor, free } = plane;
  const address = TO[found.family];
  bytes.fill(0, free, free + 16).set(address, free);
  for (const field of ["source", "destination"] as const) {
    const at = place(plane, packet);
    wasm.validate(at, packet.length, PACKET_BYTES_MAX, 1, descriptor);
    if (field === "source") wasm.rewriteSource(at, descriptor, free, 0xabcd);
    else wasm.rewriteDestination(at, descriptor, free, 0xabcd);
    checkGuard(plane, at);
    const made = translated(packet, found, { field, address, port: 0xabcd });
    claim(equalBytes(bytes.subarray(at, at + found.totalBytes), made), `translated ${field}`);
    const again = parsePacket(made, { limitBytes: PACKET_BYTES_MAX, mode: "strict" });
    claim(again.ok && viewPacket(made)[field].every((byte, i) => byte === address[i]), "valid afterwards");
  }
}

function byte(value: number): Uint8Array {
  return Uint8Array.of(value);
}

/** "Unreachable" about a packet. */
function icmpError(family: 4 | 6, about: Uint8Array): Uint8Array {
  const [protocol, type] = family === 4 ? [1, 3] : [58, 1];
  return mendPacket(
    ipPacket(protocol, concatBytes(Uint8Array.of(type, 1, 0, 0, 0, 0, 0, 0), about), { family }),
  );
}

/** As `readDescriptor` has it. */
function inOrder(found: PacketDescriptor): PacketDescriptor {
  const { family, protocol, transportOffset, transportBytes, totalBytes, isFragment, ports } = found;
  return {
    ...{ family, protocol, transportOffset, transportBytes, totalBytes, isFragment },
    ...(ports && { ports }),
  };
}
