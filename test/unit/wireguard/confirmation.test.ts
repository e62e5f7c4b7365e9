/** T12 of WG-42: what confirms a client's first session, again and again. Times as in `timers.test.ts`. */
import { describe, expect, it } from "vitest";
import { kindsFrom, pair, START, send, sleepUntil, tunnel, until } from "./wire.ts";

function talking() {
  const made = pair();
  send(made.world, made.a, made.b, "hello");
  until(made.world, 100);
  return made;
}

describe("T12: a first session is confirmed again", () => {
  it("WG-77: the gateway can send within half a second although what confirms its session was lost", () => {
    const { world, a, b, ab } = pair("tunnel");
    world.loses = ({ kind, from }) => kind === "keepalive" && from === a.name && world.now - START < 200;
    a.device.initiate(world.now, ab);
    until(world, 100);
    send(world, b, a, "waits");
    until(world, 259);
    expect(a.received).toEqual([]);
    until(world, 270);
    expect(a.received).toEqual(["waits"]);
    // Something has come back: that is enough.
    until(world, 20_000);
    expect(kindsFrom(world, a, "keepalive").map(({ at }) => at)).toEqual([10, 260, 10_270]);
  });

  it("WG-77: three times, and once for a late tick; a session after it needs none", () => {
    const { world, a } = tunnel();
    sleepUntil(world, START + 5_000);
    until(world, 5_300);
    const times = (): readonly number[] => kindsFrom(world, a, "keepalive").map(({ at }) => at);
    expect(times()).toEqual([10, 5_000]);
    until(world, 10_000);
    expect(times()).toEqual([10, 5_000, 5_500, 6_500]);
    // Renewed at 165 s; the first one is alive until 180 s, and the gateway never says anything.
    until(world, 165_010 + 24_000);
    expect(times().filter((at) => at > 165_000)).toHaveLength(1);
  });

  it("WG-77: neither gateways nor plain peers do", () => {
    const { world, a, b } = talking();
    until(world, 10_000);
    expect(kindsFrom(world, a, "keepalive")).toEqual([]);
    expect(kindsFrom(world, b, "keepalive")).toEqual([]);
  });
});
