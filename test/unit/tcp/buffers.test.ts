/** Buffers that grow with what the path needs (PG-127). */
import { expect, it } from "vitest";
import { type LinkOptions, runLink } from "./link.ts";

const KIB = 1 << 10;
/** A path of 100 ms, on which a window of 64 KiB carries 640 KiB a second. */
const PATH: LinkOptions = { seed: 7, octets: [1_500_000, 0], delayMs: 50 };
const NARROW = { receiveBufferBytes: 64 * KIB, receiveBufferMostBytes: 64 * KIB };
const GROWING = { receiveBufferBytes: 64 * KIB, receiveBufferMostBytes: 1 << 20 };
const SHORT = { sendBufferBytes: 64 * KIB, sendBufferMostBytes: 64 * KIB };
const LENGTHENING = { sendBufferBytes: 64 * KIB, sendBufferMostBytes: 1 << 20 };

it("PG-127: the window grows with what its reader takes in a round trip", () => {
  const narrow = runLink({ ...PATH, profiles: [{}, NARROW] }).tookMs;
  const growing = runLink({ ...PATH, profiles: [{}, GROWING] }).tookMs;
  expect(narrow).toBeGreaterThan(2_200);
  expect(growing).toBeLessThan(1_700);
});

it("PG-127: it does so without time stamps, by the round trip of the handshake", () => {
  const bare = { hasTimestamps: false };
  const growing = runLink({ ...PATH, profiles: [bare, { ...GROWING, ...bare }] }).tookMs;
  expect(growing).toBeLessThan(2_000);
});

it("PG-127: the send buffer grows with the congestion window", () => {
  const short = runLink({ ...PATH, profiles: [SHORT, {}] }).tookMs;
  const lengthening = runLink({ ...PATH, profiles: [LENGTHENING, {}] }).tookMs;
  expect(short).toBeGreaterThan(2_200);
  expect(lengthening).toBeLessThan(1_700);
});

it("PG-127: a reader that takes little in a round trip is sent no more than before", () => {
  // Of each read the end is a second or more away: ten round trips.
  const lazy = { ...PATH, octets: [300_000, 0], lazyMs: 4_000 } as const;
  const narrow = runLink({ ...lazy, profiles: [{}, NARROW] });
  const growing = runLink({ ...lazy, profiles: [{}, GROWING] });
  expect(growing.tookMs).toBe(narrow.tookMs);
});

it("PG-127: a send buffer that has grown takes whole octets", () => {
  // The window grows by parts of octets here, and all of a short buffer is used.
  const short = { sendBufferBytes: 3_016 };
  const { a, b } = runLink({
    seed: 22,
    octets: [150_000, 0],
    delayMs: 33,
    jitterMs: 30,
    profiles: [short, {}],
  });
  expect([a.closed, b.received]).toEqual(["done", 150_000]);
});
