import { describe, expect, it } from "vitest";
import { fromHex, toHex } from "../../../src/base/index.ts";
import fc from "../../lib/property.ts";

describe("toHex", () => {
  it("gives two digits for each byte, in their order", () => {
    expect(toHex(new Uint8Array(0))).toBe("");
    expect(toHex(Uint8Array.of(0, 1, 0x0f, 0x10, 0xa5, 0xff))).toBe("00010f10a5ff");
  });

  it("does what Node does at any length, also of a part of other bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100, size: "max" }), fc.nat(40), (bytes, from) => {
        const part = bytes.subarray(Math.min(from, bytes.length));
        expect(toHex(part)).toBe(Buffer.from(part).toString("hex"));
        expect(fromHex(toHex(part))).toEqual(Uint8Array.from(part));
      }),
    );
  });
});
