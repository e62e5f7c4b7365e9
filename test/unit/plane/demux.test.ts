import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { copyOf, fromHex, ip } from "../../../src/base/index.ts";
import { isStunShaped } from "../../../src/stun/index.ts";
import fc from "../../lib/property.ts";
import { expectLaw } from "./law.ts";
import { B, createPair, NOW } from "./pair.ts";

interface Vector {
  readonly name: string;
  readonly head: string;
  readonly bytes: number;
  readonly port: number;
  readonly kind: string;
  readonly strip?: number;
}

const RELAY = { address: { address: ip("192.0.2.1"), port: 3478 }, channel: 0x4abc };
const FILE = new URL("../../vectors/demux.json", import.meta.url);
const { vectors }: { vectors: readonly Vector[] } = JSON.parse(readFileSync(FILE, "utf8"));

function datagramOf({ head, bytes }: Vector): Uint8Array {
  const datagram = new Uint8Array(bytes).fill(0x5a);
  datagram.set((fromHex(head) ?? new Uint8Array()).subarray(0, bytes));
  return datagram;
}

describe("what a datagram is (D-9, SN-98 to SN-102, SN-128)", () => {
  it.each(vectors)("takes $name for $kind", (vector) => {
    const { b } = createPair({ relay: RELAY });
    const bytes = datagramOf(vector);
    const from = { address: ip("192.0.2.1"), port: vector.port };
    b.drive.ingress(NOW, { from, local: B.address, bytes });
    const { drops } = b.counters().ingress;
    if (vector.kind.startsWith("wg_")) {
      expect(drops).toEqual({ [vector.kind]: 1 });
      expect(b.takeEvents(10)).toEqual([]);
    } else {
      expect(drops).toEqual({});
      const strip = vector.strip ?? 0;
      const length = strip === 0 ? bytes.length : new DataView(bytes.buffer).getUint16(2);
      const event = {
        kind: vector.kind,
        bytes: copyOf(bytes.subarray(strip, strip + length)),
        from,
        local: { address: B.address, port: 0 },
      };
      const relayed = { relay: from, channel: RELAY.channel };
      expect(b.takeEvents(10)).toEqual([strip === 0 ? event : { ...event, relayed }]);
    }
    expectLaw(b);
  });

  it("SN-1: agrees with control about what is STUN-shaped", () => {
    const { b } = createPair();
    const nearly = fc
      .record({
        type: fc.constantFrom(0x0001, 0x0101, 0x4001, 0x0400, 0xc001),
        length: fc.constantFrom(0, 4, 8, 10, 12),
        isCookie: fc.constantFrom(true, true, false),
        bytes: fc.nat(36),
      })
      .map(({ type, length, isCookie, bytes }) => {
        const datagram = new Uint8Array(36);
        const view = new DataView(datagram.buffer);
        view.setUint16(0, type);
        view.setUint16(2, length);
        view.setUint32(4, isCookie ? 0x2112a442 : 0x12345678);
        return datagram.slice(0, bytes);
      });
    fc.assert(
      fc.property(nearly, (bytes) => {
        b.drive.ingress(NOW, { from: B, local: B.address, bytes });
        const isStun = b.takeEvents(10).some(({ kind }) => kind === "stun");
        expect(isStun).toBe(isStunShaped(bytes));
      }),
      { numRuns: 300 },
    );
  });

  it("SN-99: only port 3478 is a relay's, whatever a path says", () => {
    const { b } = createPair({ relay: { ...RELAY, address: { ...RELAY.address, port: 3480 } } });
    const bytes = fromHex(`4abc0020${"04000000".padEnd(64, "0")}`) ?? new Uint8Array();
    b.drive.ingress(NOW, { from: { ...RELAY.address, port: 3480 }, local: B.address, bytes });
    expect(b.takeEvents(10).map(({ kind }) => kind)).toEqual(["other"]);
  });

  it("SN-128: forgets a relay that is told no more, and knows a new one", () => {
    const { b } = createPair({ relay: RELAY });
    const bytes = fromHex(`4abc0020${"04000000".padEnd(64, "0")}`) ?? new Uint8Array();
    const from = RELAY.address;
    b.drive.ingress(NOW, { from, local: B.address, bytes });
    expect(b.counters().ingress.drops).toEqual({ wg_unknown_index: 1 });
    b.execute({ kind: "set-relays", relays: [{ ...RELAY.address, address: ip("192.0.2.2") }] });
    b.drive.ingress(NOW, { from, local: B.address, bytes });
    expect(b.takeEvents(10).map(({ kind }) => kind)).toEqual(["other"]);
    b.drive.ingress(NOW, { from: { ...from, address: ip("192.0.2.2") }, local: B.address, bytes });
    expect(b.counters().ingress.drops).toEqual({ wg_unknown_index: 2 });
  });
});
