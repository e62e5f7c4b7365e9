import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { concatBytes, fromHex, toHex } from "../../../src/base/index.ts";
import {
  encodeFrame,
  isStunShaped,
  type MalformedFrame,
  parseFrame,
  type StunFrame,
  verifyIntegrity,
} from "../../../src/stun/index.ts";
import fc from "../../lib/property.ts";

const VECTORS = JSON.parse(readFileSync(new URL("../../vectors/rfc5769.json", import.meta.url), "utf8"));
const KEY = new TextEncoder().encode(VECTORS.password);

/** Annotated hexadecimal, one string per line. */
function hex(...lines: readonly string[]): Uint8Array {
  const bytes = fromHex(lines.join(""));
  if (bytes === undefined) throw new Error("not hexadecimal");
  return bytes;
}

function frameOf(bytes: Uint8Array): StunFrame {
  const result = parseFrame(bytes);
  if (!result.ok) throw new Error(result.reason);
  return result.value;
}

const HEADER = "2112a442 000102030405060708090a0b";

describe("STUN frame", () => {
  it.each(["request", "responseV4", "responseV6"])(
    "SN-10: RFC 5769 %s decodes, verifies and re-encodes",
    (name) => {
      const bytes = hex(...VECTORS[name].bytes);
      const frame = frameOf(bytes);
      expect(frame.method).toBe(1);
      expect(verifyIntegrity(frame, KEY)).toBe(true);
      const again = new Uint8Array(200);
      const length = encodeFrame(again, frame, { key: KEY, padding: VECTORS[name].padding });
      expect(toHex(again.subarray(0, length))).toBe(toHex(bytes));
    },
  );

  it("SN-8: any flipped bit before the integrity value breaks it", () => {
    const bytes = hex(...VECTORS.responseV4.bytes);
    const end = 20 + 16 + 12 + 4 + 20;
    fc.assert(
      fc.property(fc.integer({ min: 4 * 8, max: end * 8 - 1 }), (bit) => {
        const copy = bytes.slice(0, end);
        // Without FINGERPRINT, which would be the first to notice.
        copy[3] = end - 20;
        expect(verifyIntegrity(frameOf(copy), KEY)).toBe(true);
        copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        const result = parseFrame(copy);
        if (result.ok) expect(verifyIntegrity(result.value, KEY)).toBe(false);
      }),
    );
  });

  it("SN-7: FINGERPRINT may be absent", () => {
    expect(parseFrame(hex("0001 0000", HEADER)).ok).toBe(true);
  });

  const MALFORMED = {
    short: hex("0001 0000 2112a442 000102030405060708090a"),
    "not-stun": hex("4001 0000", HEADER),
    "bad-cookie": hex("0001 0000 2112a443 000102030405060708090a0b"),
    "bad-length": hex("0001 0004", HEADER),
    "attribute-overrun": hex("0001 0004", HEADER, "0006 0001"),
    "too-many-attributes": concatBytes(hex("0001 0104", HEADER), new Uint8Array(65 * 4)),
    "integrity-length": hex("0001 0014", HEADER, "0008 0010", "00".repeat(16)),
    "fingerprint-length": hex("0001 0004", HEADER, "8028 0000"),
    "bad-fingerprint": hex("0001 0008", HEADER, "8028 0004 00000000"),
  } satisfies Record<MalformedFrame, Uint8Array>;

  it.each(Object.entries(MALFORMED))("SN-6: drops a datagram as %s", (reason, datagram) => {
    expect(parseFrame(datagram)).toEqual({ ok: false, reason });
  });

  it.each([
    ["a length that is no multiple of 4", "0001 0002", "0000", false],
    ["one byte too many", "0001 0000", "00", false],
    ["the exact length", "0001 0004", "80220000", true],
    ["the second top bit", "4001 0000", "", false],
    ["the first top bit", "8001 0000", "", false],
    ["both top bits zero", "3fff 0000", "", true],
  ])("SN-1: STUN-shaped or not: %s", (_what, start, rest, expected) => {
    expect(isStunShaped(hex(start, HEADER, rest))).toBe(expected);
  });

  it("SN-1: no WireGuard message is STUN-shaped, whatever its other bytes", () => {
    fc.assert(
      fc.property(
        fc.constantFrom([1, 148], [2, 92], [3, 64], [4, 32], [4, 1452]),
        fc.uint8Array({ minLength: 20, maxLength: 20 }),
        ([type, length], random) => {
          const datagram = new Uint8Array(length ?? 0);
          datagram.set(random, 4);
          datagram.set(hex("2112a442"), 4);
          datagram[0] = type ?? 0;
          expect(isStunShaped(datagram)).toBe(false);
        },
      ),
    );
  });

  it("SN-5: what follows MESSAGE-INTEGRITY is ignored, except FINGERPRINT", () => {
    const bytes = hex(...VECTORS.responseV4.bytes).slice(0, -8);
    const extended = concatBytes(bytes, hex("0006 0001 61000000"));
    extended[3] = extended.length - 20;
    const frame = frameOf(extended);
    expect(frame.attributes.map((attribute) => attribute.type)).toEqual([0x8022, 0x0020]);
    expect(verifyIntegrity(frame, KEY)).toBe(true);
  });

  it("SN-2: pads with zero bytes whatever the buffer held", () => {
    const into = new Uint8Array(100).fill(0xee);
    const length = encodeFrame(
      into,
      {
        method: 1,
        class: "request",
        transactionId: new Uint8Array(12),
        attributes: [{ type: 0x0006, value: new Uint8Array([1]) }],
      },
      {},
    );
    expect(length).toBe(36);
    expect(toHex(into.subarray(20, 28))).toBe("0006000101000000");
  });

  it("SN-6: random bytes behind a right header never throw", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 200 }), (body) => {
        const length = body.length & ~3;
        const datagram = concatBytes(
          hex("0001"),
          Uint8Array.of(length >> 8, length & 0xff),
          hex(HEADER),
          body,
        );
        const result = parseFrame(datagram.subarray(0, 20 + length));
        if (result.ok) expect(verifyIntegrity(result.value, KEY)).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  it.each(["request", "indication", "success", "error"] as const)(
    "RFC 8489 §5: %s keeps its method",
    (kind) => {
      fc.assert(
        fc.property(fc.integer({ min: 0, max: 0xfff }), (method) => {
          const into = new Uint8Array(28);
          encodeFrame(into, { method, class: kind, transactionId: new Uint8Array(12), attributes: [] }, {});
          expect(frameOf(into)).toMatchObject({ method, class: kind });
        }),
      );
    },
  );
});
