/** Handshakes and sessions between two devices: sections 4, 5 and 7. */
import { describe, expect, it } from "vitest";
import { instant, toHex } from "../../../src/base/index.ts";
import { formatIndex } from "../../../src/wireguard/messages.ts";
import {
  addEnd,
  addPeer,
  advance,
  createWorld,
  eventKinds,
  join,
  kindsFrom,
  pair,
  START,
  send,
  settle,
} from "./wire.ts";

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

function timeline(world: { transcript: readonly { from: string; kind: string }[] }): readonly string[] {
  return world.transcript.map((line) => `${line.from} ${line.kind}`);
}

describe("a handshake", () => {
  it("WG-18, WG-19, WG-23, WG-26: one packet makes a session and arrives on it", () => {
    const { world, a, b, ab } = pair();
    send(world, a, b, "hello");
    advance(world, 100);
    expect(b.received).toEqual(["hello"]);
    expect(timeline(world)).toEqual(["a initiation", "b response", "a data"]);
    expect(a.events).toEqual([{ kind: "established", peer: ab, isInitiator: true, rttMs: 10, tookMs: 10 }]);
    expect(eventKinds(b)).toEqual(["answered", "established"]);
    expect(a.device.stats(ab)).toMatchObject({
      rttMs: 10,
      lastHandshake: START + 10,
      hasUsableSession: true,
    });
  });

  it("PG-114: a handshake whose first initiation was lost took as long as from that one on", () => {
    const { world, a, ab } = pair("tunnel");
    world.loses = (line) => line.kind === "initiation" && world.now === START;
    a.device.initiate(world.now, ab);
    advance(world, 6_000);
    const [established] = a.events;
    expect(established).toMatchObject({ kind: "established", isInitiator: true, rttMs: 10 });
    const tookMs = established?.kind === "established" ? established.tookMs : undefined;
    expect(tookMs).toBeGreaterThanOrEqual(5_010);
    expect(tookMs).toBeLessThanOrEqual(5_343);
  });

  it("WG-19: without a staged packet the initiator confirms with one keepalive", () => {
    const { world, a, b, ab } = pair("tunnel");
    expect(a.device.initiate(world.now, ab)).toBe(true);
    expect(a.device.initiate(world.now, ab)).toBe(false);
    advance(world, 100);
    expect(timeline(world)).toEqual(["a initiation", "b response", "a keepalive"]);
    expect(eventKinds(b)).toEqual(["answered", "established"]);
  });

  it("WG-16: a responder does not send before the session is confirmed, then in order", () => {
    const { world, a, b } = pair("tunnel");
    world.loses = (line) => line.kind === "keepalive";
    a.device.initiate(world.now, a.device.peerBySlot(0) ?? { slot: 0, peerId: 0 });
    advance(world, 100);
    for (const text of ["1", "2", "3"]) send(world, b, a, text);
    advance(world, 1_000);
    expect(a.received).toEqual([]);
    expect(eventKinds(b)).toEqual(["answered"]);
    send(world, a, b, "confirms");
    advance(world, 100);
    expect(a.received).toEqual(["1", "2", "3"]);
    expect(b.received).toEqual(["confirms"]);
  });

  it("WG-46: packets before, during and after a handshake arrive in order", () => {
    const { world, a, b } = pair();
    for (let i = 0; i < 40; i++) {
      send(world, a, b, `a${i}`);
      send(world, b, a, `b${i}`);
      advance(world, 1);
    }
    advance(world, 1_000);
    expect(b.received).toEqual(Array.from({ length: 40 }, (_, i) => `a${i}`));
    expect(a.received).toEqual(Array.from({ length: 40 }, (_, i) => `b${i}`));
  });

  it("WG-18: 128 packets wait for a session, the oldest makes room for the next", () => {
    const { world, a, b, ab } = pair();
    world.loses = (line) => line.kind === "initiation";
    // The plane holds back what exceeds STAGED_MAX; control is asked directly here.
    for (let i = 0; i < 130; i++) {
      a.device.handlePunt(world.now, ab, new Uint8Array([i]));
    }
    expect(a.device.stats(ab).stagedPackets).toBe(128);
    expect(a.device.drops().wg_stage_overflow).toBe(2);
    expect(a.device.stats(ab).drops.wg_stage_overflow).toBe(2);
    expect(b.received).toEqual([]);
  });

  it("WG-25: the response to a superseded initiation still counts, and ends both", () => {
    const { world, a, b } = pair();
    world.latencyMs = 2_600; // There and back takes longer than REKEY_TIMEOUT.
    send(world, a, b, "late");
    advance(world, 15_000);
    expect(kindsFrom(world, a, "initiation").length).toBe(2);
    expect(b.received).toEqual(["late"]);
    expect(a.events.filter((event) => event.kind === "established")).toHaveLength(1);
    expect(a.device.drops().wg_unexpected_response).toBe(1);
  });

  it("WG-25: a response to the last but two is unexpected", () => {
    const { world, a, b } = pair();
    world.latencyMs = 5_400; // Two further initiations are out before the first answer is back.
    send(world, a, b, "too late");
    advance(world, 60_000);
    expect(a.events).toEqual([]);
    expect(a.device.drops().wg_unexpected_response).toBeGreaterThan(3);
  });

  it("WG-28: both sides initiate at once; both handshakes finish and nothing is lost", () => {
    const { world, a, b } = pair();
    send(world, a, b, "from a");
    send(world, b, a, "from b");
    advance(world, 200);
    expect(b.received).toEqual(["from a"]);
    expect(a.received).toEqual(["from b"]);
    for (const end of [a, b]) {
      expect(eventKinds(end).filter((kind) => kind === "answered")).toHaveLength(1);
      expect(end.events).toContainEqual(expect.objectContaining({ kind: "established", isInitiator: true }));
    }
    expect(kindsFrom(world, a, "initiation")).toHaveLength(1);
    expect(kindsFrom(world, b, "initiation")).toHaveLength(1);
  });

  it("WG-29: a gateway answers and never initiates, whatever it is given", () => {
    const { world, a, b, ba } = pair("tunnel");
    send(world, b, a, "waits");
    expect(b.device.initiate(world.now, ba)).toBe(false);
    advance(world, 20_000);
    expect(world.transcript).toEqual([]);
    a.device.initiate(world.now, a.device.peerBySlot(0) ?? ba);
    advance(world, 100);
    expect(a.received).toEqual(["waits"]);
    expect(kindsFrom(world, b, "initiation")).toEqual([]);
  });
});

describe("peers and indices", () => {
  it("WG-11, WG-12: ids are random, not zero, and printed apart from the session", () => {
    const world = createWorld();
    const hub = addEnd(world, { name: "hub", address: "192.0.2.1" });
    const ids = new Set<number>();
    for (let i = 0; i < 20; i++) {
      const leaf = addEnd(world, { name: `leaf${i}`, address: `192.0.2.${i + 2}` });
      ids.add(addPeer(world, hub, leaf).peerId);
    }
    expect(ids.size).toBe(20);
    for (const id of ids) expect(id > 0 && id < 1 << 24).toBe(true);
    expect(formatIndex(0x0a1b2c01)).toBe("(662316|1)");
    expect(formatIndex(0xffffffff)).toBe("(16777215|255)");
  });

  it("WG-53, WG-6: refuses our own key and keys with a zero shared secret", () => {
    const world = createWorld();
    const a = addEnd(world, { name: "a", address: "192.0.2.1" });
    const options = { policy: a.policy };
    expect(a.device.addPeer(world.now, { ...options, publicKey: a.publicKey })).toEqual({
      ok: false,
      reason: "own-key",
    });
    expect(a.device.addPeer(world.now, { ...options, publicKey: new Uint8Array(32) })).toEqual({
      ok: false,
      reason: "zero-dh",
    });
    const lowOrder = new Uint8Array(32);
    lowOrder[0] = 1;
    expect(a.device.addPeer(world.now, { ...options, publicKey: lowOrder })).toEqual({
      ok: false,
      reason: "zero-dh",
    });
  });

  it("WG-14: two clients behind one address are told apart by their index", () => {
    const world = createWorld();
    const gateway = addEnd(world, { name: "gw", address: "192.0.2.1" });
    const one = addEnd(world, { name: "one", address: "192.0.2.9" });
    const two = addEnd(world, { name: "two", address: "192.0.2.9" });
    join(world, one, gateway);
    join(world, two, gateway);
    send(world, one, gateway, "from one");
    send(world, two, gateway, "from two");
    advance(world, 5);
    // Both responses go to the one address; the NAT hands everything to both.
    expect(world.flights).toHaveLength(2);
    for (const flight of world.flights.splice(0)) {
      for (const end of [one, two]) {
        end.plane.handleDatagram(world.now, { bytes: flight.bytes, from: flight.source, local: end.address });
      }
    }
    settle(world);
    advance(world, 100);
    expect(gateway.received.toSorted()).toEqual(["from one", "from two"]);
    // mac1 is made for one receiver: the wrong one is out before its index is looked at.
    expect(one.device.drops().wg_bad_mac1).toBe(1);
    expect(two.device.drops().wg_bad_mac1).toBe(1);
  });

  it("WG-13: a burst of unconfirmed handshakes never evicts the session in use", () => {
    const { world, a, b, ab, ba } = pair();
    send(world, a, b, "first");
    advance(world, 100);
    const generationsBefore = b.device.stats(ba).lastHandshake;
    // The initiator forgets every answer, so that each further session stays unconfirmed at b.
    world.loses = (line) => line.from === "b" && line.kind === "response";
    for (let i = 0; i < 12; i++) {
      advance(world, 6_000);
      a.device.initiate(world.now, ab);
    }
    advance(world, 5_500);
    expect(eventKinds(b).filter((kind) => kind === "answered").length).toBeGreaterThan(8);
    expect(b.device.stats(ba).lastHandshake).toBe(generationsBefore);
    world.loses = () => false;
    send(world, b, a, "on the old session");
    advance(world, 5);
    expect(a.received).toEqual(["on the old session"]);
  });

  it("WG-71: peers with valid keys cannot make more sessions than the plane has room for", () => {
    const world = createWorld();
    const server = addEnd(world, { name: "server", address: "192.0.2.1", peersMax: 3 });
    const honest = addEnd(world, { name: "honest", address: "192.0.2.2" });
    const greedy = [3, 4].map((i) => addEnd(world, { name: `greedy${i}`, address: `192.0.2.${i}` }));
    join(world, honest, server);
    const calls = greedy.map((end) => ({ end, peer: join(world, end, server).ab }));
    send(world, honest, server, "first");
    advance(world, 100);
    world.loses = (line) => line.kind === "response";
    for (let round = 0; round < 10; round++) {
      for (const { end, peer } of calls) end.device.initiate(world.now, peer);
      advance(world, 5_400);
    }
    // Three peers, six sessions: the most that were ever live at a time.
    expect(server.mostSessions).toBe(6);
    world.loses = () => false;
    send(world, server, honest, "still there");
    advance(world, 5);
    expect(honest.received).toEqual(["still there"]);
  });

  it("WG-15: twelve roll-overs with traffic lose and reorder nothing", () => {
    const { world, a, b, ab } = pair("tunnel");
    let sent = 0;
    for (let round = 0; round < 12; round++) {
      a.device.initiate(world.now, ab);
      for (let i = 0; i < 30; i++) {
        send(world, a, b, `${sent}`);
        send(world, b, a, `${sent++}`);
        advance(world, 1);
      }
      advance(world, 20_000);
    }
    const expected = Array.from({ length: sent }, (_, i) => `${i}`);
    expect(b.received).toEqual(expected);
    expect(a.received).toEqual(expected);
    expect(a.events.filter((event) => event.kind === "established").length).toBeGreaterThanOrEqual(12);
  });

  it("WG-20: a replayed initiation is refused, also by the peer's successor", () => {
    const { world, a, b, ba } = pair("tunnel");
    let initiation = new Uint8Array(0);
    world.loses = (line, bytes) => {
      if (line.kind === "initiation") initiation = bytes.slice();
      return false;
    };
    a.device.initiate(world.now, a.device.peerBySlot(0) ?? ba);
    advance(world, 1_000);
    const replay = (): unknown =>
      b.device.handleHandshake(world.now, { datagram: initiation, source: a.address });
    expect(replay()).toMatchObject({ kind: "dropped", reason: "wg_replayed_timestamp" });
    b.device.removePeer(world.now, ba);
    settle(world);
    expect(replay()).toEqual({ kind: "dropped", reason: "wg_unknown_peer" });
    addPeer(world, b, a);
    expect(replay()).toMatchObject({ kind: "dropped", reason: "wg_replayed_timestamp" });
  });

  it("WG-22: an initiation less than 20 ms after the last is a flood", () => {
    const { world, a, b, ab, ba } = pair("tunnel");
    const initiations: Uint8Array[] = [];
    world.loses = (line, bytes) => {
      if (line.kind === "initiation") initiations.push(bytes.slice());
      return true;
    };
    a.device.initiate(world.now, ab);
    advance(world, 12_000);
    expect(initiations.length).toBe(3);
    const give = (i: number) =>
      b.device.handleHandshake(world.now, {
        datagram: initiations[i] ?? new Uint8Array(0),
        source: a.address,
      });
    expect(give(0)).toMatchObject({ kind: "accepted", peer: ba });
    advance(world, 19);
    expect(give(1)).toEqual({ kind: "dropped", reason: "wg_flood", peer: ba });
    advance(world, 1);
    expect(give(1)).toMatchObject({ kind: "accepted" });
    advance(world, 20);
    expect(give(0)).toEqual({ kind: "dropped", reason: "wg_replayed_timestamp", peer: ba });
    expect(give(2)).toMatchObject({ kind: "accepted" });
  });
});

describe("keys that change", () => {
  it("WG-61: a new private key retires all sessions and drops the peer that has it", () => {
    const { world, a, b, ab } = pair();
    const twin = addEnd(world, { name: "c", address: "192.0.2.3" });
    const own = addPeer(world, a, twin);
    send(world, a, b, "hello");
    advance(world, 100);
    a.device.setStaticKey(world.now, twin.privateKey);
    settle(world);
    expect(a.device.publicKey() && toHex(a.device.publicKey() ?? new Uint8Array(0))).toBe(
      toHex(twin.publicKey),
    );
    expect(a.device.stats(ab).hasUsableSession).toBe(false);
    expect(a.device.peerBySlot(own.slot)).toBeUndefined();
    expect(a.device.peerBySlot(ab.slot)).toEqual(ab);
    send(world, a, b, "as a stranger");
    advance(world, 100);
    expect(b.device.drops().wg_unknown_peer).toBe(1);
  });

  it.each(["initiator", "responder"] as const)(
    "WG-61: with a new private key it is the %s of a handshake",
    (role) => {
      const { world, a, b, ab } = pair();
      const twin = addEnd(world, { name: "c", address: "192.0.2.3" });
      send(world, a, b, "hello");
      advance(world, 100);
      a.device.setStaticKey(world.now, twin.privateKey);
      const ba = addPeer(world, b, { ...a, publicKey: twin.publicKey });
      if (role === "initiator") a.device.initiate(world.now, ab);
      else b.device.initiate(world.now, ba);
      settle(world);
      advance(world, 100);
      expect([a.device.stats(ab).hasUsableSession, b.device.stats(ba).hasUsableSession]).toEqual([
        true,
        true,
      ]);
    },
  );

  it("WG-61: a new preshared key leaves the running session and counts in the next handshake", () => {
    const { world, a, b, ab, ba } = pair();
    send(world, a, b, "1");
    advance(world, 100);
    a.device.setPresharedKey(world.now, ab, new Uint8Array(32).fill(7));
    send(world, a, b, "2");
    advance(world, 6_000);
    expect(b.received).toEqual(["1", "2"]);
    a.device.initiate(world.now, ab);
    advance(world, 100);
    expect(a.device.drops().wg_bad_response).toBe(1);
    b.device.setPresharedKey(world.now, ba, new Uint8Array(32).fill(7));
    advance(world, 6_000);
    expect(a.events.filter((event) => event.kind === "established")).toHaveLength(2);
  });

  it("WG-27: session keys in a command are overwritten once it is carried out", () => {
    const { world, a, b } = pair();
    send(world, a, b, "x");
    advance(world, 5);
    world.now = instant(world.now + 5);
    const response = world.flights.splice(0)[0]?.bytes ?? new Uint8Array(0);
    expect(a.device.handleHandshake(world.now, { datagram: response })).toMatchObject({ kind: "accepted" });
    const command = a.device.pollCommand();
    if (command?.kind !== "install") throw new Error("the session is installed first (WG-52)");
    const { sendKey, receiveKey } = command.session;
    expect(isZero(sendKey) || isZero(receiveKey)).toBe(false);
    a.device.handleCarriedOut(world.now, command);
    expect(isZero(sendKey) && isZero(receiveKey)).toBe(true);
  });

  it("WG-60: turning a persistent keepalive on sends one at once", () => {
    const { world, a, b, ab } = pair();
    a.device.setKeepalive(world.now, ab, 25_000);
    advance(world, 100);
    expect(timeline(world)).toEqual(["a initiation", "b response", "a keepalive"]);
    advance(world, 1_000);
    a.device.setKeepalive(world.now, ab, 10_000);
    settle(world);
    expect(kindsFrom(world, a, "keepalive")).toHaveLength(1);
    a.device.setKeepalive(world.now, ab, 0);
    a.device.setKeepalive(world.now, ab, 10_000);
    settle(world);
    expect(kindsFrom(world, a, "keepalive")).toHaveLength(2);
    expect(b.received).toEqual([]);
  });

  it("WG-59: a peer that cannot be reached is not called; the wish is kept", () => {
    const { world, a, b, ab } = pair("plain", { isReachable: false });
    send(world, a, b, "patience");
    advance(world, 200_000);
    expect(world.transcript).toEqual([]);
    a.device.setReachable(world.now, ab, true);
    advance(world, 100);
    expect(b.received).toEqual(["patience"]);
  });

  it("D-2: the same seed gives the same datagrams at the same times", () => {
    const run = (): readonly string[] => {
      const { world, a, b } = pair("plain", { seed: 42 });
      const seen: string[] = [];
      world.loses = (line, bytes) => {
        seen.push(`${line.at} ${toHex(bytes)}`);
        return line.at < 8_000;
      };
      send(world, a, b, "x");
      advance(world, 300_000);
      return seen;
    };
    const first = run();
    expect(first.length).toBeGreaterThan(4);
    expect(run()).toEqual(first);
  });
});

it("WG-12: an id is not drawn again while it rests", () => {
  const world = createWorld(3);
  const a = addEnd(world, { name: "a", address: "192.0.2.1" });
  const b = addEnd(world, { name: "b", address: "192.0.2.2" });
  const seen = new Set<number>();
  for (let i = 0; i < 50; i++) {
    const added = a.device.addPeer(instant(START + i), { publicKey: b.publicKey, policy: a.policy });
    if (!added.ok) throw new Error(added.reason);
    expect(seen.has(added.value.peerId)).toBe(false);
    seen.add(added.value.peerId);
    a.device.removePeer(instant(START + i), added.value);
  }
});
