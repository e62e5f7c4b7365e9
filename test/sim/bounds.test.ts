/** The simulated world comes to an end where a machine does not (TS-82): vitest cannot stop a loop that runs. */
import { describe, expect, it } from "vitest";
import { type Instant, ip } from "../../src/base/index.ts";
import { dueUntil, nextTurn } from "../lib/bounds.ts";
import { createWorld, type Program, type World } from "./world.ts";

const DATAGRAM = {
  destination: { address: ip("192.0.2.2"), port: 9 },
  bytes: Uint8Array.of(1),
};

function worldOf(program: Partial<Program>): World {
  const world = createWorld(1);
  const host = world.addHost("odd", { addresses: ["192.0.2.1"] });
  host.program = {
    handleDatagram: () => {},
    handleTimeout: () => {},
    pollTimeout: () => undefined,
    pollTransmit: () => undefined,
    drain: () => {},
    ...program,
  };
  return world;
}

function asInstant(ms: number): Instant {
  return ms as Instant;
}

describe("what would never end", () => {
  it.each([Number.POSITIVE_INFINITY, Number.NaN])("TS-82: a deadline at %s names its host", (due) => {
    const world = worldOf({ pollTimeout: () => asInstant(due) });
    expect(() => world.run(1)).toThrow(`odd: no time: ${due}`);
  });

  it.each([Number.POSITIVE_INFINITY, Number.NaN])("TS-82: a wait of %s", (ms) => {
    const world = worldOf({});
    expect(() => world.run(ms)).toThrow("a length of time: no time");
    expect(() => world.runUntil(() => false, ms)).toThrow("a length of time: no time");
    expect(() => world.sleep(ms)).toThrow("a length of time: no time");
    expect(() => world.at(ms, () => {})).toThrow("a delay: no time");
  });

  it("TS-82: a program that always has one more datagram", () => {
    const world = worldOf({ pollTransmit: () => DATAGRAM });
    const [host] = world.hosts();
    expect(() => host && world.flush(host)).toThrow("odd: no end after 10000 turns");
  });

  it("TS-82, TS-13: a program that is due again at once, and things that happen at one instant for ever", () => {
    const due = worldOf({ pollTimeout: () => asInstant(1_000) });
    expect(() => due.run(1)).toThrow("odd wakes in the past");
    const world = worldOf({});
    const again = (): void => world.at(0, again);
    again();
    expect(() => world.run(1)).toThrow("at 1000000 µs: no end after 100000 turns");
  });

  it("TS-82: a deadline counts up to the end of the wait, and no later", () => {
    const machine = { pollTimeout: () => asInstant(1_000) };
    expect(dueUntil(machine, 1_000)).toBe(1_000);
    expect(dueUntil(machine, 999)).toBeUndefined();
    expect(dueUntil({ pollTimeout: () => undefined }, 999)).toBeUndefined();
    expect(() => dueUntil(machine, Number.POSITIVE_INFINITY)).toThrow("the end of a wait: no time");
    expect(() => dueUntil({ pollTimeout: () => asInstant(Number.POSITIVE_INFINITY) }, 999)).toThrow(
      "a machine's deadline: no time",
    );
  });

  it("TS-82: the last turn that is allowed, and the one after it", () => {
    expect(nextTurn(2, "a loop", 3)).toBe(3);
    expect(() => nextTurn(3, "a loop", 3)).toThrow("a loop: no end after 3 turns");
  });
});
