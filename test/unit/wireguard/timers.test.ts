/**
 * The table T1 to T11 of WG-42, row by row, under the three policies.
 *
 * With a latency of 5 ms a handshake that a begins at 0 makes b's session at 5 (confirmed at 15) and
 * a's at 10. "Age" below is the age of a's session.
 */
import { describe, expect, it } from "vitest";
import { instant } from "../../../src/base/index.ts";
import { MAX_JITTER_MS } from "../../../src/wireguard/constants.ts";
import { CLIENT_POLICY } from "../../../src/wireguard/index.ts";
import {
  advance,
  eventKinds,
  initiationsAfter,
  kindsFrom,
  pair,
  START,
  send,
  settle,
  sleepUntil,
  tunnel,
  until,
} from "./wire.ts";

const MADE = 10;

function plain() {
  const made = pair();
  send(made.world, made.a, made.b, "hello");
  until(made.world, 100);
  return made;
}

describe("T1: sessions end", () => {
  it("WG-17: the initiator sends until 170 s of its session, not longer", () => {
    for (const [age, reaches] of [
      [169_999, true],
      [170_000, false],
    ] as const) {
      const { world, a, b } = plain();
      until(world, MADE + age);
      world.loses = (line) => line.kind === "initiation";
      send(world, a, b, "late");
      advance(world, 5);
      expect(b.received.includes("late")).toBe(reaches);
    }
  });

  it("WG-17: the responder sends until 180 s of its session, not longer", () => {
    for (const [age, reaches] of [
      [179_990, true],
      [180_000, false],
    ] as const) {
      const { world, a, b } = plain();
      until(world, 5 + age);
      send(world, b, a, "late");
      // Arrives at age 179,990 of a's session, which is five milliseconds younger than b's.
      advance(world, 5);
      expect(a.received.includes("late")).toBe(reaches);
    }
  });

  it("WG-17: nothing is accepted on a session at 180 s, even if no timer has run", () => {
    const { world, a, b } = plain();
    until(world, MADE + 100_000);
    send(world, b, a, "delayed");
    const flight = world.flights.splice(0)[0];
    const bytes = flight?.bytes ?? new Uint8Array(0);
    const give = (at: number): void =>
      a.plane.handleDatagram(instant(START + at), { bytes, from: b.address, local: a.address });
    give(MADE + 180_000);
    expect(a.plane.drops()["wg_expired_session"]).toBe(1);
    give(MADE + 179_999);
    settle(world);
    expect(a.received).toEqual(["delayed"]);
  });

  it("T1: an idle plain session is gone at 180 s and nothing is sent for it", () => {
    const { world, a, ab } = plain();
    until(world, 20_000);
    const before = world.transcript.length;
    until(world, 400_000);
    expect(world.transcript).toHaveLength(before);
    expect(a.device.stats(ab).hasUsableSession).toBe(false);
  });
});

describe("T3: wiping", () => {
  it("WG-38: a plain peer without session for 540 s forgets and can start again", () => {
    const { world, a, b } = plain();
    until(world, MADE + 600_000);
    send(world, a, b, "again");
    until(world, MADE + 700_000);
    expect(b.received).toEqual(["hello", "again"]);
    expect(eventKinds(a)).toEqual(["established", "established"]);
  });

  it("WG-38: a gateway's peer expires 540 s after its creation, and ignores all from then on", () => {
    const { world, a, b, ba } = pair("tunnel");
    until(world, 539_999);
    expect(eventKinds(b)).toEqual([]);
    until(world, 540_000);
    expect(b.events).toEqual([{ kind: "expired", peer: ba, reason: "no-session" }]);
    expect(b.device.pollTimeout()).toBeUndefined();
    send(world, b, a, "x");
    b.device.initiate(world.now, ba);
    advance(world, 1_000_000);
    expect(eventKinds(b)).toEqual(["expired"]);
  });

  it("WG-38: counted from the last session", () => {
    const { world, b } = tunnel();
    world.loses = () => true;
    until(world, 5 + 539_999);
    expect(eventKinds(b)).not.toContain("expired");
    until(world, 5 + 540_000);
    expect(eventKinds(b)).toContain("expired");
  });
});

describe("T4 to T6: attempts", () => {
  it("WG-34, WG-36: retransmits after 5 to 5.333 s, at least 16 times in 90 s, and then no more", () => {
    const { world, a, b } = pair();
    world.loses = () => true;
    send(world, a, b, "anybody?");
    until(world, 300_000);
    const times = kindsFrom(world, a, "initiation").map((line) => line.at);
    expect(times.length).toBeGreaterThanOrEqual(16);
    expect(times[0]).toBe(0);
    expect(times.at(-1)).toBeLessThan(90_000);
    const gaps = times.slice(1).map((at, i) => at - (times[i] ?? 0));
    for (const gap of gaps) {
      expect(gap).toBeGreaterThanOrEqual(5_000);
      expect(gap).toBeLessThanOrEqual(5_000 + MAX_JITTER_MS);
    }
    expect(new Set(gaps).size).toBeGreaterThan(5);
    expect(a.events).toEqual([]);
    expect(a.device.drops().wg_no_response).toBe(1);
  });

  it("WG-37: a packet staged during the attempt restarts its clock in plain mode", () => {
    const { world, a, b } = pair();
    world.loses = () => true;
    send(world, a, b, "1");
    until(world, 80_000);
    send(world, a, b, "2");
    until(world, 300_000);
    const last = kindsFrom(world, a, "initiation").at(-1)?.at ?? 0;
    expect(last).toBeGreaterThan(160_000);
    expect(last).toBeLessThan(170_000);
  });

  it("WG-37: a dormant peer starts again with the next packet", () => {
    const { world, a, b } = pair();
    world.loses = () => true;
    send(world, a, b, "lost");
    until(world, 200_000);
    world.loses = () => false;
    send(world, a, b, "found");
    advance(world, 100);
    expect(b.received).toEqual(["found"]);
  });

  it("WG-37: a client gives up 15 s after its first initiation: Expired, nothing afterwards", () => {
    const { world, a, b, ab } = pair("tunnel");
    world.loses = () => true;
    until(world, 1_000);
    a.device.initiate(world.now, ab);
    send(world, a, b, "1");
    until(world, 15_999);
    expect(a.events).toEqual([]);
    expect(kindsFrom(world, a, "initiation").length).toBe(3);
    until(world, 16_000);
    expect(a.events).toEqual([{ kind: "expired", peer: ab, reason: "no-response" }]);
    expect(a.device.pollTimeout()).toBeUndefined();
    until(world, 100_000);
    expect(kindsFrom(world, a, "initiation").length).toBe(3);
    expect(a.device.drops().wg_no_response).toBe(1);
  });

  it("WG-37: while the path is suspect the clock restarts instead", () => {
    const { world, a, ab } = pair("tunnel");
    world.loses = () => true;
    a.device.initiate(world.now, ab);
    a.device.setPathSuspect(world.now, ab, true);
    until(world, 40_000);
    expect(a.events).toEqual([]);
    a.device.setPathSuspect(world.now, ab, false);
    until(world, 44_999);
    expect(a.events).toEqual([]);
    until(world, 45_000);
    expect(eventKinds(a)).toEqual(["expired"]);
  });

  it("WG-34: a wish within 5 s of the last handshake message waits for their end", () => {
    const { world, a, ab } = tunnel();
    until(world, 2_000);
    expect(a.device.initiate(world.now, ab)).toBe(true);
    until(world, 4_999);
    expect(initiationsAfter(world, 0)).toEqual([]);
    until(world, 5_000);
    expect(initiationsAfter(world, 0)).toEqual([5_000]);
  });
});

describe("T7: renewal by the initiator", () => {
  it("T7a plain: data sent at 120 s of age renews; at 119.999 s it does not", () => {
    for (const [age, renews] of [
      [119_999, false],
      [120_000, true],
    ] as const) {
      const { world, a, b } = plain();
      until(world, MADE + age);
      send(world, a, b, "data");
      advance(world, MAX_JITTER_MS);
      expect(initiationsAfter(world, 100)).toHaveLength(renews ? 1 : 0);
    }
  });

  it("T7a plain: a keepalive at that age renews as well", () => {
    const { world, a, b } = plain();
    until(world, MADE + 115_000);
    send(world, b, a, "asks for a keepalive");
    until(world, 124_000);
    expect(initiationsAfter(world, 100)).toEqual([]);
    until(world, 126_000);
    const [at] = initiationsAfter(world, 100);
    expect(at).toBeGreaterThanOrEqual(125_015);
    expect(at).toBeLessThanOrEqual(125_015 + MAX_JITTER_MS);
  });

  it("T7a client: data sent once makes the next session at 120 s, keepalives do not", () => {
    const { world, a, b } = tunnel();
    until(world, 30_000);
    send(world, a, b, "data");
    until(world, 130_000);
    const [at] = initiationsAfter(world, 100);
    expect(at).toBeGreaterThanOrEqual(MADE + 120_000);
    expect(at).toBeLessThanOrEqual(MADE + 120_000 + MAX_JITTER_MS);
  });

  it("T7b client: an idle session is renewed at 165 s, before either end stops using it", () => {
    const { world, a } = tunnel();
    until(world, MADE + 164_999);
    expect(initiationsAfter(world, 100)).toEqual([]);
    until(world, MADE + 166_000);
    const [at] = initiationsAfter(world, 100);
    expect(at).toBeGreaterThanOrEqual(MADE + 165_000);
    expect(at).toBeLessThanOrEqual(MADE + 165_000 + MAX_JITTER_MS);
    until(world, 3_600_000);
    // Every 165 s: 21 renewals in the hour, all by the client, and never a gap without session.
    expect(kindsFrom(world, a, "initiation").length).toBe(22);
    expect(world.transcript.filter((line) => line.from === "b" && line.kind === "initiation")).toEqual([]);
  });

  it("T7b plain: a session on which data was received is renewed at 165 s", () => {
    const { world, a, b } = plain();
    send(world, b, a, "answer");
    until(world, MADE + 164_999);
    expect(initiationsAfter(world, 100)).toEqual([]);
    until(world, MADE + 166_000);
    expect(initiationsAfter(world, 100)).toHaveLength(1);
  });

  it("T7: the responder does not renew, in any policy", () => {
    const { world, a, b } = plain();
    until(world, MADE + 150_000);
    send(world, b, a, "old responder");
    advance(world, 1_000);
    expect(kindsFrom(world, b, "initiation")).toEqual([]);
  });

  it("T7c: the message limit renews at once", () => {
    const { world, a, ab } = tunnel();
    until(world, 20_000);
    const generation = 1;
    a.device.handlePlaneEvent(world.now, { kind: "counter", slot: ab.slot, generation, limit: "rekey" });
    advance(world, MAX_JITTER_MS);
    expect(initiationsAfter(world, 100)).toHaveLength(1);
    advance(world, 20_000);
    expect(initiationsAfter(world, 100)).toHaveLength(1);
  });
});

describe("T8, T9: sessions that may be dead", () => {
  it("T8: data unanswered for 15 s starts a handshake", () => {
    for (const policy of ["plain", "tunnel"] as const) {
      const { world, a, b } = policy === "plain" ? plain() : tunnel();
      until(world, 20_000);
      world.loses = (line) => line.from === "b";
      send(world, a, b, "hello?");
      until(world, 34_999);
      expect(initiationsAfter(world, 100)).toEqual([]);
      until(world, 35_000 + MAX_JITTER_MS);
      expect(initiationsAfter(world, 100)).toHaveLength(1);
    }
  });

  it("T8: data that continues does not push it away", () => {
    const { world, a, b } = tunnel();
    until(world, 20_000);
    world.loses = (line) => line.from === "b";
    for (let i = 0; i < 30; i++) {
      send(world, a, b, `${i}`);
      advance(world, 500);
    }
    expect(initiationsAfter(world, 100)).toEqual([]);
    advance(world, MAX_JITTER_MS);
    expect(initiationsAfter(world, 100)).toHaveLength(1);
  });

  it("T8: a gateway waits for its client", () => {
    const { world, a, b } = tunnel();
    until(world, 20_000);
    world.loses = () => true;
    send(world, b, a, "hello?");
    until(world, 100_000);
    expect(kindsFrom(world, b, "initiation")).toEqual([]);
  });

  it("T8, WG-37: an attempt that was given up is not repeated without new data", () => {
    const { world, a, b } = plain();
    until(world, 20_000);
    world.loses = () => true;
    send(world, a, b, "hello?");
    until(world, 126_000);
    const given = kindsFrom(world, a, "initiation").length;
    until(world, 150_000);
    expect(kindsFrom(world, a, "initiation")).toHaveLength(given);
    send(world, a, b, "hello again?");
    until(world, 167_000);
    expect(kindsFrom(world, a, "initiation").length).toBeGreaterThan(given);
  });

  it("T9: a client that slept beyond its session makes a new one", () => {
    const { world, a } = tunnel();
    sleepUntil(world, START + 250_000);
    advance(world, MAX_JITTER_MS + 20);
    expect(initiationsAfter(world, 100)).toHaveLength(1);
    expect(eventKinds(a)).toEqual(["established", "established"]);
  });

  it("T9: a gateway does not", () => {
    const { world, b } = tunnel();
    sleepUntil(world, START + 250_000);
    advance(world, 1_000);
    expect(kindsFrom(world, b, "initiation")).toEqual([]);
  });
});

describe("T10: passive keepalive", () => {
  it.each(["plain", "tunnel"] as const)("T10 %s: one-way data is answered once, after 10 s", (policy) => {
    const { world, a, b } = policy === "plain" ? plain() : tunnel();
    until(world, 50_000);
    const before = kindsFrom(world, b, "keepalive").length;
    send(world, a, b, "one way");
    until(world, 60_004);
    expect(kindsFrom(world, b, "keepalive")).toHaveLength(before);
    until(world, 60_005);
    expect(kindsFrom(world, b, "keepalive")).toHaveLength(before + 1);
    until(world, 74_000);
    expect(kindsFrom(world, b, "keepalive")).toHaveLength(before + 1);
  });

  it("T10: an answer with data makes the keepalive unnecessary", () => {
    const { world, a, b } = plain();
    until(world, 50_000);
    const before = kindsFrom(world, b, "keepalive").length;
    send(world, a, b, "ping");
    advance(world, 9_000);
    send(world, b, a, "pong");
    advance(world, 9_000);
    expect(kindsFrom(world, b, "keepalive")).toHaveLength(before);
  });

  it("WG-41: a continuous one-way stream is answered every 10 s and never starts a handshake", () => {
    const { world, a, b } = plain();
    until(world, 20_000);
    for (let i = 0; i < 350; i++) {
      send(world, a, b, `${i}`);
      advance(world, 100);
    }
    const keepalives = kindsFrom(world, b, "keepalive").filter((line) => line.at > 20_000);
    expect(keepalives.map((line) => Math.round(line.at / 100))).toEqual([300, 401, 502]);
    expect(initiationsAfter(world, 100)).toEqual([]);
  });

  it("T10: keepalives are not answered: no ping-pong in an hour", () => {
    const { world } = plain();
    until(world, 3_600_000);
    // b acknowledges the one data packet; nothing acknowledges that.
    expect(world.transcript.filter((line) => line.kind === "keepalive")).toHaveLength(1);
  });
});

describe("T11: persistent keepalive", () => {
  it("T11 client: every 25 s without traffic, and traffic of either side pushes it back", () => {
    const { world, a, b } = tunnel();
    // The last of those that confirm the session (T12).
    until(world, 1_760 + 24_999);
    expect(kindsFrom(world, a, "keepalive")).toHaveLength(4);
    until(world, 1_760 + 25_000);
    expect(kindsFrom(world, a, "keepalive")).toHaveLength(5);
    until(world, 40_000);
    send(world, a, b, "data");
    until(world, 64_999);
    // The gateway's keepalive for that data came at 50,005 and arrived at 50,010.
    expect(kindsFrom(world, a, "keepalive")).toHaveLength(5);
    until(world, 75_010);
    expect(kindsFrom(world, a, "keepalive")).toHaveLength(6);
  });

  it("T11 client: without a session it does not start a handshake", () => {
    const { world } = pair("tunnel");
    until(world, 200_000);
    expect(world.transcript).toEqual([]);
    expect(CLIENT_POLICY.keepaliveInitiates).toBe(false);
  });

  it("T11 plain: without a session it starts one, again and again", () => {
    const { world, a, ab } = pair();
    world.loses = () => true;
    a.device.setKeepalive(world.now, ab, 25_000);
    until(world, 300_000);
    const times = kindsFrom(world, a, "initiation").map((line) => line.at);
    expect(times[0]).toBe(0);
    // 90 s of attempts, 25 s after the last of them, the next.
    const pauses = times
      .slice(1)
      .map((at, i) => at - (times[i] ?? 0))
      .filter((gap) => gap > 6_000);
    expect(pauses.length).toBeGreaterThanOrEqual(2);
    for (const pause of pauses) {
      expect(pause).toBeGreaterThanOrEqual(25_000);
      expect(pause).toBeLessThanOrEqual(25_000 + MAX_JITTER_MS);
    }
  });

  it("T11: off by default for plain peers and gateways", () => {
    const { world, a, b } = plain();
    until(world, 160_000);
    expect(kindsFrom(world, a, "keepalive")).toEqual([]);
    expect(kindsFrom(world, b, "keepalive")).toHaveLength(1);
  });
});

describe("WG-40, WG-50: an idle device sleeps", () => {
  it("WG-43: an idle plain pair wakes only for what can happen", () => {
    const { world, a } = plain();
    until(world, 20_000);
    const wakes: number[] = [];
    for (let due = a.device.pollTimeout(); due !== undefined; due = a.device.pollTimeout()) {
      wakes.push(due - START - MADE);
      a.device.handleTimeout(due);
      world.now = due;
      settle(world);
    }
    expect(wakes).toEqual([120_000, 165_000, 180_000, 540_000]);
  });

  it("WG-50: an active peer costs at most one event in 10 s", () => {
    const { world, a, b } = plain();
    let wakes = 0;
    for (let i = 0; i < 1_000; i++) {
      send(world, a, b, `${i}`);
      send(world, b, a, `${i}`);
      const due = a.device.pollTimeout();
      advance(world, 100);
      if (due !== undefined && due <= world.now) wakes++;
    }
    expect(wakes).toBeLessThanOrEqual(11);
  });

  it("D-2: timeoutReason says which peer and what for", () => {
    const { a } = plain();
    expect(a.device.timeoutReason()).toMatch(/^[A-Za-z0-9+/]{8}: \w/);
  });
});
