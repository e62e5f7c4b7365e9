/** Runs of datagrams that the *wide* variant opens with something made in advance (PF-65, PF-81). */
import { describe, expect, it } from "vitest";
import { CONSTANTS, OFFSETS } from "../../../bindings/memory/index.ts";
import type { Plane } from "../../../bindings/plane/index.ts";
import { concatBytes, createSeededRandom, ip, randomBelow } from "../../../src/base/index.ts";
import { packetsOf } from "../../twin/driven-plane.ts";
import { sealMessage } from "../../twin/plane/message.ts";
import { expectLaw } from "./law.ts";
import { counting, udp } from "./packets.ts";
import { A, B, createPair, NET_A, NET_B, NOW, sessionKeys, type testPlane } from "./pair.ts";

const ROUTED = { family: 4, source: NET_A.v4, destination: NET_B.v4 } as const;

/** A message of A. */
function message(counter: bigint, { text }: { text: Uint8Array }) {
  const { remote, sendKey } = sessionKeys("a");
  return sealMessage(sendKey, remote, counter, text);
}

const RELAY = { address: { address: ip("198.51.100.1"), port: 3478 }, channel: 0x4abc };

/** As it comes through the relay. */
function channelData(bytes: Uint8Array): Uint8Array {
  const header = new Uint8Array(4);
  new DataView(header.buffer).setUint16(0, RELAY.channel);
  new DataView(header.buffer).setUint16(2, bytes.length);
  return concatBytes(header, bytes);
}

/** The packets of a receive whose datagrams are all as long as the first. */
function receiveRun(plane: Plane, messages: readonly Uint8Array[], from = A): readonly Uint8Array[] {
  const run = { bytes: concatBytes(...messages), segmentBytes: messages[0]?.length ?? 0 };
  const frames = plane.drive.ingress(NOW, { from, local: B.address, ...run });
  return [...frames, ...plane.drive.flushIngress(NOW)].flatMap(packetsOf);
}

/** For how many messages of the last receive the worker has something in advance. */
function keysMade(plane: Plane): number {
  const words = new Uint32Array((plane as ReturnType<typeof testPlane>).memory.buffer);
  const worker = words[(CONSTANTS.PLANE_ADDRESS + OFFSETS.plane.ingress) >> 2] ?? 0;
  return words[(worker + OFFSETS.ingress.ahead) >> 2] ?? -1;
}

describe("opening with something made in advance", () => {
  it.each([
    [10, "direct"],
    [60, "direct"],
    [200, "direct"],
    [10, "relayed"],
    [60, "relayed"],
    [200, "relayed"],
  ] as const)(
    "PF-65, PF-81: opens runs of any length, any order of counters, with any datagram missing (payload %i, %s)",
    (payload, way) => {
      const text = (i: number) => udp(counting(payload, i), { ...ROUTED, ports: [i + 1, 2] });
      for (let length = 1; length <= 20; length++) {
        for (const missing of [-1, 0, 1, 7, 8, length - 1]) {
          const { b } = createPair({ variant: "wide", ...(way === "relayed" ? { relay: RELAY } : {}) });
          const counters = Array.from({ length }, (_, i) => ((i * 7) % length === 0 ? i * 100 : i * 3 + 1));
          const messages = counters.map((counter, i) =>
            message(BigInt(counter + i * 1000), { text: text(i) }),
          );
          messages[missing]?.fill(0x77, 30);
          const run = way === "relayed" ? messages.map(channelData) : messages;
          const expected = counters.map((_, i) => i).filter((i) => i !== missing);
          expect(receiveRun(b, run, way === "relayed" ? RELAY.address : A)).toEqual(expected.map(text));
        }
      }
    },
  );

  it("PF-81: opens a run in which direct and relayed messages, with and without surplus, differ in length", () => {
    const { b } = createPair({ variant: "wide", relay: RELAY });
    const random = createSeededRandom(81);
    for (let run = 0; run < 300; run++) {
      const stride = run < 100 ? 96 + (run % 8) : 67 + randomBelow(random, 250);
      const texts: Uint8Array[] = [];
      const cells = Array.from({ length: 1 + randomBelow(random, 12) }, (_, i) => {
        const isDirect = randomBelow(random, 2) === 0;
        const payload = stride - 60 - (isDirect ? 0 : 4 + randomBelow(random, 4));
        const text = udp(counting(payload, i), { ...ROUTED, ports: [1 + i, 1 + run] });
        const sealed = message(BigInt(16 * run + i), { text });
        const cell = new Uint8Array(stride);
        cell.set(isDirect ? sealed : channelData(sealed));
        texts.push(text);
        return cell;
      });
      expect(receiveRun(b, cells, RELAY.address)).toEqual(texts);
    }
    expectLaw(b);
  });

  it.each([
    [64, 1, 0],
    [64, 2, 4],
    [65, 2, 0],
    [65, 3, 4],
    [192, 3, 4],
    [193, 2, 0],
    [193, 3, 8],
    [1376, 3, 8],
  ])(
    "PF-65, PF-81: works ahead only where that pays: %i bytes of text, %i datagrams",
    (text, length, keys) => {
      const { b } = createPair({ variant: "wide" });
      const messages = Array.from({ length }, (_, i) =>
        message(BigInt(i), { text: udp(counting(text - 28, i), ROUTED) }),
      );
      expect(receiveRun(b, messages)).toHaveLength(length);
      expect(keysMade(b)).toBe(keys);
    },
  );
});
