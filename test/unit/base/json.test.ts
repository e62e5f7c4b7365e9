import { describe, expect, it } from "vitest";
import { parseJson } from "../../../src/base/index.ts";
import fc from "../../lib/property.ts";

describe("JSON from outside", () => {
  it("PT-7: 64 levels are read, 65 are not, whatever they are made of", () => {
    for (const [open, close] of [
      ["[", "]"],
      ['{"a":', "}"],
    ] as const) {
      const nested = (levels: number) => `${open.repeat(levels)}0${close.repeat(levels)}`;
      expect(parseJson(nested(64)).ok).toBe(true);
      expect(parseJson(nested(65))).toEqual({ ok: false, reason: "too-deep" });
      expect(parseJson(nested(30_000))).toEqual({ ok: false, reason: "too-deep" });
    }
    // Unclosed ones are looked at in the same way.
    expect(parseJson("[".repeat(65))).toEqual({ ok: false, reason: "too-deep" });
    expect(parseJson("[".repeat(64))).toEqual({ ok: false, reason: "not-json" });
  });

  it("PT-7: siblings do not add up, and brackets in strings do not count", () => {
    expect(parseJson(`[${"[],".repeat(1000)}0]`).ok).toBe(true);
    for (const text of ["[".repeat(100), `\\"${"[".repeat(100)}`, `${"[".repeat(100)}\\\\`]) {
      expect(parseJson(`["${text}", "${"{".repeat(100)}"]`).ok).toBe(true);
    }
  });

  it("PT-7: reads exactly what the runtime reads, for any shallow value and any text", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 8 }), (text) => {
        expect(parseJson(text)).toEqual({ ok: true, value: JSON.parse(text) });
      }),
    );
    fc.assert(
      fc.property(fc.string(), (text) => {
        let isJson = true;
        try {
          JSON.parse(text);
        } catch {
          isJson = false;
        }
        expect(parseJson(text).ok).toBe(isJson);
      }),
    );
  });
});
