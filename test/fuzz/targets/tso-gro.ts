/**
 * Splitting and coalescing (TS-42): a frame of the TUN device is split, the segments are coalesced again, and both
 * are what the twins say. Later pieces of the input are more frames on the same state.
 */
import { CONSTANTS, OFFSETS, REASON_NAMES } from "../../../bindings/memory/index.ts";
import { concatBytes, equalBytes } from "../../../src/base/index.ts";
import { parsePacket } from "../../../src/packet/ip.ts";
import { createCoalescer } from "../../twin/plane/coalesce.ts";
import { encodeVnet, splitFrame, type VnetHeader } from "../../twin/plane/split.ts";
import { loadPacketModule, type PacketModule } from "../../unit/plane/load.ts";
import { counting, tcp, udp } from "../../unit/plane/packets.ts";
import { mendPacket } from "../packet-fields.ts";
import { claim, type FuzzTarget, joinPieces, piecesOf } from "../target.ts";

const LIMIT = 1420;
const VNET_BYTES = 10;
const GUARD = 0xa5;
const GUARD_BYTES = 64;
const ARENA_BYTES = 0x40000;
const FEATURES = { tcp: true, udp: true } as const;

export function createTarget(): FuzzTarget {
  const plane = loadPacketModule();
  return {
    seeds: [
      joinPieces(frame(tcp(counting(3000), { family: 4, flags: 0x18 }), { gsoType: 1, gsoBytes: 1000 })),
      joinPieces(frame(tcp(counting(900), { family: 6, flags: 0x19 }), { gsoType: 4, gsoBytes: 300 })),
      joinPieces(frame(udp(counting(900), { family: 4 }), { gsoType: 5, gsoBytes: 300 })),
      joinPieces(frame(udp(counting(90), { family: 6 }), { gsoType: 0, gsoBytes: 0 })),
      joinPieces(...[0, 100, 200].map((sequence) => frame(tcp(counting(100), { family: 4, sequence }), {}))),
    ],
    bytesMax: 8192,
    mend: (input) =>
      joinPieces(
        ...piecesOf(input, 8).map(({ kind, bytes }) => ({
          kind,
          bytes: concatBytes(bytes.subarray(0, VNET_BYTES), mendPacket(bytes.subarray(VNET_BYTES))),
        })),
      ),
    run(input) {
      const packets = piecesOf(input, 8).flatMap(({ kind, bytes }) =>
        splitBoth(plane, bytes, kind % 2 === 0 ? "plain" : "strict"),
      );
      coalesceBoth(plane, packets);
    },
  };
}

function frame(packet: Uint8Array, changes: Partial<VnetHeader>) {
  const isV6 = (packet[0] ?? 0) >> 4 === 6;
  const vnet = {
    needsChecksum: changes.gsoType !== undefined && changes.gsoType !== 0,
    ...{ gsoType: 0, headerBytes: 0, gsoBytes: 0 },
    checksumStart: isV6 ? 40 : 20,
    checksumOffset: packet[isV6 ? 6 : 9] === 6 ? 16 : 6,
    ...changes,
  };
  return { kind: 0, bytes: concatBytes(encodeVnet(vnet), packet) };
}

/** The segments of a frame, by plane and twin alike. */
function splitBoth(plane: PacketModule, frame: Uint8Array, mode: "plain" | "strict"): readonly Uint8Array[] {
  const { wasm, bytes, view, free, descriptor, split } = plane;
  const at = free + GUARD_BYTES;
  const end = at + frame.length;
  bytes.fill(GUARD, free, at).fill(GUARD, end, end + GUARD_BYTES);
  bytes.set(frame, at);
  const expected = splitFrame(frame, { limitBytes: LIMIT, mode });
  const count = wasm.splitBegin(at, frame.length, LIMIT, mode === "strict" ? 1 : 0, descriptor, split);
  if (!expected.ok) {
    claim(REASON_NAMES[-count] === expected.reason, `refused for the same reason: ${expected.reason}`);
    return [];
  }
  claim(count === expected.value.length, `as many segments as the twin: ${expected.value.length}`);
  const segments: Uint8Array[] = [];
  for (let packet = wasm.splitNext(split); packet !== 0; packet = wasm.splitNext(split)) {
    const length = view.getUint32(split + OFFSETS.split.segmentBytes, true);
    segments.push(bytes.slice(packet, packet + length));
    claim(equalBytes(segments.at(-1) ?? bytes, expected.value[segments.length - 1] ?? bytes), "same segment");
    // As the headers of the next are stamped there.
    bytes.fill(0xee, at, packet + length);
  }
  checkGuard(bytes, free, at, "before a frame");
  checkGuard(bytes, end, end + GUARD_BYTES, "behind a frame");
  return segments;
}

/** Everything that came is written, joined as the twin joins it. */
function coalesceBoth(plane: PacketModule, packets: readonly Uint8Array[]): void {
  const { wasm, bytes, view, free, descriptor, coalesce: state } = plane;
  const arena = free + GUARD_BYTES;
  bytes.fill(GUARD, free, arena).fill(GUARD, arena + ARENA_BYTES, arena + ARENA_BYTES + GUARD_BYTES);
  wasm.coalesceInit(state, arena, ARENA_BYTES, CONSTANTS.COALESCE_TCP | CONSTANTS.COALESCE_UDP);
  const twin = createCoalescer(FEATURES);
  const written: Uint8Array[] = [];
  const at = OFFSETS.coalesce;
  const field = (offset: number): number => view.getUint32(state + offset, true);
  const write = (): void => {
    for (let i = 0; i < field(at.count); i++) {
      const address = field(at.listAddress + 4 * i);
      written.push(bytes.slice(address, address + field(at.listBytes + 4 * i)));
    }
    wasm.coalesceBegin(state);
  };
  for (const packet of packets) {
    if (!parsePacket(packet, { limitBytes: 0xffff, mode: "plain" }).ok) continue;
    let target = wasm.coalesceTarget(state, packet.length);
    if (target === 0) {
      write();
      target = wasm.coalesceTarget(state, packet.length);
    }
    bytes.set(packet, target);
    claim(wasm.validate(target, packet.length, 0xffff, 0, descriptor) === packet.length, "still valid");
    wasm.coalesceAccept(state, descriptor);
    twin.accept(packet);
  }
  wasm.coalesceClose(state);
  write();
  twin.close();
  claim(written.length === twin.frames.length, `as many frames as the twin: ${twin.frames.length}`);
  for (const [i, { bytes: expected }] of twin.frames.entries()) {
    claim(equalBytes(written[i] ?? bytes, expected), `frame ${i} is the twin's`);
  }
  checkGuard(bytes, free, arena, "before the arena");
  checkGuard(bytes, arena + ARENA_BYTES, arena + ARENA_BYTES + GUARD_BYTES, "behind the arena");
}

function checkGuard(bytes: Uint8Array, from: number, to: number, where: string): void {
  for (let at = from; at < to; at++) claim(bytes[at] === GUARD, `nothing is written ${where}`);
}
