/** Which checks of the peer are news (SN-141): those that are sent again are none. */
import { expect, it } from "vitest";
import { instant } from "../../../src/base/index.ts";
import type { Pair } from "../../../src/ice/pair.ts";
import { createPeerChecks, noteCheck } from "../../../src/ice/rebinding.ts";
import fc from "../../lib/property.ts";

/** As many are remembered. */
const REMEMBERED = 64;

/** Says of each check whether it was news, by the priority that the pair takes over then. */
function rig() {
  const checks = createPeerChecks();
  // Of a pair whose address the peer has told this is all that is asked for.
  const pair = { remote: { origin: "signalled" } } as unknown as Pair;
  let priority = 0;
  return (id: number): boolean => {
    const transactionId = new Uint8Array(12);
    // The same at both ends: only all of it tells two apart.
    new DataView(transactionId.buffer).setUint16(5, id);
    noteCheck(checks, [pair], pair, { transactionId, priority: ++priority, now: instant(0) });
    return pair.peerPriority === priority;
  };
}

it("SN-141: the last 64 checks are remembered, then the oldest makes way", () => {
  const isNews = rig();
  for (let id = 1; id <= REMEMBERED; id++) expect(isNews(id)).toBe(true);
  for (let id = 1; id <= REMEMBERED; id++) expect(isNews(id), `check ${id}`).toBe(false);
  expect(isNews(65)).toBe(true);
  expect(isNews(2)).toBe(false);
  expect(isNews(1)).toBe(true);
  // That one took the place of the second.
  expect([isNews(3), isNews(2)]).toEqual([false, true]);
});

it("SN-141: does what a list does whose first goes, whatever comes in which order", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 80 }), { minLength: 100, maxLength: 300 }), (ids) => {
      const isNews = rig();
      const seen: number[] = [];
      for (const id of ids) {
        const isKnown = seen.includes(id);
        expect(isNews(id)).toBe(!isKnown);
        if (!isKnown) seen.push(id);
        if (seen.length > REMEMBERED) seen.shift();
      }
    }),
    { numRuns: 30 },
  );
});
