import { describe, expect, it } from "vitest";
import { concatBytes } from "../../../src/base/index.ts";
import { domainOf, parseName, toName } from "../../../src/dns/index.ts";
import fc from "../../lib/property.ts";
import { nameOf, octets } from "./octets.ts";

/** Any name: labels of any octets, within the limits. */
const anyName = fc
  .array(fc.uint8Array({ minLength: 1, maxLength: 63 }), { maxLength: 6 })
  .map((labels) =>
    concatBytes(...labels.flatMap((label) => [Uint8Array.of(label.length), label]), Uint8Array.of(0)),
  )
  .filter(({ length }) => length <= 255);

function read(bytes: Uint8Array, at = 0) {
  const name = parseName(bytes, at);
  return name.ok ? name.value.name : undefined;
}

describe("names", () => {
  it("DN-1: text has escapes for what would not read back, and is lower case", () => {
    expect(domainOf(nameOf("WWW.Example.com."))).toBe("www.example.com");
    expect(domainOf(nameOf("."))).toBe(".");
    const odd = read(octets("05 61 2e 5c 20 ff 00"));
    expect(odd && domainOf(odd)).toBe("a\\.\\\\\\ \\255");
    expect(toName("a\\.\\\\\\ \\255")?.key).toBe(odd?.key);
  });

  it.each(["", "a..b", ".a", "a b", "a\\25", "a\\256", "a\\", "ü.de", "a\\\u00fc"])(
    "DN-1: %j is no name",
    (text) => {
      expect(toName(text)).toBeUndefined();
    },
  );

  it("DN-1: whatever the octets, text leads back to an equal name", () => {
    fc.assert(
      fc.property(anyName, (wire) => {
        const name = read(wire);
        expect(name?.wire).toEqual(wire);
        expect(name && toName(domainOf(name))?.key).toBe(name?.key);
      }),
    );
  });

  it("DN-1: names are equal as RFC 4343 says: only A-Z and a-z are the same", () => {
    fc.assert(
      fc.property(anyName, fc.nat(), fc.nat(255), (wire, index, octet) => {
        const other = Uint8Array.from(wire);
        const lengths = new Set<number>();
        for (let at = 0; at < wire.length; at += 1 + (wire[at] ?? 0)) lengths.add(at);
        const places = [...wire.keys()].filter((at) => !lengths.has(at));
        const at = places[index % Math.max(1, places.length)];
        if (at !== undefined) other[at] = octet;
        const fold = (byte: number) => (byte >= 0x41 && byte <= 0x5a ? byte + 32 : byte);
        const isEqual = wire.every((byte, i) => fold(byte) === fold(other[i] ?? 0));
        expect(read(wire)?.key === read(other)?.key).toBe(isEqual);
      }),
    );
  });

  it("DN-2: labels have 1 to 63 octets, names 255 at most", () => {
    expect(toName("a".repeat(63))?.wire).toHaveLength(65);
    expect(toName("a".repeat(64))).toBeUndefined();
    const long = ["a".repeat(63), "a".repeat(63), "a".repeat(63), "a".repeat(61)].join(".");
    expect(toName(long)?.wire).toHaveLength(255);
    expect(toName(`${long}a`)).toBeUndefined();
    expect(read(nameOf(long).wire)?.key).toBe(nameOf(long).key);
    expect(read(octets("40 00"))).toBeUndefined();
    expect(read(octets("80 00"))).toBeUndefined();
    expect(read(octets("02 61"))).toBeUndefined();
  });

  it("DN-2: the limit is that of the expanded name", () => {
    // Behind twelve octets of header: a name of 255 octets, then a label before a pointer to it.
    const long = nameOf(["a".repeat(63), "a".repeat(63), "a".repeat(63), "a".repeat(61)].join("."));
    const bytes = concatBytes(new Uint8Array(12), long.wire, octets("01 62 c00c"));
    expect(read(bytes, 12)?.wire).toHaveLength(255);
    expect(read(bytes, 12 + 255)).toBeUndefined();
    // From the second label on it fits.
    expect(read(concatBytes(bytes.subarray(0, -1), Uint8Array.of(12 + 64)), 12 + 255)?.wire).toHaveLength(
      193,
    );
  });

  it("DN-3: pointers lead backwards, into what is not the header", () => {
    const head = "0000 0000 0000 0000 0000 0000";
    expect(read(octets(`${head} 01 61 00 c00c`), 15)?.key).toBe("\x01a\0");
    expect(read(octets(`${head} 01 61 00 c00b`), 15)).toBeUndefined();
    expect(read(octets(`${head} c00c`), 12)).toBeUndefined();
    expect(read(octets(`${head} c00e c00c`), 12)).toBeUndefined();
    expect(read(octets(`${head} 01 61 c00c`), 12)).toBeUndefined();
    expect(read(octets(`${head} c0`), 12)).toBeUndefined();
  });

  it("DN-3: what a pointer leads to ends before the part that the pointer stands in", () => {
    const head = "0000 0000 0000 0000 0000 0000";
    expect(read(octets(`${head} 01 61 00 c00c`), 15)?.key).toBe("\x01a\0");
    // The label at 12 goes over the pointer at 14, and the name ends behind it.
    expect(read(octets(`${head} 04 61 c00c 62 00`), 14)).toBeUndefined();
    // It ends in time, but the name has no end before the pointer.
    expect(read(octets(`${head} 01 61 c00c 00`), 14)).toBeUndefined();
  });

  it("DN-3: a chain of 126 pointers ends", () => {
    const chain = Array.from({ length: 126 }, (_, i) => {
      const target = i === 0 ? 12 : 15 + 2 * (i - 1);
      return Uint8Array.of(0xc0 | (target >> 8), target & 255);
    });
    const bytes = concatBytes(new Uint8Array(12), octets("01 61 00"), ...chain);
    expect(read(bytes, bytes.length - 2)?.key).toBe("\x01a\0");
  });
});
