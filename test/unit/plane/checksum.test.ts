import { describe, expect, it } from "vitest";
import { checksumAdd, checksumFinish, pseudoHeaderSum } from "../../../src/packet/checksum.ts";
import fc from "../../lib/property.ts";
import { loadPacketModule } from "./load.ts";
import { tcp, udp } from "./packets.ts";

const { wasm, bytes, end, free } = loadPacketModule();

const swapped = (value: number): number => ((value & 0xff) << 8) | (value >> 8);

/** The folded sum in network order, over bytes at the very end of memory. */
function planeSum(data: Uint8Array): number {
  bytes.set(data, end - data.length);
  return swapped(wasm.fold(wasm.sum(end - data.length, data.length)));
}

describe("ones' complement sums", () => {
  it("RFC 1071 §3: sums the example of the RFC", () => {
    expect(planeSum(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7))).toBe(0xddf2);
  });

  it("D-6: the vector sum agrees with its twin for every length and reads nothing beyond", () => {
    const data = Uint8Array.from({ length: 300 }, (_, i) => (i * 151 + 13) & 0xff);
    for (let length = 0; length <= 300; length++) {
      expect(planeSum(data.subarray(0, length))).toBe(checksumAdd(data.subarray(0, length)));
    }
  });

  it("D-6: the vector sum agrees with its twin on random bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000, size: "max" }), (data) => {
        expect(planeSum(data)).toBe(checksumAdd(data));
      }),
      { numRuns: 300 },
    );
  });

  it("sums 262,144 bytes of ones without overflow", () => {
    bytes.fill(0xff, free, free + 262_144);
    expect(wasm.sum(free, 262_144)).toBe(131_072n * 0xffffn);
    bytes.fill(0, free, free + 262_144);
  });

  it.each([
    [0n, 0],
    [0xffffn, 0xffff],
    [0x10000n, 1],
    [0x1ffffn, 1],
    [0xffff_ffffn, 0xffff],
    [0x1_0000_0000n, 1],
    [0xffff_ffff_ffff_ffffn, 0xffff],
    [0xffff_ffff_fffe_ffffn, 0xfffe],
  ])("folds %i", (sum, folded) => {
    expect(wasm.fold(sum)).toBe(folded);
  });

  it.each([
    [4 as const, 6],
    [6 as const, 6],
    [4 as const, 17],
    [6 as const, 17],
  ])("RFC 9293 §3.1, RFC 8200 §8.1: the pseudo-header sum in IPv%i of protocol %i", (family, protocol) => {
    const source = Uint8Array.from({ length: family === 4 ? 4 : 16 }, (_, i) => 200 + i);
    const destination = source.map((byte) => byte ^ 0x5a);
    const packet = (protocol === 6 ? tcp : udp)(Uint8Array.of(1, 2, 3), { family, source, destination });
    bytes.set(packet, free);
    const sum = wasm.pseudoSum(free, family === 6 ? 1 : 0, protocol, 1234);
    const twin = pseudoHeaderSum({ source, destination, protocol, lengthBytes: 1234 });
    expect(swapped(wasm.fold(sum))).toBe(twin % 0xffff === 0 ? twin : twin % 0xffff);
  });

  it("TN-9: updates the checksums of the example", () => {
    // 100.96.0.1 becomes 198.51.100.7, and port 53780 becomes 53781.
    bytes.set([100, 96, 0, 1, 198, 51, 100, 7, 0xd2, 0x14, 0xd2, 0x15], free);
    const updated = (checksum: number, old: bigint, fresh: bigint) =>
      swapped(wasm.updated(swapped(checksum), old, fresh));
    const header = updated(0x0407, wasm.sum(free, 4), wasm.sum(free + 4, 4));
    expect(header).toBe(0x3e2d);
    const oldSum = wasm.sum(free, 4) + wasm.sum(free + 8, 2);
    expect(updated(0xfb58, oldSum, wasm.sum(free + 4, 4) + wasm.sum(free + 10, 2))).toBe(0x357e);
  });

  it("TN-9: an updated checksum is right exactly if it was right before", () => {
    const even = fc
      .uint8Array({ minLength: 2, maxLength: 40, size: "max" })
      .map((d) => d.subarray(0, d.length & ~1));
    fc.assert(
      fc.property(even, even, fc.nat(65535), (data, fresh, error) => {
        const replaced = fresh.subarray(0, Math.min(fresh.length, data.length));
        const before = checksumFinish(checksumAdd(data)) ^ error;
        const after = Uint8Array.from(data);
        after.set(replaced, 0);
        bytes.set(data, free);
        bytes.set(after, free + 64);
        const old = wasm.sum(free, replaced.length);
        const checksum = swapped(wasm.updated(swapped(before), old, wasm.sum(free + 64, replaced.length)));
        const sumBefore = (checksumAdd(data) + before) % 0xffff;
        expect((checksumAdd(after) + checksum) % 0xffff).toBe(sumBefore);
      }),
      { numRuns: 300 },
    );
  });
});

describe("explicit congestion notification", () => {
  const CE = 3;
  const families = [4, 6] as const;

  it.each(families)("TN-10: the ECN field of an IPv%i packet", (family) => {
    for (let tos = 0; tos < 256; tos++) {
      bytes.set(udp(Uint8Array.of(1), { family, tos, flowLabel: 0xfffff }), free);
      expect(wasm.innerEcn(free)).toBe(tos & 3);
    }
  });

  it.each(families)(
    "TN-11, WG-56: only outer CE changes an ECT packet of IPv%i, and nothing else",
    (family) => {
      for (let tos = 0; tos < 256; tos++) {
        for (let outer = 0; outer < 4; outer++) {
          const packet = udp(Uint8Array.of(1), { family, tos, flowLabel: 0xabcde });
          bytes.set(packet, free);
          wasm.mergeEcn(free, outer);
          const isMarked = outer === CE && ((tos & 3) === 1 || (tos & 3) === 2);
          const expected = isMarked
            ? udp(Uint8Array.of(1), { family, tos: tos | CE, flowLabel: 0xabcde })
            : packet;
          expect(bytes.slice(free, free + packet.length)).toEqual(expected);
        }
      }
    },
  );
});
