import { describe, expect, it } from "vitest";
import { contains, ip, type Prefix, prefix, toPrefix } from "../../../src/base/index.ts";
import { type AddressRange, differenceOf, toIntervals, toRanges } from "../../../src/host/address-range.ts";
import fc from "../../lib/property.ts";

const v4 = (...texts: string[]) => toRanges(texts.map(prefix), 4);
const isWithin = (ranges: readonly AddressRange[], number: bigint): boolean =>
  ranges.some(({ start, end }) => number >= start && number < end);
/** Few enough that they meet often. */
const networks = fc.array(
  fc
    .tuple(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 0, max: 8 }))
    .map(([byte, bits]): Prefix => toPrefix(new Uint8Array([10, 0, 0, byte]), 24 + bits)),
  { maxLength: 12 },
);

describe("networks as ranges", () => {
  it("PG-154: what overlaps or touches becomes one, whatever the order; families stay apart", () => {
    expect(v4("172.21.0.0/16", "172.20.3.0/24", "172.20.0.0/16")).toEqual(v4("172.20.0.0/15"));
    expect(v4("172.20.0.0/16", "172.22.0.0/16")).toHaveLength(2);
    expect(toRanges([prefix("fd20::/64"), prefix("172.20.0.0/16")], 16)).toHaveLength(1);
  });

  it("PG-154: a range holds exactly the addresses of its networks, and ranges never touch", () => {
    fc.assert(
      fc.property(networks, (some) => {
        const ranges = toRanges(some, 4);
        for (let byte = 0; byte < 256; byte++) {
          const isIn = some.some((one) => contains(one, new Uint8Array([10, 0, 0, byte])));
          expect(isWithin(ranges, (10n << 24n) + BigInt(byte))).toBe(isIn);
        }
        for (const [i, range] of ranges.slice(1).entries()) {
          expect(range.start).toBeGreaterThan(ranges[i]?.end ?? range.start);
        }
      }),
    );
  });

  it("PG-154: what goes and what comes turns one list into the other", () => {
    fc.assert(
      fc.property(networks, networks, (some, others) => {
        const [before, wanted] = [toRanges(some, 4), toRanges(others, 4)];
        const { gone, added } = differenceOf(before, wanted);
        const left = before.filter((range) => !gone.includes(range));
        const present = [...left, ...added].sort((a, b) => Number(a.start - b.start));
        expect(present).toEqual(wanted);
        for (const range of added) expect(left).not.toContainEqual(range);
      }),
    );
  });

  it("PG-154: an interval ends behind its last address, and has no end where there is none", () => {
    expect(toIntervals(v4("172.20.0.0/16"), 4)).toEqual([{ start: ip("172.20.0.0"), end: ip("172.21.0.0") }]);
    expect(toIntervals(v4("255.0.0.0/8"), 4)).toEqual([{ start: ip("255.0.0.0"), end: undefined }]);
    const [all] = toIntervals(toRanges([prefix("ff00::/8")], 16), 16);
    expect(all).toEqual({ start: ip("ff00::"), end: undefined });
  });
});
