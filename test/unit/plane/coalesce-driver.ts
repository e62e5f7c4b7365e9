/** Drives the plane's coalescing like the ingress worker does, for the tests. */
import { expect } from "vitest";
import { CONSTANTS, OFFSETS } from "../../../bindings/memory/index.ts";
import type { Features, Frame } from "../../twin/plane/coalesce.ts";
import { loadPacketModule } from "./load.ts";

const GUARD = 0x5a;
const GUARD_BYTES = 256;

export interface Driver {
  /** Opens a datagram with this packet, padded with zeros to 16 bytes, and accepts it. */
  accept(packet: Uint8Array): void;
  /** Opens a datagram that turns out to be forged: its noise must leave no trace. */
  discard(noise: Uint8Array): void;
  /** Ends the batch: the finished frames are written, the one under construction stays. */
  endBatch(): void;
  close(): void;
  /** What has been written so far. */
  readonly written: Frame[];
  /** How often the arena was full in the middle of a batch. */
  readonly fullCount: () => number;
}

export function createDriver(features: Features, arenaBytes = 0x80000): Driver {
  const plane = loadPacketModule();
  const { wasm, bytes, view, coalesce: g, descriptor } = plane;
  const arena = plane.free + GUARD_BYTES;
  const written: Frame[] = [];
  let fullCount = 0;
  bytes.fill(GUARD, plane.free, arena + arenaBytes + GUARD_BYTES);
  const flags = (features.tcp ? CONSTANTS.COALESCE_TCP : 0) | (features.udp ? CONSTANTS.COALESCE_UDP : 0);
  wasm.coalesceInit(g, arena, arenaBytes, flags);

  const field = (offset: number): number => view.getUint32(g + offset, true);
  const writeFrames = (): void => {
    const at = OFFSETS.coalesce;
    for (let i = 0; i < field(at.count); i++) {
      const address = field(at.listAddress + 4 * i);
      const length = field(at.listBytes + 4 * i);
      written.push({
        bytes: bytes.slice(address, address + length),
        segments: field(at.listSegments + 4 * i),
      });
      // What has been written is nobody's any more.
      bytes.fill(0xcc, address, address + length);
    }
    wasm.coalesceBegin(g);
    expect(bytes.slice(plane.free, arena).every((byte) => byte === GUARD)).toBe(true);
    const end = arena + arenaBytes;
    expect(bytes.slice(end, end + GUARD_BYTES).every((byte) => byte === GUARD)).toBe(true);
  };
  const open = (plain: Uint8Array): number => {
    let target = wasm.coalesceTarget(g, plain.length);
    if (target === 0) {
      fullCount++;
      writeFrames();
      target = wasm.coalesceTarget(g, plain.length);
    }
    expect(target).not.toBe(0);
    bytes.set(plain, target);
    return target;
  };
  return {
    written,
    fullCount: () => fullCount,
    accept(packet) {
      const plain = new Uint8Array((packet.length + 15) & ~15);
      plain.set(packet);
      const target = open(plain);
      const total = wasm.validate(target, plain.length, 65_535, 0, descriptor);
      expect(total).toBe(packet.length);
      const before = field(OFFSETS.coalesce.count);
      expect(wasm.coalesceAccept(g, descriptor)).toBe(field(OFFSETS.coalesce.count));
      expect(field(OFFSETS.coalesce.count) - before).toBeLessThanOrEqual(2);
    },
    discard(noise) {
      open(noise);
      wasm.coalesceDiscard(g);
    },
    endBatch: writeFrames,
    close() {
      wasm.coalesceClose(g);
      writeFrames();
    },
  };
}
