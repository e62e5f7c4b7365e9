import { describe, expect, it } from "vitest";
import { flatten, type ValuedPrefix } from "../../../../bindings/table/range-set.ts";
import { contains, type IpAddress, type Prefix, prefix, toPrefix } from "../../../../src/base/index.ts";
import fc from "../../../lib/property.ts";
import { udp } from "../../plane/packets.ts";
import { createPair, NET_A, NOW, plainFrame } from "../../plane/pair.ts";

/** The readable twin: the longest prefix that holds the address; of equal ones the last. */
function longest(prefixes: readonly ValuedPrefix[], address: IpAddress): number {
  let best: ValuedPrefix | undefined;
  for (const entry of prefixes) {
    if (!contains(entry.prefix, address)) continue;
    if (best === undefined || entry.prefix.bits >= best.prefix.bits) best = entry;
  }
  return best?.value ?? 0;
}

/** Addresses in a small corner and at the ends, so that prefixes nest, touch and repeat. */
function addressOf(length: 4 | 16) {
  const byte = fc.constantFrom(0, 1, 2, 127, 128, 255);
  return fc.array(byte, { minLength: length, maxLength: length }).map((bytes) => Uint8Array.from(bytes));
}

function prefixOf(length: 4 | 16): fc.Arbitrary<Prefix> {
  return fc.tuple(addressOf(length), fc.nat(length * 8)).map(([address, bits]) => toPrefix(address, bits));
}

describe("prefix tables (WG-58)", () => {
  it.each([4, 16] as const)("flattened, give the longest prefix for every address (%i bytes)", (length) => {
    const entries = fc.array(
      fc
        .tuple(prefixOf(length), fc.integer({ min: 1, max: 9 }))
        .map(([prefix, value]) => ({ prefix, value })),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(entries, fc.array(addressOf(length), { minLength: 1 }), (prefixes, addresses) => {
        const { starts, values } = flatten(prefixes, length);
        const find = (address: IpAddress) => {
          const wanted = BigInt(`0x${Buffer.from(address).toString("hex")}`);
          const above = starts.findIndex((start) => start > wanted);
          return values[(above === -1 ? starts.length : above) - 1] ?? 0;
        };
        for (const address of addresses) expect(find(address)).toBe(longest(prefixes, address));
        // Sorted, distinct, and no two neighbours say the same: the plane's search relies on the first.
        for (let i = 1; i < starts.length; i++) {
          expect((starts[i] ?? 0n) > (starts[i - 1] ?? 0n)).toBe(true);
          expect(values[i]).not.toBe(values[i - 1]);
        }
      }),
      { numRuns: 300 },
    );
  });

  it.each([4, 6] as const)("are searched by the plane as the twin searches them (IPv%i)", (family) => {
    const length = family === 4 ? 4 : 16;
    const { a } = createPair();
    for (let slot = 4; slot < 10; slot++) a.execute({ kind: "add-peer", slot, peerId: slot });
    const entries = fc.array(
      fc
        .tuple(prefixOf(length), fc.integer({ min: 4, max: 9 }))
        .map(([prefix, value]) => ({ prefix, value })),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(entries, addressOf(length), (prefixes, destination) => {
        a.publish({
          routes: prefixes.map(({ prefix, value }) => ({ prefix, target: { kind: "peer", slot: value } })),
          permits: [],
        });
        const source = family === 4 ? NET_A.v4 : NET_A.v6;
        // A second apart, so that no refusal is too many; no peer has a path, so each names its slot.
        clock = (clock + 1000) as typeof NOW;
        a.drive.egress(clock, plainFrame(udp(new Uint8Array(8), { family, source, destination })));
        const [punt] = a.takePunts(10);
        const slot = punt?.reason === "refused" ? punt.slot : -1;
        expect(slot ?? 0).toBe(longest(prefixes, destination));
      }),
      { numRuns: 300 },
    );
  });

  it("hold thousands of prefixes", () => {
    const prefixes = Array.from({ length: 4000 }, (_, i) => ({
      prefix: toPrefix(new Uint8Array([10, i >> 8, i & 255, 0]), 24),
      value: 1 + i,
    }));
    const { starts } = flatten([...prefixes, { prefix: prefix("0.0.0.0/0"), value: 9999 }], 4);
    expect(starts).toHaveLength(4002);
  });
});

let clock = NOW;
