/**
 * What happens to single machines seldom, with whole machines around them: a renewed session under traffic, a load of
 * strangers' handshakes, somebody else's old socket (TS-18, TS-20).
 */
import { describe, expect, it } from "vitest";
import { createSeededRandom, formatSocketAddress, ip, randomBytes } from "../../src/base/index.ts";
import { encodeInitiation } from "../../src/wireguard/messages.ts";
import { NOBLE_CRYPTO } from "../../src/wireguard/noble-crypto.ts";
import { createOwnIdentity, createRemoteIdentity, sealMacs } from "../../src/wireguard/noise.ts";
import type { ClientPeer, GatewayPeer } from "./peer.ts";
import { type Play, story } from "./story.ts";

const SEEDS = [1, 2];
/** The usual first answer of a direct path (TS-17). */
const FIRST_ANSWER_MS = 3_000;
const PING_MS = 100;
/** A session is renewed when it is as old (WG §1). */
const REKEY_AFTER_MS = 120_000;
/** A load begins with the eleventh initiation of 100 ms, and lasts for a second (PG-160). */
const STRANGERS_PER_TURN = 20;
const TURN_MS = 100;

/** Pings steadily. @returns how many of them no echo came for */
function lostOf(play: Play, client: ClientPeer, forMs: number, everyMs = PING_MS): number {
  const numbers: number[] = [];
  for (let ms = 0; ms < forMs; ms += everyMs) {
    numbers.push(client.ping());
    play.world.run(everyMs);
  }
  play.world.run(1_000);
  return numbers.filter((number) => !client.echoes.has(number)).length;
}

function handshakeOf({ connections }: ClientPeer | GatewayPeer): number {
  return connections.stats().connections[0]?.lastHandshake ?? 0;
}

/** Initiations of somebody who knows the gateway's public key and nothing else (WG-28). */
function strangerTo({ connections }: GatewayPeer): () => Uint8Array {
  const random = createSeededRandom(7);
  const own = createOwnIdentity(NOBLE_CRYPTO, randomBytes(random, 32));
  const remote = createRemoteIdentity(NOBLE_CRYPTO, own, connections.publicKey());
  if (remote === undefined) throw new Error("zero DH");
  let sender = 0;
  return () => {
    const datagram = encodeInitiation({
      sender: ++sender,
      ephemeral: randomBytes(random, 32),
      encryptedStatic: randomBytes(random, 48),
      encryptedStamp: randomBytes(random, 28),
    });
    sealMacs(NOBLE_CRYPTO, datagram, remote, undefined);
    return datagram.slice();
  };
}

/** Each from another address. */
function flood(play: Play, gateway: GatewayPeer, forMs: number): void {
  const initiation = strangerTo(gateway);
  const [address = ip("0.0.0.0")] = gateway.host.addresses;
  let count = 0;
  for (let at = 0; at < forMs; at += TURN_MS) {
    play.world.at(at, () => {
      for (let i = 0; i < STRANGERS_PER_TURN; i++, count++) {
        const from = { address: Uint8Array.of(198, 18, count >> 8, count & 0xff), port: 4_000 };
        const local = { address, port: gateway.host.port };
        gateway.host.program?.handleDatagram(play.world.now(), { bytes: initiation(), from, local });
      }
      play.world.flush(gateway.host);
    });
  }
}

/** Strangers that were answered with a cookie. */
function cookieRepliesOf({ plane }: GatewayPeer): number {
  return plane.drops().wg_cookie_asked ?? 0;
}

describe("single machines among all others", () => {
  it.each(SEEDS)(
    "TS-18: a session is renewed under traffic both ways, and nothing is lost (seed %i)",
    (seed) => {
      const play = story(seed)
        .network("home", { nat: "port-restricted" })
        .client()
        .internet()
        .gateway()
        .relay()
        .begin();
      const client = play.client();
      expect(client.reach(FIRST_ANSWER_MS)).toBeDefined();
      const begun = handshakeOf(client);
      expect(lostOf(play, client, REKEY_AFTER_MS - 5_000, 1_000)).toBe(0);
      expect(handshakeOf(client)).toBe(begun);
      expect(lostOf(play, client, 10_000)).toBe(0);
      expect(handshakeOf(client) - begun).toBeGreaterThanOrEqual(REKEY_AFTER_MS);
      expect(lostOf(play, client, 10_000)).toBe(0);
    },
  );

  it.each(SEEDS)(
    "TS-18, SN-104: under a load of strangers there are cookies, and peers pass (seed %i)",
    (seed) => {
      const at = story(seed).network("home", { nat: "port-restricted" }).client("early").client("late");
      // The twin of the plane knows no cookies.
      const gatewayPart = { setUp: () => ({ planeKind: "WebAssembly" as const }) };
      const play = at.internet().gateway("gateway", gatewayPart).relay().begin();
      const [early, late, gateway] = [play.client("early"), play.client("late"), play.gateway()];
      expect(early.reach(FIRST_ANSWER_MS)).toBeDefined();
      expect(cookieRepliesOf(gateway)).toBe(0);
      flood(play, gateway, 6_000);
      expect(lostOf(play, early, 1_000)).toBe(0);
      expect(cookieRepliesOf(gateway)).toBeGreaterThan(0);
      // ICE has told the gateway where it is: its handshake needs no cookie (PG-160).
      expect(late.reach(FIRST_ANSWER_MS)).toBeDefined();
      expect(gateway.complaints.filter(({ line }) => line.startsWith("error"))).toEqual([]);
    },
  );

  it.each(SEEDS)(
    "TS-18: whose socket was another's before is reached, and the other one, too (seed %i)",
    (seed) => {
      const nat = {
        kind: "port-not-kept",
        allocation: "sequential",
        ports: { lowest: 40_000, highest: 40_001 },
      } as const;
      const at = story(seed).network("home", { nat }).client("alice").client("bob");
      const play = at.internet().gateway().relay().begin();
      const [alice, bob] = [play.client("alice"), play.client("bob")];
      for (const client of [alice, bob]) expect(client.reach(FIRST_ANSWER_MS)).toBeDefined();
      const socketsOf = (): readonly string[] =>
        play
          .gateway()
          .connections.stats()
          .connections.map(({ path }) => (path ? formatSocketAddress(path.destination) : ""));
      const before = socketsOf();
      expect(new Set(before).size).toBe(2);
      play.router("home").nat?.reboot();
      // Whose port came second is the first to send now.
      const second = before[0]?.endsWith("40001") ? alice : bob;
      second.ping();
      for (let ms = 0; ms < 5_000; ms += PING_MS) {
        for (const client of [alice, bob]) client.ping();
        play.world.run(PING_MS);
      }
      expect(socketsOf()).toEqual(before.toReversed());
      expect(lostOf(play, alice, 1_000) + lostOf(play, bob, 1_000)).toBe(0);
    },
  );
});
