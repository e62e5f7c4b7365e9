/** Whatever comes in, only counters change, and nothing traps (WG section 12, TN-1, D-8). */

import { describe, expect, it } from "vitest";
import { concatBytes, copyOf } from "../../../src/base/index.ts";
import fc from "../../lib/property.ts";
import { sealMessage } from "../../twin/plane/message.ts";
import { expectLaw } from "./law.ts";
import { counting, hostilePacket, udp } from "./packets.ts";
import {
  A,
  B,
  createPair,
  NET_A,
  NET_B,
  NOW,
  type Pair,
  plainFrame,
  receiveOne,
  SLOT,
  sendAll,
  sessionKeys,
} from "./pair.ts";

const ROUTED = { family: 4, source: NET_A.v4, destination: NET_B.v4 } as const;
const RUNS = { numRuns: 300 };

/** What only authentic messages may change. */
function stateOf({ b }: Pair) {
  return { activity: b.records.activity(SLOT), received: b.records.received(SLOT, sessionKeys("b").local) };
}

/** Still carries a packet that is as it should be. */
function expectAlive({ a, b }: Pair, counter: bigint): void {
  const { remote, sendKey } = sessionKeys("a");
  const packet = udp(counting(33), ROUTED);
  const [frame] = receiveOne(b, sealMessage(sendKey, remote, counter, packet));
  expect(frame?.subarray(10)).toEqual(packet);
  expectLaw(a);
  expectLaw(b);
}

describe("hostile datagrams (WG §12)", () => {
  const { remote, sendKey } = sessionKeys("a");
  const good = fc
    .tuple(fc.nat(2000), fc.nat(1200))
    .map(([counter, length]) => sealMessage(sendKey, remote, BigInt(counter), udp(counting(length), ROUTED)));
  const damaged = fc
    .tuple(good, fc.nat(), fc.integer({ min: 1, max: 255 }), fc.constantFrom("flip", "cut", "grow"))
    .map(([message, at, by, how]) => {
      if (how === "cut") return message.subarray(0, at % message.length);
      if (how === "grow") return concatBytes(message, new Uint8Array(1 + (at % 40)));
      const copy = copyOf(message);
      // The type word and the index decide about everything: they are hit as often as the rest.
      const place = at % 2 === 0 ? at % 16 : at % copy.length;
      copy[place] = (copy[place] ?? 0) ^ by;
      return copy;
    });
  const random = fc.uint8Array({ maxLength: 300, size: "max" });
  const typed = random.map((bytes) => {
    const copy = copyOf(bytes);
    copy.set([1 + ((bytes[0] ?? 0) & 3), 0, 0, 0].slice(0, copy.length));
    return copy;
  });
  const hostile = fc.oneof(random, typed, damaged);

  it("change counters and nothing else", () => {
    const pair = createPair();
    const before = stateOf(pair);
    fc.assert(
      fc.property(hostile, (bytes) => {
        expect(receiveOne(pair.b, bytes)).toEqual([]);
        expect(stateOf(pair)).toEqual(before);
        pair.b.takeEvents(100);
        expect(pair.b.takePunts(100)).toEqual([]);
      }),
      RUNS,
    );
    expectAlive(pair, 5000n);
  });

  it("in runs of any stride, from any port, do not spoil the good ones among them", () => {
    const pair = createPair();
    let counter = 0n;
    fc.assert(
      fc.property(
        fc.array(fc.option(hostile, { freq: 2 }), { minLength: 1, maxLength: 20 }),
        fc.constantFrom(0, 1, 31, 92, 95, 96, 97, 4000),
        fc.constantFrom(3478, 51820),
        (list, stride, port) => {
          const sealed = list.map(
            (bytes) => bytes ?? sealMessage(sendKey, remote, counter++, udp(counting(36), ROUTED)),
          );
          const bytes = concatBytes(...sealed).slice(0, 65_536);
          const segmentBytes = stride === 0 ? Math.max(1, bytes.length) : stride;
          pair.b.drive.ingress(NOW, { from: { ...A, port }, local: B.address, bytes, segmentBytes });
          pair.b.drive.flushIngress(NOW);
          pair.b.takeEvents(2000);
          expectLaw(pair.b);
        },
      ),
      RUNS,
    );
    expectAlive(pair, 100_000n);
  });

  it("inside the tunnel: authentic messages with any text (TN-1)", () => {
    for (const mode of ["plain", "gateway", "client"] as const) {
      const pair = createPair({ mode });
      let counter = 0n;
      fc.assert(
        fc.property(fc.oneof(hostilePacket, random), (text) => {
          receiveOne(pair.b, sealMessage(sendKey, remote, counter++, text.subarray(0, 1200)));
          pair.b.takeEvents(100);
          pair.b.takePunts(100);
          expectLaw(pair.b);
        }),
        RUNS,
      );
      expect(counter).toBeGreaterThan(200n);
    }
  });
});

describe("hostile frames from the TUN device (PF-32)", () => {
  const vnet = fc.tuple(
    fc.constantFrom(0, 0, 1, 1, 2, 255),
    fc.constantFrom(0, 0, 1, 3, 4, 5, 0x81, 255),
    fc.constantFrom(0, 40, 65535),
    fc.constantFrom(0, 1, 8, 500, 1400, 65535),
    fc.constantFrom(0, 20, 40, 65535),
    fc.constantFrom(0, 6, 16, 65535),
  );
  const frame = fc.tuple(vnet, hostilePacket, fc.nat(3)).map(([fields, packet, cut]) => {
    const header = new Uint8Array(10);
    const view = new DataView(header.buffer);
    header.set([fields[0], fields[1]]);
    for (let i = 0; i < 4; i++) view.setUint16(2 + 2 * i, fields[2 + i] ?? 0, true);
    const whole = concatBytes(header, packet);
    return cut === 0 ? whole.subarray(0, whole.length >> 1) : whole;
  });

  it("are passed, punted or dropped, and the next good one passes", () => {
    for (const mode of ["plain", "gateway", "client"] as const) {
      const pair = createPair({ mode });
      fc.assert(
        fc.property(frame, (bytes) => {
          sendAll(pair.a, bytes);
          pair.a.takePunts(10_000);
          expectLaw(pair.a);
        }),
        RUNS,
      );
      if (mode !== "plain") continue;
      expect(sendAll(pair.a, plainFrame(udp(counting(33), ROUTED)))).toHaveLength(1);
    }
  });
});
