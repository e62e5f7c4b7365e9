import { holdValue } from "../batch/punt";
import { partOf } from "../guard/budget";
import { PLANE_ADDRESS, Plane, Worker } from "../layout";
import { ringCommit, ringReserve } from "../ring";
import { emptyPlane, emptyRing, WORKER } from "./world";

/** Another egress worker's record. */
const OTHER: u32 = 0x58000;
let ring: usize = 0;

describe("several egress workers", () => {
  beforeEach(() => {
    emptyPlane();
    ring = emptyRing();
    store<u32>(PLANE_ADDRESS, 2, Plane.PAIRS);
  });

  test("PG-176, TN-87: punts of two workers with rings alike leave different hold words", () => {
    store<usize>(WORKER, ring, Worker.DATA_RING);
    store<usize>(OTHER, ring, Worker.DATA_RING);
    store<u32>(OTHER, 1, Worker.NUMBER);
    expect(holdValue(WORKER)).not.toBe(holdValue(OTHER));
    expect(holdValue(WORKER) & holdValue(OTHER) & 1).toBe(1, "and neither is 0");
    const before = holdValue(WORKER);
    ringCommit(ring, ringReserve(ring, 40));
    expect(holdValue(WORKER)).not.toBe(before);
  });

  test("PG-176, PG-160: the parts of a share come to it, and one pair has all of it", () => {
    expect(partOf(50)).toBe(25);
    expect(partOf(5)).toBe(3);
    store<u32>(PLANE_ADDRESS, 1, Plane.PAIRS);
    expect(partOf(50)).toBe(50);
  });
});
