import { describe, expect, it } from "vitest";
import { type IceState, nextIceState } from "../../../src/ice/connectivity.ts";

// SN §4.6: [state, nominated and other, nominated only, other only, neither].
const TABLE: readonly (readonly [IceState, IceState, IceState, IceState, IceState])[] = [
  ["new", "checking", "checking", "checking", "checking"],
  ["checking", "connected", "completed", "checking", "disconnected"],
  ["disconnected", "connected", "completed", "checking", "disconnected"],
  ["connected", "connected", "completed", "checking", "disconnected"],
  ["completed", "connected", "completed", "checking", "disconnected"],
];

describe("the states of an agent", () => {
  it.each(TABLE)("SN-61, SN-63: from %s", (state, both, nominated, other, neither) => {
    expect(nextIceState(state, { hasNominated: true, hasOther: true })).toBe(both);
    expect(nextIceState(state, { hasNominated: true, hasOther: false })).toBe(nominated);
    expect(nextIceState(state, { hasNominated: false, hasOther: true })).toBe(other);
    expect(nextIceState(state, { hasNominated: false, hasOther: false })).toBe(neither);
  });
});
