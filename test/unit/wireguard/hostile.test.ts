/** Failures and hostile input: sections 5 and 11. */

import { describe, expect, it } from "vitest";
import { fromHex, instant, toHex } from "../../../src/base/index.ts";
import type { HandshakeOutcome } from "../../../src/wireguard/index.ts";
import { parseMessage } from "../../../src/wireguard/messages.ts";
import type { WgDropReason } from "../../../src/wireguard/reasons.ts";
import fc from "../../lib/property.ts";
import {
  addEnd,
  addPeer,
  advance,
  createWorld,
  type End,
  eventKinds,
  pair,
  send,
  type World,
} from "./wire.ts";

describe("keys that disagree", () => {
  it("WG-24: a wrong preshared key is reported at once, not after the attempt time", () => {
    const world = createWorld();
    const a = addEnd(world, { name: "a", address: "192.0.2.1" });
    const b = addEnd(world, { name: "b", address: "192.0.2.2" });
    addPeer(world, b, a, { presharedKey: new Uint8Array(32).fill(1) });
    const ab = addPeer(world, a, b, { presharedKey: new Uint8Array(32).fill(2) });
    send(world, a, b, "x");
    advance(world, 10);
    expect(a.events).toEqual([
      { kind: "handshake-failed", peer: ab, reason: "undecryptable-response", source: b.address },
    ]);
    expect(a.device.drops().wg_bad_response).toBe(1);
    // Plain mode tries on: the other end may be set right meanwhile.
    advance(world, 6_000);
    expect(world.transcript.filter((line) => line.kind === "initiation")).toHaveLength(2);
  });

  it("WG-22: an initiation to the wrong static key stays without answer", () => {
    const { world, a, b } = pair("tunnel");
    const stranger = addEnd(world, { name: "c", address: "192.0.2.3" });
    addPeer(world, stranger, b);
    stranger.device.initiate(world.now, stranger.device.peerBySlot(0) ?? { slot: 0, peerId: 0 });
    advance(world, 100);
    expect(world.transcript.filter((line) => line.from === "b")).toEqual([]);
    expect(b.device.drops().wg_unknown_peer).toBe(1);
    expect(eventKinds(a)).toEqual([]);
  });

  it("WG-37: silence ends a client's attempt after 15 s as no-response", () => {
    const { world, a, ab } = pair("tunnel");
    world.loses = () => true;
    a.device.initiate(world.now, ab);
    advance(world, 15_000);
    expect(a.events).toEqual([{ kind: "expired", peer: ab, reason: "no-response" }]);
  });
});

/** An initiation and a response that are valid for `b` and `a` in this world. */
function captured(): { world: World; a: End; b: End; initiation: Uint8Array; response: Uint8Array } {
  const { world, a, b, ab } = pair("tunnel");
  a.device.initiate(world.now, ab);
  advance(world, 0);
  const initiation = world.flights[0]?.bytes ?? new Uint8Array(0);
  advance(world, 5);
  const response = world.flights.splice(0)[0]?.bytes ?? new Uint8Array(0);
  return { world, a, b, initiation, response };
}

describe("datagrams that are no messages", () => {
  const MALFORMED = {
    empty: "",
    "three bytes": "010000",
    "type 0": "00000000",
    "type 5": "05000000",
    "reserved byte": `01000100${"00".repeat(144)}`,
    "initiation one byte short": `01000000${"00".repeat(143)}`,
    "initiation one byte long": `01000000${"00".repeat(145)}`,
    "response one byte short": `02000000${"00".repeat(87)}`,
    "response one byte long": `02000000${"00".repeat(89)}`,
    "cookie reply one byte short": `03000000${"00".repeat(59)}`,
    "cookie reply one byte long": `03000000${"00".repeat(61)}`,
    "transport of 31 bytes": `04000000${"00".repeat(27)}`,
    "transport, which is the plane's": `04000000${"00".repeat(28)}`,
  };

  it.each(Object.entries(MALFORMED))("WG-22: %s is wg_malformed", (_name, text) => {
    const { world, b } = pair();
    const datagram = fromHex(text) ?? new Uint8Array(0);
    const outcome = b.device.handleHandshake(world.now, { datagram, source: b.address });
    expect(outcome).toEqual({ kind: "dropped", reason: "wg_malformed" });
    expect(b.device.drops().wg_malformed).toBe(1);
  });

  it("WG-4: the exact lengths are messages", () => {
    for (const [type, bytes] of [
      [1, 148],
      [2, 92],
      [3, 64],
      [4, 32],
      [4, 33],
    ] as const) {
      const datagram = new Uint8Array(bytes);
      datagram[0] = type;
      expect(parseMessage(datagram).ok).toBe(true);
    }
  });
});

describe("one changed bit", () => {
  /** By the field in which the bit lies; all but mac2, which nobody looks at without load. */
  it("WG-22: any bit of an initiation before mac2 stops it, for the right reason", () => {
    const { world, b, initiation } = captured();
    const fresh = createWorldLike(b, world);
    for (let at = 0; at < 132; at++) {
      const datagram = initiation.slice();
      datagram[at] = (datagram[at] ?? 0) ^ (1 << (at % 8));
      const outcome = fresh.handle(datagram);
      const expected: WgDropReason = at < 4 ? "wg_malformed" : "wg_bad_mac1";
      expect(outcome, `byte ${at}`).toEqual({ kind: "dropped", reason: expected });
    }
  });

  it("WG-22: any bit of a response before mac2 stops it", () => {
    const { world, a, response } = captured();
    for (let at = 0; at < 76; at++) {
      const datagram = response.slice();
      datagram[at] = (datagram[at] ?? 0) ^ (1 << (at % 8));
      const outcome = a.device.handleHandshake(world.now, { datagram, source: a.address });
      expect(outcome.kind, `byte ${at}`).toBe("dropped");
    }
    expect(a.device.handleHandshake(world.now, { datagram: response }).kind).toBe("accepted");
  });
});

function createWorldLike(end: End, world: World): { handle: (datagram: Uint8Array) => HandshakeOutcome } {
  return { handle: (datagram) => end.device.handleHandshake(world.now, { datagram, source: end.address }) };
}

describe("fuzz", () => {
  const sizes = fc.constantFrom(0, 3, 4, 31, 32, 63, 64, 65, 91, 92, 93, 147, 148, 149, 1500);
  const noise = sizes.chain((size) =>
    fc.tuple(fc.uint8Array({ minLength: size, maxLength: size }), fc.integer({ min: 0, max: 5 })),
  );

  it("WG-70: random datagrams neither throw nor change anything", () => {
    const { world, a, b, ab, ba } = pair();
    send(world, a, b, "x");
    advance(world, 50);
    const stateOf = (): string =>
      JSON.stringify([
        a.device.stats(ab),
        b.device.stats(ba).lastHandshake,
        a.device.pollTimeout(),
        b.device.pollTimeout(),
        a.device.pollTransmit(),
        a.device.pollCommand(),
        a.device.pollEvent(),
      ]);
    const before = stateOf();
    fc.assert(
      fc.property(noise, ([bytes, type]) => {
        const datagram = bytes.slice();
        if (datagram.length >= 4) datagram.set([type, 0, 0, 0]);
        for (const end of [a, b]) {
          const outcome = end.device.handleHandshake(world.now, { datagram, source: end.address });
          expect(outcome.kind).toBe("dropped");
        }
      }),
      { numRuns: 400 },
    );
    // Drops are counted per device; nothing was attributed to the peer.
    expect(stateOf()).toBe(before);
  });

  it("WG-70: bit-flipped and cut valid messages neither throw nor make a session", () => {
    const { world, a, b, initiation, response } = captured();
    const before = [b.plane.records.activity(0).rxPackets, eventKinds(b).length];
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.array(fc.nat({ max: 115 * 8 }), { minLength: 1, maxLength: 4 }),
        fc.option(fc.nat({ max: 147 })),
        (isInitiation, bits, cut) => {
          const original = isInitiation ? initiation : response;
          const datagram = original.slice(0, cut ?? original.length);
          for (const bit of new Set(bits)) {
            const at = (bit >> 3) % Math.min(datagram.length || 1, isInitiation ? 116 : 60);
            datagram[at] = (datagram[at] ?? 0) ^ (1 << (bit & 7));
          }
          if (toHex(datagram) === toHex(original)) return;
          const end = isInitiation ? b : a;
          expect(end.device.handleHandshake(world.now, { datagram, source: end.address }).kind).toBe(
            "dropped",
          );
        },
      ),
      { numRuns: 400 },
    );
    expect([b.plane.records.activity(0).rxPackets, eventKinds(b).length]).toEqual(before);
    expect(a.device.pollEvent()).toBeUndefined();
  });
});

it("WG-66: a device without private key answers nobody and calls nobody", () => {
  const { world, a, b, ab } = pair();
  a.device.setStaticKey(instant(world.now), undefined);
  send(world, a, b, "x");
  expect(a.device.initiate(world.now, ab)).toBe(false);
  send(world, b, a, "y");
  advance(world, 20_000);
  expect(world.transcript.filter((line) => line.from === "a")).toEqual([]);
  expect(a.device.drops().wg_no_key).toBeGreaterThan(0);
});
