import { describe, expect, it } from "vitest";
import { createGathering } from "../../../../src/program/userspace/gathering.ts";

describe("datagrams of the runtime's sockets", () => {
  it("PG-122: are waited for while as many come as libuv reads at once, and for 128 at most", () => {
    const gathering = createGathering();
    expect([32, 64, 96, 127].map(gathering.goesOn)).toEqual([true, true, true, false]);
    gathering.taken(0);
    expect([32, 64, 96, 128].map(gathering.goesOn)).toEqual([true, true, true, false]);
  });

  it("PG-122: are not waited for where fewer have come, or nothing new", () => {
    const gathering = createGathering();
    expect(gathering.goesOn(31)).toBe(false);
    gathering.taken(0);
    expect(gathering.goesOn(40)).toBe(true);
    expect(gathering.goesOn(40)).toBe(false);
  });

  it("PG-122: what a turn has left is none that has come since", () => {
    const gathering = createGathering();
    gathering.taken(60);
    expect(gathering.goesOn(91)).toBe(false);
    gathering.taken(60);
    expect(gathering.goesOn(92)).toBe(true);
  });
});
