import { egressInject, egressStep } from "../batch/egress";
import { holdValue } from "../batch/punt";
import { partOf } from "../guard/budget";
import { Counter, Egress, PLANE_ADDRESS, Plane, Ring, STAGE_INJECT, STEP_WAIT, Worker } from "../layout";
import { ringCommit, ringPeek, ringReserve } from "../ring";
import { emptyPlane, emptyRing, WORKER } from "./world";

/** Another egress worker's record. */
const OTHER: u32 = 0x58000;
let ring: usize = 0;

/** Control injects a packet for a peer that is gone. */
function inject(): void {
  const entry = ringReserve(ring, 40);
  ringCommit(ring, entry);
}

describe("several egress workers", () => {
  beforeEach(() => {
    emptyPlane();
    ring = emptyRing();
    store<u32>(PLANE_ADDRESS, 2, Plane.PAIRS);
    store<usize>(WORKER, ring, Worker.INJECT_RING);
  });

  test("PG-176: one takes what was injected, and gives the ring up when it has sent all", () => {
    inject();
    inject();
    expect(egressInject(WORKER)).toBe(0);
    expect(ringPeek(ring)).toBe(0);
    expect(load<u64>(WORKER, Counter.PACKETS_INJECTED)).toBe(2);
    expect(load<u32>(ring, Ring.TAKER)).toBe(0);
  });

  test("PG-176: no other takes meanwhile", () => {
    inject();
    store<u32>(ring, OTHER, Ring.TAKER);
    expect(egressInject(WORKER)).toBe(0);
    expect(ringPeek(ring)).not.toBe(0);
  });

  test("PG-176, WG-46: a frame waits for what was injected, until that is sent and not only taken", () => {
    store<u32>(WORKER, STAGE_INJECT, Egress.STAGE);
    inject();
    store<u32>(ring, OTHER, Ring.TAKER);
    expect(egressStep(WORKER)).toBe(STEP_WAIT);
    // The other has taken the packet out, and its send is on the way.
    store<u32>(ring, load<u32>(ring, Ring.HEAD), Ring.TAIL);
    expect(egressStep(WORKER)).toBe(STEP_WAIT);
    expect(load<u32>(WORKER, Egress.STAGE)).toBe(STAGE_INJECT);
  });

  test("PG-176, TN-87: punts of two workers with rings alike leave different hold words", () => {
    store<usize>(WORKER, ring, Worker.DATA_RING);
    store<usize>(OTHER, ring, Worker.DATA_RING);
    store<u32>(OTHER, 1, Worker.NUMBER);
    expect(holdValue(WORKER)).not.toBe(holdValue(OTHER));
    expect(holdValue(WORKER) & holdValue(OTHER) & 1).toBe(1, "and neither is 0");
    const before = holdValue(WORKER);
    inject();
    expect(holdValue(WORKER)).not.toBe(before);
  });

  test("PG-176, PG-160: the parts of a share come to it, and one pair has all of it", () => {
    expect(partOf(50)).toBe(25);
    expect(partOf(5)).toBe(3);
    store<u32>(PLANE_ADDRESS, 1, Plane.PAIRS);
    expect(partOf(50)).toBe(50);
  });
});
