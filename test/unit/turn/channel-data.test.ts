import { describe, expect, it } from "vitest";
import { toHex } from "../../../src/base/index.ts";
import {
  CHANNEL_LAST,
  CHANNEL_LAST_ACCEPTED,
  encodeChannelData,
  parseChannelData,
} from "../../../src/turn/index.ts";
import fc from "../../lib/property.ts";

function datagram(channel: number, length: number, bytes: number): Uint8Array {
  const result = new Uint8Array(4 + bytes);
  new DataView(result.buffer).setUint16(0, channel);
  new DataView(result.buffer).setUint16(2, length);
  return result;
}

describe("ChannelData", () => {
  it("RL-5: five bytes on channel 0x4000", () => {
    const data = new TextEncoder().encode("hello");
    const into = new Uint8Array(9);
    expect(encodeChannelData(into, { channel: 0x4000, data })).toBe(9);
    expect(toHex(into)).toBe("4000000568656c6c6f");
    expect(parseChannelData(into, CHANNEL_LAST)).toEqual({ ok: true, value: { channel: 0x4000, data } });
  });

  it.each([
    [0, true],
    [1, true],
    [3, true],
    [4, false],
    [-1, false],
  ])("RL-4, SN-98: %i bytes more than the length says: accepted %s", (surplus, isAccepted) => {
    const result = parseChannelData(datagram(0x4000, 8, 8 + surplus), CHANNEL_LAST);
    expect(result).toMatchObject(
      isAccepted ? { value: { channel: 0x4000, data: new Uint8Array(8) } } : { reason: "length" },
    );
  });

  it("RL-4: no data at all is valid", () => {
    expect(parseChannelData(datagram(0x4001, 0, 0), CHANNEL_LAST)).toMatchObject({
      value: { channel: 0x4001 },
    });
  });

  it.each([
    [0x3fff, CHANNEL_LAST, false],
    [0x4000, CHANNEL_LAST, true],
    [0x4fff, CHANNEL_LAST, true],
    [0x5000, CHANNEL_LAST, false],
    [0x7fff, CHANNEL_LAST_ACCEPTED, true],
    [0x8000, CHANNEL_LAST_ACCEPTED, false],
  ])("RL-12, SN-98: channel %i up to %i: accepted %s", (channel, last, isAccepted) => {
    const result = parseChannelData(datagram(channel, 0, 0), last);
    expect(result.ok ? true : result.reason).toBe(isAccepted ? true : "channel");
  });

  it("RL-4: fewer than four bytes are no ChannelData", () => {
    for (let length = 0; length < 4; length++) {
      expect(parseChannelData(new Uint8Array(length).fill(0x40), CHANNEL_LAST)).toEqual({
        ok: false,
        reason: "short",
      });
    }
  });

  it("RL-4: whatever is written is read, with any padding", () => {
    const channel = fc.integer({ min: 0x4000, max: CHANNEL_LAST });
    fc.assert(
      fc.property(channel, fc.uint8Array({ maxLength: 100 }), fc.nat(3), (number, data, padding) => {
        const into = new Uint8Array(4 + data.length + padding);
        encodeChannelData(into, { channel: number, data });
        expect(parseChannelData(into, CHANNEL_LAST)).toEqual({ ok: true, value: { channel: number, data } });
      }),
    );
  });
});
