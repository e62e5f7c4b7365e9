import { Entry, PLANE_ADDRESS, Plane, Ring } from "../layout";
import { ringCommit, ringPeek, ringReserve, ringTake } from "../ring";
import { emptyPlane, emptyRing, RING_AREA, RING_AREA_BYTES, RING_ENTRIES } from "./world";

let ring: usize = 0;

/** Puts an entry with `bytes` bytes; returns its address, or 0. */
function put(bytes: u32): usize {
  const entry = ringReserve(ring, bytes);
  if (entry != 0) ringCommit(ring, entry);
  return entry;
}

function take(): void {
  ringTake(ring, ringPeek(ring));
}

describe("a ring between a worker and control", () => {
  beforeEach(() => {
    emptyPlane();
    ring = emptyRing();
  });

  test("D-10: entries come out in the order in which they were put, and only once", () => {
    const first = put(8);
    const second = put(8);
    expect(ringPeek(ring)).toBe(first);
    take();
    expect(ringPeek(ring)).toBe(second);
    take();
    expect(ringPeek(ring)).toBe(0);
  });

  test("D-10: a reserved entry is not seen before it is committed", () => {
    const entry = ringReserve(ring, 0);
    expect(ringPeek(ring)).toBe(0);
    expect(ringReserve(ring, 0)).toBe(entry, "and reserving again gives the same one");
    ringCommit(ring, entry);
    expect(ringPeek(ring)).toBe(entry);
  });

  test("PG-51: a full ring takes nothing until something is taken", () => {
    for (let i: u32 = 0; i < RING_ENTRIES; i++) expect(put(0)).not.toBe(0);
    expect(put(0)).toBe(0);
    take();
    expect(put(0)).not.toBe(0);
    expect(put(0)).toBe(0);
  });

  test("PG-51: nor does one whose bytes are used up", () => {
    expect(put(RING_AREA_BYTES - 8)).not.toBe(0);
    expect(put(9)).toBe(0);
    expect(put(8)).not.toBe(0);
    expect(put(1)).toBe(0);
    expect(put(0)).not.toBe(0);
  });

  test("an entry's bytes are in one piece: the end of the area is skipped when they do not fit", () => {
    put(RING_AREA_BYTES - 16);
    take();
    const entry = put(24);
    expect(load<usize>(entry, Entry.AT)).toBe(RING_AREA);
    expect(load<u32>(entry, Entry.LENGTH)).toBe(24);
    take();
    expect(load<u32>(ring, Ring.AREA_HEAD)).toBe(load<u32>(ring, Ring.AREA_TAIL));
  });

  test("D-13: control is woken when the ring was empty, and not again before it is", () => {
    put(0);
    put(0);
    expect(load<u32>(PLANE_ADDRESS, Plane.WAKE)).toBe(1);
    take();
    put(0);
    expect(load<u32>(PLANE_ADDRESS, Plane.WAKE)).toBe(1);
    take();
    take();
    put(0);
    expect(load<u32>(PLANE_ADDRESS, Plane.WAKE)).toBe(2);
  });

  test("counters that pass 2^32 change nothing", () => {
    store<u32>(ring, u32.MAX_VALUE, Ring.HEAD);
    store<u32>(ring, u32.MAX_VALUE, Ring.TAIL);
    store<u32>(ring, 0 - 8, Ring.AREA_HEAD);
    store<u32>(ring, 0 - 8, Ring.AREA_TAIL);
    for (let i: u32 = 0; i < RING_ENTRIES; i++) expect(put(8)).not.toBe(0);
    expect(put(8)).toBe(0);
    for (let i: u32 = 0; i < RING_ENTRIES; i++) take();
    expect(ringPeek(ring)).toBe(0);
    expect(load<u32>(ring, Ring.AREA_TAIL)).toBe(24);
  });
});
