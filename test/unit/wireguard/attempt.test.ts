/** When an attempt goes on, and when its first handshakes are repeated. */
import { describe, expect, it } from "vitest";
import { eventKinds, initiationsAfter, kindsFrom, pair, send, tunnel, until } from "./wire.ts";

describe("attempts in tunnel mode", () => {
  it("WG-37: a session that still brings data is kept to the end of its receive time, not longer", () => {
    const { world, a, b } = tunnel();
    send(world, a, b, "used");
    world.loses = (line) => line.kind === "initiation";
    const events = (): readonly string[] => eventKinds(a).filter((kind) => kind === "expired");
    for (let at = 5_000; at < 175_000; at += 14_000) {
      until(world, at);
      send(world, b, a, "data");
    }
    until(world, 179_000);
    expect(initiationsAfter(world, 120_000).length).toBeGreaterThan(5);
    expect(events()).toEqual([]);
    until(world, 210_000);
    expect(events()).toEqual(["expired"]);
  });

  it("WG-37: keepalives alone do not keep it, nor data that is 15 s old", () => {
    const { world, a, b, ba } = tunnel();
    send(world, a, b, "used");
    world.loses = (line) => line.kind === "initiation";
    b.device.setKeepalive(world.now, ba, 5_000);
    until(world, 119_000);
    send(world, b, a, "the last");
    const first = () => initiationsAfter(world, 110_000)[0] ?? 0;
    until(world, 134_000);
    expect(first()).toBeGreaterThan(120_000);
    until(world, first() + 14_999);
    expect(eventKinds(a).includes("expired")).toBe(false);
    until(world, first() + 15_000);
    expect(eventKinds(a).includes("expired")).toBe(true);
  });

  it("WG-75: a first handshake is repeated after three round trips, eight times, then as ever", () => {
    const { world, a, ab } = pair("tunnel");
    world.loses = () => true;
    a.device.setRoundTrip(ab, 50);
    a.device.initiate(world.now, ab);
    until(world, 14_000);
    const at = initiationsAfter(world, -1);
    const pauses = at.slice(1).map((ms, i) => ms - (at[i] ?? 0));
    expect(pauses.slice(0, 8).every((pause) => pause >= 150 && pause <= 188)).toBe(true);
    expect(pauses.slice(8).every((pause) => pause >= 5_000)).toBe(true);
    expect(at.length).toBeGreaterThan(9);
  });

  it("WG-75: at least 100 ms, at most REKEY_TIMEOUT, and not for a renewal", () => {
    for (const [rttMs, least] of [
      [1, 100],
      [10_000, 5_000],
    ] as const) {
      const { world, a, ab } = pair("tunnel");
      world.loses = () => true;
      a.device.setRoundTrip(ab, rttMs);
      a.device.initiate(world.now, ab);
      until(world, 6_500);
      const [first = 0, second = 0] = initiationsAfter(world, -1);
      expect(second - first).toBeGreaterThanOrEqual(least);
      expect(second - first).toBeLessThanOrEqual(least * 1.25 + 1);
    }
    const { world, a, ab } = tunnel();
    a.device.setRoundTrip(ab, 10);
    until(world, 6_000);
    world.loses = () => true;
    a.device.initiate(world.now, ab);
    until(world, 10_900);
    expect(initiationsAfter(world, 5_999)).toEqual([6_000]);
  });

  it("WG-25, WG-75: an answer to the first of four initiations still counts, and one session results", () => {
    const { world, a, b, ab, ba } = pair("tunnel");
    world.latencyMs = 200;
    a.device.setRoundTrip(ab, 30);
    a.device.initiate(world.now, ab);
    until(world, 3_000);
    expect(kindsFrom(world, a, "initiation").length).toBe(4);
    expect(eventKinds(a)).toEqual(["established"]);
    send(world, a, b, "there");
    until(world, 3_300);
    expect(b.received).toEqual(["there"]);
    expect(eventKinds(b).filter((kind) => kind === "established")).toHaveLength(1);
    expect(b.device.stats(ba).hasUsableSession).toBe(true);
    send(world, b, a, "back");
    until(world, 3_600);
    expect(a.received).toEqual(["back"]);
  });
});
