import { describe, expect, it } from "vitest";
import { concatBytes } from "../../../src/base/index.ts";
import fc from "../../lib/property.ts";
import { sealMessage } from "../../twin/plane/message.ts";
import { createReplayWindow, REPLAY_WINDOW } from "../../twin/plane/replay-window.ts";
import { A, B, createPair, NOW, sessionKeys } from "./pair.ts";

const REJECT = 2n ** 64n - 2n ** 13n - 1n;

/** Whether the twin accepts each of these counters in turn. */
function acceptsTwin(counters: readonly bigint[]): boolean[] {
  const window = createReplayWindow();
  return counters.map((counter) => {
    const isFresh = window.isFresh(counter);
    if (isFresh) window.accept(counter);
    return isFresh;
  });
}

/** Whether B accepts each of these counters in turn; keepalives carry them. */
function accepts(counters: readonly bigint[]): boolean[] {
  const { b } = createPair();
  const { remote, sendKey } = sessionKeys("a");
  const passed = () => b.counters().ingress.counters.packets_passed;
  return counters.map((counter) => {
    const before = passed();
    const bytes = sealMessage(sendKey, remote, counter, new Uint8Array());
    b.drive.ingress(NOW, { from: A, local: B.address, bytes });
    return passed() > before;
  });
}

describe("replay window (WG-48)", () => {
  it("WG-48: agrees with its twin, a set of what was accepted, jumps and the end of the numbers included", () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.bigInt(-70n, 70n) },
      { weight: 2, arbitrary: fc.bigInt(-8200n, 8200n) },
      {
        weight: 1,
        arbitrary: fc.constantFrom(-8128n, -8129n, -8127n, 8127n, 8128n, 8129n, 8192n, -64n, 64n),
      },
      { weight: 1, arbitrary: fc.bigInt(0n, 2n ** 40n) },
    );
    const start = fc.constantFrom(0n, 1n, 63n, 64n, 8127n, 8128n, 2n ** 32n - 3n, REJECT - 200n);
    fc.assert(
      fc.property(start, fc.array(step, { minLength: 1, maxLength: 120 }), (first, steps) => {
        const counters = [first];
        for (const by of steps) {
          const next = (counters.at(-1) ?? 0n) + by;
          counters.push(next < 0n ? 0n : next >= REJECT ? REJECT - 1n : next);
        }
        expect(accepts(counters)).toEqual(acceptsTwin(counters));
      }),
      { numRuns: 150 },
    );
  });

  it.each([
    // 128 words further on lies the same word: what it held of the last round is forgotten.
    [
      [8001n, 8001n + 8193n, 8001n + 8192n],
      [true, true, true],
    ],
    [
      [0n, 0n],
      [true, false],
    ],
    [
      [5n, 4n, 4n, 5n],
      [true, true, false, false],
    ],
    [
      [8128n, 0n, 0n],
      [true, true, false],
    ],
    [
      [8129n, 0n],
      [true, false],
    ],
    [
      [8129n, 1n],
      [true, true],
    ],
    [
      [8000n, 8000n + 8192n, 8000n, 8064n],
      [true, true, false, true],
    ],
    [
      [63n, 64n, 63n, 64n + 8191n, 128n, 127n],
      [true, true, false, true, true, true],
    ],
    [
      [REJECT - 1n, REJECT - 1n, REJECT - 1n - REPLAY_WINDOW, REJECT - 2n - REPLAY_WINDOW],
      [true, false, true, false],
    ],
  ])("WG-48: %s gives %s", (counters, expected) => {
    expect(accepts(counters)).toEqual(expected);
    expect(acceptsTwin(counters)).toEqual(expected);
  });

  it("a forged message does not close the window for the true one", () => {
    const { b } = createPair();
    const { remote, sendKey } = sessionKeys("a");
    const truth = sealMessage(sendKey, remote, 100n, new Uint8Array());
    const forged = concatBytes(truth);
    forged[20] = (forged[20] ?? 0) ^ 1;
    for (const bytes of [forged, truth, truth]) b.drive.ingress(NOW, { from: A, local: B.address, bytes });
    expect(b.counters().ingress).toMatchObject({
      counters: { packets_passed: 1 },
      drops: { wg_bad_tag: 1, wg_replay: 1 },
    });
  });
});
