import { describe, expect, it } from "vitest";
import { fromHex, instant } from "../../../src/base/index.ts";
import {
  createStreamQueue,
  createStreamReader,
  encodeChannelData,
  toStream,
} from "../../../src/turn/index.ts";
import fc from "../../lib/property.ts";

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
    for (let i = 0; i < 17; i++) queue.push(instant(0), channelData(65_000, 0x4000 + i));
    expect(queue.dropped).toBe(1);
    expect(queue.bytes).toBeLessThanOrEqual(1 << 20);
    expect(queue.pop(instant(0))).toEqual(STUN);
    expect(queue.pop(instant(0))?.[1]).toBe(1);
  });

  it("what is late goes when more comes, though nobody asks for it", () => {
    const queue = createStreamQueue();
    queue.push(instant(0), channelData(1));
    queue.push(instant(501), channelData(2));
    expect(queue).toMatchObject({ dropped: 1, bytes: channelData(2).length });
  });

  it("small datagrams count as 256 bytes, and 513 answers are too many", () => {
    const queue = createStreamQueue();
    for (let i = 0; i <= 4096; i++) queue.push(instant(0), channelData(1));
    expect(queue.dropped).toBe(1);
    for (let i = 0; i < 512; i++) queue.push(instant(0), STUN);
    expect([queue.isStalled, queue.dropped]).toEqual([false, 513]);
    queue.push(instant(0), STUN);
    expect(queue.isStalled).toBe(true);
  });

  it("does what a plain list would do, whatever comes in which order", () => {
    const step = fc.record({
      kind: fc.constantFrom("data", "data", "stun", "pop", "pop"),
      data: fc.constantFrom(...[1, 200, 1_300, 65_000].map((bytes) => channelData(bytes))),
      waitMs: fc.constantFrom(0, 0, 0, 100, 251, 501),
      times: fc.constantFrom(1, 1, 20, 600),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const [queue, list] = [createStreamQueue(), createPlainQueue()];
        let now = instant(0);
        for (const { kind, data, waitMs, times } of steps) {
          now = instant(now + waitMs);
          let differing = 0;
          for (let i = 0; i < times; i++) {
            if (kind === "pop") differing += queue.pop(now) === list.pop(now) ? 0 : 1;
            else for (const one of [queue, list]) one.push(now, kind === "stun" ? STUN : data);
          }
          expect([differing, queue.dropped, queue.bytes]).toEqual([0, list.dropped(), list.bytes()]);
        }
      }),
      { numRuns: 30 },
    );
  });
});

/** RL-204 as it is written. */
function createPlainQueue() {
  const list: { readonly datagram: Uint8Array; readonly since: number }[] = [];
  let dropped = 0;
  const isData = ({ datagram }: { readonly datagram: Uint8Array }) => datagram !== STUN;
  const drop = (mayGo: (one: (typeof list)[number]) => boolean) => {
    const at = list.findIndex((one) => isData(one));
    const oldest = list[at];
    if (oldest === undefined || !mayGo(oldest)) return false;
    list.splice(at, 1);
    cost -= costOf(oldest.datagram);
    dropped++;
    return true;
  };
  const costOf = ({ length }: Uint8Array) => Math.max(256, length);
  let cost = 0;
  return {
    push(now: number, datagram: Uint8Array) {
      list.push({ datagram, since: now });
      cost += costOf(datagram);
      while (drop(({ since }) => now - since > 500 || cost > 1 << 20));
    },
    pop(now: number) {
      for (let head = list.shift(); head !== undefined; head = list.shift()) {
        cost -= costOf(head.datagram);
        if (!isData(head) || now - head.since <= 500) return head.datagram;
        dropped++;
      }
      return undefined;
    },
    dropped: () => dropped,
    bytes: () => list.reduce((sum, { datagram }) => sum + datagram.length, 0),
  };
}
