/** Drives the plane's splitting like the egress worker does, for the tests. */
import { expect } from "vitest";
import { OFFSETS, REASON_NAMES } from "../../../bindings/memory/index.ts";
import type { PacketLimits } from "../../../src/packet/ip.ts";
import { loadPacketModule, type PacketModule } from "./load.ts";

export const MODES = { plain: 0, strict: 1 } as const;

const GUARD = 0xa5;
const GUARD_BYTES = 64;

export interface Splitter {
  readonly plane: PacketModule;
  /** The segments of a frame, or why there are none. */
  split(
    frame: Uint8Array,
    limits: PacketLimits,
  ):
    | { readonly ok: true; readonly value: readonly Uint8Array[] }
    | { readonly ok: false; readonly reason: string | undefined };
}

/**
 * Each segment is taken before the next is asked for, and what has been taken is overwritten, as if by
 * the headers that are stamped there. The bytes around the frame hold a pattern that must survive.
 */
export function createSplitter(): Splitter {
  const plane = loadPacketModule();
  const { wasm, bytes, view } = plane;
  return {
    plane,
    split(frame, { limitBytes, mode }) {
      const at = plane.free + GUARD_BYTES;
      const end = at + frame.length;
      bytes.fill(GUARD, plane.free, end + GUARD_BYTES);
      bytes.set(frame, at);
      const count = wasm.splitBegin(at, frame.length, limitBytes, MODES[mode], plane.descriptor, plane.split);
      if (count < 0) return { ok: false, reason: REASON_NAMES[-count] };
      const segments: Uint8Array[] = [];
      for (let packet = wasm.splitNext(plane.split); packet !== 0; packet = wasm.splitNext(plane.split)) {
        const length = view.getUint32(plane.split + OFFSETS.split.segmentBytes, true);
        segments.push(bytes.slice(packet, packet + length));
        bytes.fill(0xee, at, packet + length);
      }
      expect(segments).toHaveLength(count);
      expect(wasm.splitNext(plane.split)).toBe(0);
      expect(bytes.slice(plane.free, at).every((byte) => byte === GUARD)).toBe(true);
      expect(bytes.slice(end, end + GUARD_BYTES).every((byte) => byte === GUARD)).toBe(true);
      return { ok: true, value: segments };
    },
  };
}
