/**
 * The machine of connections and what it is made of under hostile datagrams (targets `stun` and `wireguard-handshake` of
 * TS-42): everything that two nodes say to each other is heard, changed, repeated and sent back at them
 * while they connect and afterwards.
 */
import { describe, expect, it } from "vitest";
import { instant, ip, type SocketAddress } from "../../src/base/index.ts";
import {
  crc32,
  encodeBindingError,
  encodeBindingRequest,
  encodeBindingSuccess,
  parseBinding,
  verifyIntegrity,
} from "../../src/stun/index.ts";
import { createDuo, type Duo, type End, shown } from "../sim/duo.ts";
import { createWorld } from "../sim/world.ts";
import { type Chance, fuzz, fuzzOptions } from "./chance.ts";
import { mutateBytes } from "./mutation.ts";

const SECRET = new TextEncoder().encode("a secret of the two");

describe("STUN", () => {
  it("SN-3: a changed message is refused, or says what it said before", () => {
    let accepted = 0;
    fuzz(fuzzOptions({ seed: 1, rounds: 4000 }), (chance) => {
      const original = stunMessage(chance);
      const changed = mutateBytes(chance, original);
      if (chance.isOneIn(2)) mend(changed);
      const meaning = authenticMeaning(changed);
      if (meaning === undefined) return;
      expect(meaning).toEqual(authenticMeaning(original));
      accepted++;
    });
    // What lies behind the integrity attribute is not covered by it: such changes are accepted.
    expect(accepted).toBeGreaterThan(0);
  });
});

/** What a message says if it is authentic. */
function authenticMeaning(bytes: Uint8Array): unknown {
  const message = parseBinding(bytes);
  if (!message.ok || !verifyIntegrity(message.value.frame, SECRET)) return undefined;
  const { frame, ...meaning } = message.value;
  return { ...meaning, transactionId: frame.transactionId };
}

/** Makes length and fingerprint right again, as an attacker would (RFC 8489 §14.7). */
function mend(bytes: Uint8Array): void {
  if (bytes.length < 28) return;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  view.setUint16(2, bytes.length - 20);
  view.setUint32(bytes.length - 4, (crc32(bytes.subarray(0, bytes.length - 8)) ^ 0x5354554e) >>> 0);
}

function stunMessage(chance: Chance): Uint8Array {
  const into = new Uint8Array(300);
  const transactionId = chance.bytes(12);
  switch (chance.below(3)) {
    case 0: {
      const claim = { role: chance.pick(["controlling", "controlled"] as const), tieBreaker: 7n };
      const request = {
        transactionId,
        claim,
        username: "peer:mine",
        priority: 2 ** 30,
        isNominated: chance.isOneIn(2),
      };
      return into.subarray(0, encodeBindingRequest(into, request, SECRET));
    }
    case 1: {
      const success = { transactionId, mappedAddress: address(chance) };
      return into.subarray(0, encodeBindingSuccess(into, success, SECRET));
    }
    default: {
      const error = { transactionId, code: 487, phrase: "Role Conflict" };
      return into.subarray(0, encodeBindingError(into, error, SECRET));
    }
  }
}

function address(chance: Chance): SocketAddress {
  return { address: chance.pick([ip("192.0.2.7"), ip("2001:db8::7")]), port: 1 + chance.below(65_535) };
}

describe("two nodes with an attacker between them", () => {
  /** Everything that was sent, to be used against both. */
  function attack(chance: Chance, duo: Duo, count: number): void {
    const heard = [...duo.client.sent, ...duo.gateway.sent].map(({ bytes }) => bytes);
    for (let i = 0; i < count; i++) {
      const end = chance.pick([duo.client, duo.gateway]);
      const original = heard.length === 0 ? chance.bytes(40) : chance.pick(heard);
      // As it was, from elsewhere, is an attack as well: its integrity is right.
      const heardAgain = chance.isOneIn(4) ? original : mutateBytes(chance, original);
      const bytes = chance.isOneIn(6) ? noise(chance) : heardAgain;
      hit(chance, duo, end, bytes);
    }
  }

  function hit(chance: Chance, duo: Duo, end: End, bytes: Uint8Array): void {
    const other = end === duo.client ? duo.gateway : duo.client;
    const [own, theirs] = [end, other].map(({ host }) => ({
      address: host.addresses[0] ?? ip("0.0.0.0"),
      port: host.port,
    }));
    const from = chance.isOneIn(2) ? theirs : address(chance);
    if (own === undefined || from === undefined) throw new Error("hosts have addresses");
    end.machine.handleDatagram(duo.world.now(), { local: own, from, bytes });
    duo.world.flush(end.host);
  }

  function noise(chance: Chance): Uint8Array {
    const bytes = chance.bytes(chance.pick([0, 1, 19, 20, 31, 32, 64, 92, 148, 300]));
    if (bytes.length >= 4 && chance.isOneIn(2)) bytes.set([chance.below(6), 0, 0, 0]);
    return bytes;
  }

  it("WG-70, SN-98: they connect, stay connected, carry packets, and their state stays bounded", () => {
    fuzz(fuzzOptions({ seed: 1, rounds: 12 }), (chance, seed) => {
      const world = createWorld(seed);
      const duo = createDuo(world);
      duo.connect();
      for (let ms = 0; ms < 3000; ms += 50) {
        world.run(50);
        attack(chance, duo, chance.pick([0, 1, 20]));
      }
      for (const end of [duo.client, duo.gateway]) {
        expect(end.events.filter(({ event }) => event.kind === "connection-established")).toHaveLength(1);
        expect(shown(end)?.state, world.recentTrace()).toBe("connected");
        expect(end.machine.connections.stats().connections).toHaveLength(1);
      }
      const paths = [duo.client, duo.gateway].map((end) => shown(end)?.path);
      attack(chance, duo, 300);
      duo.send(duo.client, 7);
      duo.send(duo.gateway, 8);
      world.run(200);
      expect([duo.client.received, duo.gateway.received]).toEqual([[8], [7]]);
      // Nobody but the two themselves can move the connection elsewhere.
      expect([duo.client, duo.gateway].map((end) => shown(end)?.path)).toEqual(paths);
      expect(world.now()).toBeGreaterThan(instant(0));
    });
  });
});
