import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fromHex, instant } from "../../../src/base/index.ts";
import {
  createStreamQueue,
  createStreamReader,
  encodeChannelData,
  toStream,
} from "../../../src/turn/index.ts";

const channelData = (length: number, channel = 0x4000): Uint8Array => {
  const data = Uint8Array.from({ length }, (_, i) => i);
  const bytes = new Uint8Array(4 + length);
  encodeChannelData(bytes, { channel, data });
  return bytes;
};

const bytesOf = (hex: string): Uint8Array => fromHex(hex) ?? new Uint8Array(0);
/** A Binding request without attributes, RFC 8489 §5. */
const STUN = bytesOf("000100002112a4420102030405060708090a0b0c");
const read = (...chunks: readonly Uint8Array[]) => {
  const reader = createStreamReader();
  const results = chunks.map(reader);
  return { messages: results.flatMap(({ messages }) => messages), isBroken: results.at(-1)?.isBroken };
};
const joined = (...parts: readonly Uint8Array[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => [...part]));

describe("RL-201: messages in a stream", () => {
  it("are told apart by their first bits, and ChannelData loses its padding", () => {
    const sent = [STUN, channelData(5), channelData(0), channelData(8, 0x7fff), STUN];
    expect(read(joined(...sent.map(toStream)))).toEqual({ messages: sent, isBroken: false });
  });

  it("padding is zeros up to a multiple of 4", () => {
    expect([...toStream(channelData(1))]).toEqual([0x40, 0, 0, 1, 0, 0, 0, 0]);
    expect(toStream(STUN)).toEqual(STUN);
  });

  it("come whole however the stream is cut", () => {
    const message = fc.oneof(
      fc.constant(STUN),
      fc.nat(1500).map((length) => channelData(length)),
    );
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 700 })),
        (sent, cuts) => {
          const stream = joined(...sent.map(toStream));
          const chunks: Uint8Array[] = [];
          let at = 0;
          for (const cut of cuts) {
            chunks.push(stream.subarray(at, at + cut));
            at += cut;
          }
          chunks.push(stream.subarray(at));
          expect(read(...chunks)).toEqual({ messages: sent, isBroken: false });
        },
      ),
    );
  });

  it.each([
    ["first bits 10", "80000000"],
    ["first bits 11", "ff"],
    ["a channel above 0x7fff", "80"],
    ["another cookie", "000100002112a443"],
    ["a STUN length that is no multiple of 4", "0001000221"],
    ["a STUN message of 1504 bytes", "000105cc"],
  ])("end with %s", (_, hex) => {
    expect(read(STUN, bytesOf(hex))).toEqual({ messages: [STUN], isBroken: true });
  });

  it("a STUN message of 1500 bytes is still one, and 65,535 bytes on a channel", () => {
    const longest = new Uint8Array(1500);
    longest.set(bytesOf("000105c82112a442"));
    expect(read(longest).messages).toEqual([longest]);
    const data = channelData(65_535);
    expect(read(toStream(data)).messages).toEqual([data]);
  });

  it("nothing throws, whatever comes", () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 64 })), (chunks) => void read(...chunks)));
  });
});

describe("RL-204: what waits for a stream", () => {
  it("leaves in order; after 500 ms ChannelData is dropped and counted, STUN is not", () => {
    const queue = createStreamQueue();
    queue.push(instant(0), channelData(1));
    queue.push(instant(0), STUN);
    queue.push(instant(1), channelData(2));
    queue.push(instant(2), channelData(3));
    expect(queue.pop(instant(501))).toEqual(STUN);
    expect(queue.pop(instant(501))).toEqual(channelData(2));
    expect(queue.pop(instant(503))).toBeUndefined();
    expect(queue).toMatchObject({ dropped: 2, bytes: 0 });
  });

  it("beyond 1 MiB the oldest ChannelData goes, whatever STUN is before it", () => {
    const queue = createStreamQueue();
    queue.push(instant(0), STUN);
    for (let i = 0; i < 17; i++) queue.push(instant(0), channelData(65_532 - 4, 0x4000 + i));
    expect(queue.dropped).toBe(1);
    expect(queue.bytes).toBeLessThanOrEqual(1 << 20);
    expect(queue.pop(instant(0))).toEqual(STUN);
    expect(queue.pop(instant(0))?.[1]).toBe(1);
  });
});
