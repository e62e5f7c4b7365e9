/** What a flood may do while control does not come around: fill a ring, and be counted (PG-51, TN-78). */
import { expect, it } from "vitest";
import { CONSTANTS } from "../../bindings/memory/index.ts";
import type { Plane } from "../../bindings/plane/index.ts";
import { concatBytes, type Instant, instant, ip } from "../../src/base/index.ts";
import { expectLaw } from "../unit/plane/law.ts";
import { counting, udp } from "../unit/plane/packets.ts";
import { STUN_HEADER as STUN } from "../unit/plane/pair.ts";
import { type Chance, fuzz, fuzzOptions } from "./chance.ts";
import { createPlaneWorld, ENDPOINT, OWN, START } from "./plane-world.ts";

const OPTIONS = fuzzOptions({ seed: 1, rounds: 4 });

function receive(plane: Plane, bytes: Uint8Array, now: Instant = START): void {
  plane.drive.ingress(now, { from: ENDPOINT, local: OWN.address, bytes });
}

/** As an attacker makes them by the thousand: STUN, handshakes of the right length, and what is nothing. */
function junk(chance: Chance): Uint8Array {
  const [type, length] = chance.pick([
    [1, 148],
    [2, 92],
    [3, 64],
    [9, 33],
    [255, 1200],
  ] as const);
  const bytes = chance.bytes(length);
  bytes.set([type, 0, 0, 0]);
  return bytes;
}

function stunOf(chance: Chance): Uint8Array {
  const length = 4 * chance.below(250);
  const header = Uint8Array.from(STUN);
  new DataView(header.buffer).setUint16(2, length);
  return concatBytes(header, chance.bytes(length));
}

function kindsOf(plane: Plane): readonly string[] {
  return plane.takeEvents(Number.POSITIVE_INFINITY).map(({ kind }) => kind);
}

it("PG-51: a flood of handshakes and of nothing leaves room for STUN", () => {
  fuzz(OPTIONS, (chance) => {
    const { plane } = createPlaneWorld(chance.pick(["plain", "client", "gateway"] as const));
    const count = chance.between(1025, 3000);
    for (let i = 0; i < count; i++) receive(plane, junk(chance));
    const { counters, drops } = plane.counters().ingress;
    expect(counters.packets_punted + (drops["punt-rate"] ?? 0)).toBe(count);
    expect(counters.packets_punted).toBeLessThanOrEqual(250);
    receive(plane, STUN);
    expect(kindsOf(plane)).toContain("stun");
    expectLaw(plane);
  });
});

it("PG-51: a flood of STUN that control does not empty is counted, and what comes afterwards gets through", () => {
  fuzz(OPTIONS, (chance) => {
    const { plane } = createPlaneWorld(chance.pick(["plain", "client", "gateway"] as const));
    const count = chance.between(1025, 3000);
    // As many in each window as STUN's share allows (PG-160): it is the ring that has to give way.
    const windowOf = (i: number) => Math.floor(i / (CONSTANTS.STUN_SHARE / 2));
    const later = (windows: number) => instant(START + windows * CONSTANTS.PUNT_WINDOW_MS);
    for (let i = 0; i < count; i++) receive(plane, stunOf(chance), later(windowOf(i)));
    const { counters, drops } = plane.counters().ingress;
    expect(counters.packets_punted + (drops["punt-control-full"] ?? 0)).toBe(count);
    expect(drops["punt-control-full"]).toBeGreaterThan(0);
    // The ring ends by its entries or by the room for their bytes, whichever comes first.
    expect(counters.packets_punted).toBeLessThanOrEqual(CONSTANTS.CONTROL_RING_ENTRIES);
    expect(counters.packets_punted).toBeGreaterThan(400);
    const initiation = new Uint8Array(148);
    initiation[0] = 1;
    const end = windowOf(count) + 1;
    receive(plane, initiation, later(end));
    expect(kindsOf(plane)).not.toContain("handshake");
    receive(plane, initiation, later(end));
    receive(plane, STUN, later(end));
    expect(kindsOf(plane)).toEqual(["handshake", "stun"]);
    expectLaw(plane);
  });
});

it("TN-78: a scan fills the data ring, and STUN and handshakes pass beside it", () => {
  fuzz(OPTIONS, (chance) => {
    const { plane } = createPlaneWorld("client");
    const count = chance.between(2049, 4000);
    for (let i = 0; i < count; i++) {
      const destination = concatBytes(ip("10.50.0.0").subarray(0, 2), chance.bytes(2));
      const packet = udp(counting(chance.below(40)), { family: 4, source: ip("10.2.0.1"), destination });
      plane.drive.egress(START, concatBytes(new Uint8Array(10), packet));
    }
    const { counters, drops } = plane.counters().egress;
    expect(counters.packets_punted).toBe(CONSTANTS.DATA_RING_ENTRIES);
    expect(drops).toEqual({ "punt-full": count - CONSTANTS.DATA_RING_ENTRIES });
    receive(plane, STUN);
    const initiation = new Uint8Array(148);
    initiation[0] = 1;
    receive(plane, initiation);
    expect(kindsOf(plane)).toEqual(["stun", "handshake"]);
    expect(plane.takePunts(Number.POSITIVE_INFINITY)).toHaveLength(CONSTANTS.DATA_RING_ENTRIES);
    expectLaw(plane);
  });
});
