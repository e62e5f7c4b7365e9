/** Who may ask for control's time: mac1, cookies, shares and budgets (PG-160, WG-22, WG-31 to WG-33). */
import { describe, expect, it } from "vitest";
import type { Plane } from "../../../bindings/plane/index.ts";
import { type Instant, instant, ip, type SocketAddress } from "../../../src/base/index.ts";
import type { PlaneEvent } from "../../../src/plane/index.ts";
import { sealMessage } from "../../twin/plane/message.ts";
import { expectLaw } from "./law.ts";
import {
  A,
  B,
  createPair,
  directPath,
  NOW,
  PEER_A,
  SLOT,
  STUN_HEADER,
  sessionKeys,
  testPlane,
} from "./pair.ts";
import { createStranger, STRANGER } from "./stranger.ts";

const FREE = 10;
const elsewhere = (i: number): SocketAddress => ({ address: ip(`198.51.${i >> 8}.${i & 255}`), port: 7000 });

function guarded() {
  const plane = testPlane();
  const { guard, stranger } = createStranger();
  plane.execute({ kind: "set-guard", guard });
  return { plane, stranger };
}

function receive(plane: Plane, bytes: Uint8Array, from = STRANGER, now: Instant = NOW): void {
  plane.drive.ingress(now, { from, local: B.address, bytes });
}

/** What control was handed. */
function handed(plane: Plane): readonly PlaneEvent[] {
  return plane.takeEvents(5000);
}

const drops = (plane: Plane) => plane.counters().ingress.drops;

/** A guarded plane whose free share is used up by strangers, so that it is under load. */
function underLoad() {
  const { plane, stranger } = guarded();
  for (let i = 0; i < FREE; i++) receive(plane, stranger.initiation(), elsewhere(i));
  handed(plane);
  return { plane, stranger };
}

describe("mac1", () => {
  it("WG-22: a handshake message without knowledge of our key never reaches control", () => {
    const { plane, stranger } = guarded();
    const initiation = stranger.initiation();
    for (const at of [0, 4, 8, 115, 116, 131].filter((byte) => byte > 3)) {
      const bent = initiation.slice();
      bent[at] = (bent[at] ?? 0) ^ 1;
      receive(plane, bent);
    }
    expect(drops(plane)).toEqual({ wg_bad_mac1: 5 });
    receive(plane, initiation);
    expect(handed(plane)).toMatchObject([{ kind: "handshake", isJudged: true, from: STRANGER }]);
    expectLaw(plane);
  });

  it("WG-61: with another key of ours, messages to the old one are strange", () => {
    const { plane, stranger } = guarded();
    plane.execute({ kind: "set-guard", guard: createStranger(2).guard });
    receive(plane, stranger.initiation());
    expect(drops(plane)).toEqual({ wg_bad_mac1: 1 });
  });

  it("PG-160: without a key nothing can be judged, and control is told so", () => {
    const plane = testPlane();
    receive(plane, createStranger().stranger.initiation());
    const [event] = handed(plane);
    expect(event).toMatchObject({ kind: "handshake" });
    expect(event).not.toHaveProperty("isJudged");
  });
});

describe("under load", () => {
  it("WG-31: 10 initiations of anybody in 100 ms are free; the next gets a cookie and nothing else", () => {
    const { plane, stranger } = guarded();
    for (let i = 0; i < FREE; i++) receive(plane, stranger.initiation(), elsewhere(i));
    expect(handed(plane)).toHaveLength(FREE);
    const initiation = stranger.initiation();
    receive(plane, initiation);
    expect(handed(plane)).toEqual([]);
    const [reply] = plane.drive.takeReplies();
    expect(reply).toHaveLength(64);
    expect(stranger.cookieIn(reply ?? new Uint8Array(), initiation)).toHaveLength(16);
    expect(drops(plane)).toEqual({ wg_cookie_asked: 1 });
    expectLaw(plane);
  });

  it("WG-32: the cookie opens the door, from its own address and port alone", () => {
    const { plane, stranger } = underLoad();
    const first = stranger.initiation();
    receive(plane, first);
    const cookie = stranger.cookieIn(plane.drive.takeReplies()[0] ?? new Uint8Array(), first);
    receive(plane, stranger.initiation(cookie), { ...STRANGER, port: STRANGER.port + 1 });
    receive(plane, stranger.initiation(cookie), { ...STRANGER, address: ip("203.0.113.8") });
    expect(handed(plane)).toEqual([]);
    receive(plane, stranger.initiation(cookie));
    expect(handed(plane)).toMatchObject([{ kind: "handshake", isJudged: true }]);
  });

  it("WG-33: a cookie is good until its period of 120 s ends", () => {
    const { plane, stranger } = underLoad();
    const first = stranger.initiation();
    receive(plane, first);
    const cookie = stranger.cookieIn(plane.drive.takeReplies()[0] ?? new Uint8Array(), first);
    const end = instant(Math.ceil((NOW + 1) / 120_000) * 120_000);
    for (const now of [instant(end - 1), end]) {
      for (let i = 0; i < FREE; i++) receive(plane, stranger.initiation(), elsewhere(i), now);
      handed(plane);
      receive(plane, stranger.initiation(cookie), STRANGER, now);
      expect(handed(plane)).toHaveLength(now === end ? 0 : 1);
    }
  });

  it("WG-31: it lasts a second behind the last time that the free share was used up", () => {
    const { plane, stranger } = underLoad();
    receive(plane, stranger.initiation());
    receive(plane, stranger.initiation(), elsewhere(20), instant(NOW + 999));
    expect(handed(plane)).toEqual([]);
    receive(plane, stranger.initiation(), elsewhere(21), instant(NOW + 1000));
    expect(handed(plane)).toHaveLength(1);
  });

  it("PG-160: one source gets 5 cookies at once and 20 a second, an IPv6 /64 like one address", () => {
    const { plane, stranger } = underLoad();
    for (let i = 0; i < 6; i++) receive(plane, stranger.initiation(), { ...STRANGER, port: 1000 + i });
    expect(drops(plane)).toEqual({ wg_cookie_asked: 5, wg_under_load: 1 });
    receive(plane, stranger.initiation(), STRANGER, instant(NOW + 49));
    expect(drops(plane)).toEqual({ wg_cookie_asked: 5, wg_under_load: 2 });
    receive(plane, stranger.initiation(), STRANGER, instant(NOW + 50));
    expect(drops(plane)).toEqual({ wg_cookie_asked: 6, wg_under_load: 2 });
    for (let i = 0; i < 6; i++)
      receive(plane, stranger.initiation(), { address: ip(`2001:db8::${i}`), port: 1 });
    expect(drops(plane)).toEqual({ wg_cookie_asked: 11, wg_under_load: 3 });
    receive(plane, stranger.initiation(), { address: ip("2001:db8:0:1::1"), port: 1 });
    expect(drops(plane)).toEqual({ wg_cookie_asked: 12, wg_under_load: 3 });
  });

  it("PG-160: of 5,000 random sources in 100 ms 600 are answered, and none of them reaches control", () => {
    const { plane, stranger } = underLoad();
    const initiation = stranger.initiation();
    let replies = 0;
    for (let i = 0; i < 5000; i++) {
      receive(plane, initiation, { address: ip(`10.${i >> 8}.${i & 255}.1`), port: 9 });
      replies += plane.drive.takeReplies().length;
    }
    expect(replies).toBe(600);
    expect(handed(plane)).toEqual([]);
    expect(drops(plane)).toEqual({ wg_cookie_asked: 600, wg_under_load: 4400 });
  });

  it("PG-160: of as many with a wrong mac2 900 are looked at, and 300 answered; the others get the rest", () => {
    const { plane, stranger } = underLoad();
    const wrong = stranger.initiation(new Uint8Array(16).fill(7));
    const bare = stranger.initiation();
    const from = (i: number) => ({ address: ip(`10.${i >> 8}.${i & 255}.1`), port: 9 });
    for (let i = 0; i < 5000; i++) receive(plane, wrong, from(i));
    expect(drops(plane)).toEqual({ wg_cookie_asked: 300, wg_under_load: 4700 });
    for (let i = 0; i < 5000; i++) receive(plane, bare, from(5000 + i));
    expect(drops(plane)).toEqual({ wg_cookie_asked: 600, wg_under_load: 9400 });
    // Nothing is hashed for one more, so that a right one is not known for what it is before the next window.
    const first = stranger.initiation();
    receive(plane, first, STRANGER, instant(NOW + 100));
    const replies = plane.drive.takeReplies();
    const cookie = stranger.cookieIn(replies.at(-1) ?? new Uint8Array(), first);
    for (let i = 0; i < 900; i++) receive(plane, wrong, from(i), instant(NOW + 100));
    receive(plane, stranger.initiation(cookie), STRANGER, instant(NOW + 100));
    expect(handed(plane)).toEqual([]);
    receive(plane, stranger.initiation(cookie), STRANGER, instant(NOW + 200));
    expect(handed(plane)).toHaveLength(1);
  });

  it("PG-160: nonces of cookie replies never repeat", () => {
    const { plane, stranger } = underLoad();
    const nonces = Array.from({ length: 50 }, (_, i) => {
      receive(plane, stranger.initiation(), elsewhere(100 + i));
      const [reply = new Uint8Array()] = plane.drive.takeReplies();
      return reply.slice(8, 32).join(".");
    });
    expect(new Set(nonces).size).toBe(50);
  });
});

describe("while data waits (PG-160)", () => {
  /** In one window after the other: so many messages of a peer, then 700 strangers; how many are answered. */
  function answered(perWindow: readonly number[], { gapMs = 100, text = 0 } = {}): readonly number[] {
    const { b } = createPair();
    const { guard, stranger } = createStranger();
    b.execute({ kind: "set-guard", guard });
    const { remote, sendKey } = sessionKeys("a");
    const initiation = stranger.initiation();
    let counter = 0n;
    return perWindow.map((messages, window) => {
      const now = instant(NOW + window * gapMs);
      const before = drops(b)["wg_cookie_asked"] ?? 0;
      for (let i = 0; i < 700; i++) receive(b, initiation, elsewhere(window * 700 + i), now);
      for (let i = 0; i < messages; i++)
        receive(b, sealMessage(sendKey, remote, counter++, new Uint8Array(text)), A, now);
      b.drive.takeReplies();
      handed(b);
      return (drops(b)["wg_cookie_asked"] ?? 0) - before;
    });
  }

  it("replies take a quarter of the time that it took in the window before, and 60 are sent at least", () => {
    // 10 µs for each batch, 20 for each reply.
    expect(answered([1600, 1600, 10, 1600])).toEqual([600, 200, 200, 60]);
    // And one for each KiB.
    expect(answered([600, 0], { text: 1040 })).toEqual([600, 82]);
  });

  it("each window without data gives back 60, a pause all of them", () => {
    expect(answered([100, 0, 0, 0])).toEqual([600, 60, 120, 180]);
    expect(answered([100, 100, 0], { gapMs: 200 })).toEqual([600, 600, 600]);
  });
});

describe("those who have proved to be somebody", () => {
  it("PG-160: the address that a peer's path leads to asks for no cookie", () => {
    const { plane, stranger } = underLoad();
    plane.execute({ kind: "add-peer", slot: SLOT, peerId: PEER_A });
    plane.execute({ kind: "set-path", slot: SLOT, path: directPath(A) });
    receive(plane, stranger.initiation(), A);
    receive(plane, stranger.initiation(), { ...A, port: A.port + 1 });
    expect(handed(plane)).toMatchObject([{ kind: "handshake", from: A }]);
    expect(drops(plane)).toEqual({ wg_cookie_asked: 1 });
  });

  it("PG-160: nor does the source of a check, before there is a path", () => {
    const { plane, stranger } = underLoad();
    plane.execute({ kind: "know-source", source: A });
    receive(plane, stranger.initiation(), A);
    receive(plane, stranger.initiation(), { ...A, port: A.port + 1 });
    expect(handed(plane)).toMatchObject([{ kind: "handshake", from: A }]);
    expect(drops(plane)).toEqual({ wg_cookie_asked: 1 });
  });

  it("PG-160: nor does the source of authentic data, for as long as a session lives", () => {
    const { b } = createPair();
    const { guard, stranger } = createStranger();
    b.execute({ kind: "set-guard", guard });
    const roamed = { ...STRANGER, port: 5555 };
    const { remote, sendKey } = sessionKeys("a");
    receive(b, sealMessage(sendKey, remote, 0n, new Uint8Array()), roamed);
    for (let i = 0; i < FREE; i++) receive(b, stranger.initiation(), elsewhere(i));
    handed(b);
    receive(b, stranger.initiation(), roamed);
    expect(handed(b)).toMatchObject([{ kind: "handshake", from: roamed }]);
    const late = instant(NOW + 13 * 16_384 + 16_384);
    for (let i = 0; i < FREE; i++) receive(b, stranger.initiation(), elsewhere(i), late);
    handed(b);
    receive(b, stranger.initiation(), roamed, late);
    expect(handed(b)).toEqual([]);
  });

  it("PG-160: answers to our own messages name a peer, and each peer has a budget", () => {
    const { plane, stranger } = underLoad();
    plane.execute({ kind: "add-peer", slot: SLOT, peerId: PEER_A });
    receive(plane, stranger.response(PEER_A + 1));
    expect(drops(plane)).toEqual({ wg_unknown_index: 1 });
    for (let i = 0; i < 6; i++) receive(plane, stranger.response(PEER_A), elsewhere(i));
    expect(handed(plane)).toHaveLength(5);
    expect(drops(plane)).toEqual({ wg_unknown_index: 1, wg_source_rate: 1 });
    expectLaw(plane);
  });

  it("PG-160: a flood of STUN from strangers leaves the share of known sources alone", () => {
    const plane = testPlane();
    plane.execute({ kind: "add-peer", slot: SLOT, peerId: PEER_A });
    plane.execute({ kind: "set-path", slot: SLOT, path: directPath(A) });
    for (let i = 0; i < 1000; i++) receive(plane, STUN_HEADER, elsewhere(i));
    expect(handed(plane)).toHaveLength(400);
    for (let i = 0; i < 1000; i++) receive(plane, STUN_HEADER);
    expect(handed(plane)).toHaveLength(0);
    for (let i = 0; i < 401; i++) receive(plane, STUN_HEADER, A);
    expect(handed(plane)).toHaveLength(400);
    expect(drops(plane)).toEqual({ "punt-rate": 1601 });
  });

  it("PG-160: one stranger's STUN is 100 in 100 ms, and 5 more, so that others get through", () => {
    const plane = testPlane();
    for (let i = 0; i < 300; i++) receive(plane, STUN_HEADER);
    expect(handed(plane)).toHaveLength(105);
    receive(plane, STUN_HEADER, elsewhere(1));
    expect(handed(plane)).toHaveLength(1);
  });
});
