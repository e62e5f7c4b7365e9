/** Checksums of what comes out of the tunnel: the plane against its twin, and what the plane counts. */

import { describe, expect, it } from "vitest";
import { parsePacket } from "../../../src/packet/ip.ts";
import fc from "../../lib/property.ts";
import { sealMessage } from "../../twin/plane/message.ts";
import { checksumsHold } from "../../twin/plane/verify.ts";
import { loadPacketModule } from "./load.ts";
import { counting, hostilePacket, ipPacket, tcp, udp } from "./packets.ts";
import { createPair, NET_A, NET_B, receiveOne, sessionKeys } from "./pair.ts";

const plane = loadPacketModule();
const ROUTES = {
  4: { family: 4, source: NET_A.v4, destination: NET_B.v4 },
  6: { family: 6, source: NET_A.v6, destination: NET_B.v6 },
} as const;

/** The plane's verdict with the packet at the very end of memory; `undefined` if validation refuses. */
function holds(packet: Uint8Array): boolean | undefined {
  const at = plane.end - packet.length;
  plane.bytes.set(packet, at);
  const { wasm, descriptor } = plane;
  if (wasm.validate(at, packet.length, 65_535, 0, descriptor) < 0) return undefined;
  return wasm.checksumsHold(at, descriptor) !== 0;
}

function holdsByTwin(packet: Uint8Array): boolean | undefined {
  const found = parsePacket(packet, { limitBytes: 65_535, mode: "plain" });
  return found.ok ? checksumsHold(packet, found.value) : undefined;
}

function changed(packet: Uint8Array, at: number, xor = 1): Uint8Array {
  const copy = packet.slice();
  copy[at] = (copy[at] ?? 0) ^ xor;
  return copy;
}

describe("checksums of packets out of the tunnel", () => {
  it.each([4, 6] as const)(
    "PG-6: IPv%i: what is right holds; a bit of header or data breaks it",
    (family) => {
      const headerBytes = family === 4 ? 20 : 40;
      for (const packet of [tcp(counting(31), ROUTES[family]), udp(counting(31), ROUTES[family])]) {
        expect(holds(packet)).toBe(true);
        expect(holds(changed(packet, packet.length - 1))).toBe(false);
        expect(holds(changed(packet, headerBytes))).toBe(false);
        // An address is part of the pseudo-header.
        expect(holds(changed(packet, headerBytes - 1))).toBe(false);
      }
    },
  );

  it("PG-6: IPv4's own header; UDP without checksum only over IPv4", () => {
    const packet = udp(counting(8), ROUTES[4]);
    expect(holds(changed(packet, 8))).toBe(false);
    const without = (family: 4 | 6): Uint8Array => {
      const bytes = udp(counting(8), ROUTES[family]);
      bytes.fill(0, (family === 4 ? 20 : 40) + 6, (family === 4 ? 20 : 40) + 8);
      return bytes;
    };
    expect(holds(without(4))).toBe(true);
    expect(holds(without(6))).toBe(false);
  });

  it("PG-6: other protocols have no checksum that is looked at", () => {
    expect(holds(ipPacket(132, counting(40), ROUTES[6]))).toBe(true);
  });

  it("D-4: the plane says what its twin says, whatever the packet", () => {
    const good = fc
      .tuple(
        fc.constantFrom(4 as const, 6 as const),
        fc.constantFrom(tcp, udp),
        fc.integer({ min: 0, max: 200 }),
      )
      .map(([family, make, length]) => make(counting(length), ROUTES[family]));
    const bent = fc
      .tuple(good, fc.nat(), fc.nat({ max: 255 }))
      .map(([packet, at, xor]) => changed(packet, at % packet.length, xor));
    fc.assert(
      fc.property(fc.oneof(good, bent, hostilePacket), (packet) => {
        expect(holds(packet)).toBe(holdsByTwin(packet));
      }),
      { numRuns: 3_000 },
    );
  });

  it("PG-6: a wrong one is counted when asked for, and let in all the same", () => {
    const right = udp(counting(40), ROUTES[4]);
    const wrong = changed(right, right.length - 1);
    const counted = (validatesChecksums: boolean) => {
      const { b } = createPair({ validatesChecksums });
      const { remote, sendKey } = sessionKeys("a");
      const frames = [right, wrong].flatMap((packet, i) =>
        receiveOne(b, sealMessage(sendKey, remote, BigInt(i), packet)),
      );
      expect(b.counters().ingress.counters.packets_passed).toBe(2);
      return { mismatches: b.counters().ingress.counters.checksum_mismatch, frames: frames.length };
    };
    expect(counted(true)).toEqual({ mismatches: 1, frames: 2 });
    expect(counted(false)).toEqual({ mismatches: 0, frames: 2 });
  });
});
