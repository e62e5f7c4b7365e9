/** Presence and selection of relays (PT-65, PT-88, PT-89, PT-102). */
import { describe, expect, it } from "vitest";
import { createSeededRandom, formatSocketAddress, instant, toBase64 } from "../../../src/base/index.ts";
import { deriveRelayCredentials, deriveRelayId } from "../../../src/portal/derive.ts";
import type { RelayEntry } from "../../../src/portal/protocol/index.ts";
import { chooseRelays, distanceKm } from "../../../src/portal/server/relay-choice.ts";
import {
  type ClientWire,
  createWorld,
  type GatewayWire,
  OFFICE,
  secretOf,
  TOKENS,
  WALL_START,
  type Wire,
  type World,
} from "./server-world.ts";

const DAY_MS = 86_400_000;
const LIFETIME_MS = 90 * DAY_MS;

const idOf = (secret: number): string => deriveRelayId(secretOf(secret));
const idsOf = (relays: readonly RelayEntry[]): readonly string[] => [...new Set(relays.map(({ id }) => id))];
const at = (address: string) => ({ query: { ipv4: address } });

type PeerWire = ClientWire | GatewayWire;

function initRelays(wire: PeerWire): readonly RelayEntry[] {
  return wire.messages.flatMap((message) => (message.kind === "init" ? message.relays : []));
}

/** The presence messages of a peer so far. */
function presences(wire: PeerWire) {
  return wire.messages.flatMap((message) => (message.kind === "relays-presence" ? [message] : []));
}

/** A long time, without all the pings in it: nobody has been silent at its end. */
function sleep(world: World, ms: number, wires: readonly Wire[]): void {
  world.now = instant(world.now + ms);
  for (const wire of wires) wire.frame("heartbeat", {}, "phoenix");
  world.pass(0);
}

function withRelays(...secrets: readonly number[]): World {
  const world = createWorld();
  for (const secret of secrets) world.relay(secret, at(`192.0.2.${secret}`));
  world.pass(2_000);
  return world;
}

describe("a relay", () => {
  it("PT-65: joins with its secret and is registered", () => {
    const relay = createWorld().relay(1);
    expect(relay.log).toEqual(["reply ok", "init"]);
  });

  it.each([
    ["none", undefined],
    ["one that is too short", "00".repeat(31)],
    ["one that is no text", 7],
  ])("PT-9: with %s as secret is not registered, and may try again", (_, stamp_secret) => {
    const world = createWorld();
    const relay = world.relay(1, { joins: false });
    relay.frame("phx_join", { stamp_secret });
    expect(relay.log).toEqual(["reply invalid_payload"]);
    expect(world.client().last("init").relays).toEqual([]);
    relay.frame("phx_join", { stamp_secret: secretOf(1) });
    expect(relay.log.slice(1)).toEqual(["reply ok", "init"]);
  });

  it.each([
    ["no address", { ipv4: "" }, "ipv4"],
    ["an address of the other family", { ipv4: "2001:db8::1" }, "ipv4"],
    ["an unreadable second address", { ipv6: "192.0.2.1" }, "ipv6"],
    ["a port out of range", { port: "65536" }, "port"],
    ["port 0", { port: "0" }, "port"],
  ])("PT-70: with %s is refused", (_, query, detail) => {
    const verdict = createWorld().upgrade("relay", { query });
    expect(verdict).toMatchObject({ refusal: { status: 400, code: "invalid_connect_params", detail } });
  });

  it("PT-88: is listed once per address, at its port", () => {
    const world = createWorld();
    world.relay(1, { query: { ipv4: "192.0.2.1", ipv6: "2001:db8::1", port: "3479" } });
    const { relays } = world.client().last("init");
    expect(relays.map(({ address }) => formatSocketAddress(address))).toEqual([
      "192.0.2.1:3479",
      "[2001:db8::1]:3479",
    ]);
    expect(idsOf(relays)).toEqual([idOf(1)]);
  });

  it("RL-207: that takes TLS is listed with where and for which name", () => {
    const world = createWorld();
    world.relay(1, at("192.0.2.1"), { tls: { port: 443, name: "relay.example" }, tcp: { port: 80 } });
    const [relay] = world.client().last("init").relays;
    expect(relay?.tls?.name).toBe("relay.example");
    expect(relay?.tls && formatSocketAddress(relay.tls.address)).toBe("192.0.2.1:443");
    expect(relay?.tcp && formatSocketAddress(relay.tcp.address)).toBe("192.0.2.1:80");
  });

  it("PT-74: that comes on a second socket replaces its older one, and nobody is told", () => {
    const world = withRelays();
    const older = world.relay(1);
    const client = world.client();
    world.relay(1);
    expect(older.closeCode).toBe(4000);
    older.close();
    world.pass(5_000);
    expect(presences(client)).toEqual([]);
    expect(world.client({ id: "later" }).last("init").relays).toHaveLength(1);
  });
});

describe("credentials of a relay", () => {
  it("PT-102, PT-88: are derived from its secret and the peer's key, for 90 days", () => {
    const world = withRelays(1);
    for (const [wire, key] of [
      [world.client({ key: 9 }), 9],
      [world.gateway({ key: 8 }), 8],
    ] as const) {
      const [relay] = initRelays(wire);
      const expiresS = Math.floor((WALL_START + 2_000 + LIFETIME_MS) / 1000);
      const keyText = toBase64(new Uint8Array(32).fill(key));
      expect(relay).toMatchObject(deriveRelayCredentials(expiresS, secretOf(1), keyText));
      expect(relay?.expiresAt).toBe(expiresS * 1000);
    }
  });

  it("PT-88: of a client end with its token", () => {
    const expiresAt = new Date(WALL_START + 5 * DAY_MS).toISOString();
    const world = createWorld(`${OFFICE}actors:
  - { name: Alice, type: user, email: a@example.com, tokens: [{ name: laptop, env: ALICE, expires_at: ${expiresAt} }] }
`);
    world.relay(1);
    const [relay] = world.client({ token: TOKENS.alice }).last("init").relays;
    expect(relay?.expiresAt).toBe(WALL_START + 5 * DAY_MS);
  });

  it("PT-88: are renewed a day before they expire, not before, with nothing gone", () => {
    const world = createWorld();
    const relay = world.relay(1);
    world.pass(2_000);
    const wires = [world.client(), world.gateway()];
    sleep(world, LIFETIME_MS - DAY_MS - 1, [relay, ...wires]);
    for (const wire of wires) expect(presences(wire)).toEqual([]);
    world.pass(1_001);
    for (const wire of wires) {
      const [told] = presences(wire);
      expect(told?.disconnectedIds).toEqual([]);
      const left = (told?.connected[0]?.expiresAt ?? 0) - WALL_START;
      expect(left).toBeGreaterThan(LIFETIME_MS + LIFETIME_MS - DAY_MS - 2_000);
    }
    world.pass(10_000);
    for (const wire of wires) expect(presences(wire)).toHaveLength(1);
  });
});

describe("when relays come and go", () => {
  it("PT-89: after a second of quiet those who had it are told, with the whole new choice", () => {
    const world = withRelays(1, 2);
    const third = world.relay(3, at("192.0.2.3"));
    world.pass(2_000);
    const wires = [world.client(), world.gateway()];
    const had = (secret: number) => wires.filter((wire) => idsOf(initRelays(wire)).includes(idOf(secret)));
    const concerned = had(3);
    third.close();
    world.pass(999);
    for (const wire of wires) expect(presences(wire)).toEqual([]);
    world.pass(1_001);
    for (const wire of wires) expect(presences(wire)).toHaveLength(concerned.includes(wire) ? 1 : 0);
    for (const wire of concerned) {
      const [told] = presences(wire);
      expect(told?.disconnectedIds).toEqual([idOf(3)]);
      expect(idsOf(told?.connected ?? []).toSorted()).toEqual([idOf(1), idOf(2)].toSorted());
    }
  });

  it("PT-89: who has fewer than two is told of one that comes, and keeps what it has", () => {
    const world = withRelays(1);
    const [client, gateway] = [world.client(), world.gateway()];
    world.relay(2, at("192.0.2.2"));
    world.pass(2_000);
    world.relay(3, at("192.0.2.3"));
    world.pass(2_000);
    for (const wire of [client, gateway]) {
      expect(presences(wire)).toHaveLength(1);
      expect(presences(wire)[0]).toMatchObject({ disconnectedIds: [] });
      expect(idsOf(presences(wire)[0]?.connected ?? []).toSorted()).toEqual([idOf(1), idOf(2)].toSorted());
    }
  });

  it("PT-89: back within a second with the same secret is no message", () => {
    const world = withRelays(1);
    const older = world.relay(2, at("192.0.2.2"));
    world.pass(2_000);
    const client = world.client();
    older.close();
    world.pass(900);
    world.relay(2, at("192.0.2.2"));
    world.pass(5_000);
    expect(presences(client)).toEqual([]);
  });

  it("PT-89, PT-54: back with another secret it is another relay: the old one is gone, credentials are new", () => {
    const world = withRelays();
    const older = world.relay(1, at("192.0.2.1"));
    const client = world.client();
    older.close();
    world.relay(4, at("192.0.2.1"));
    world.pass(2_000);
    const [told] = presences(client);
    expect(told?.disconnectedIds).toEqual([idOf(1)]);
    expect(idsOf(told?.connected ?? [])).toEqual([idOf(4)]);
    expect(told?.connected[0]?.password).not.toBe(client.last("init").relays[0]?.password);
  });

  it("PT-89: back with the same secret at another address it is told of there", () => {
    const world = withRelays();
    const older = world.relay(1, at("192.0.2.1"));
    const client = world.client();
    older.close();
    world.relay(1, at("192.0.2.99"));
    world.pass(2_000);
    const [told] = presences(client);
    expect(told?.disconnectedIds).toEqual([idOf(1)]);
    expect(told?.connected.map(({ address }) => formatSocketAddress(address))).toEqual(["192.0.2.99:3478"]);
  });

  it("PT-88: with the last relay gone the choice is empty", () => {
    const world = withRelays();
    const relay = world.relay(1);
    const gateway = world.gateway();
    relay.close();
    world.pass(2_000);
    expect(presences(gateway)).toMatchObject([{ disconnectedIds: [idOf(1)], connected: [] }]);
  });

  it("PT-89: many peers are told in groups within a second, nobody twice", () => {
    const world = withRelays();
    const relay = world.relay(1);
    const clients = Array.from({ length: 100 }, (_, n) => {
      // So many new devices of one token come in a second (PT-72).
      if (n % 20 === 0) world.pass(1_000);
      return world.client({ id: `client-${n}` });
    });
    relay.close();
    const told = (): number => clients.reduce((sum, wire) => sum + presences(wire).length, 0);
    world.pass(1_000);
    expect(told()).toBe(5);
    world.pass(500);
    expect(told()).toBe(55);
    world.pass(500);
    expect(told()).toBe(100);
    world.pass(10_000);
    expect(told()).toBe(100);
  });

  it("PT-75: a relay that falls silent is gone", () => {
    const world = withRelays();
    const relay = world.relay(1);
    relay.answersPings = false;
    const client = world.client();
    world.pass(30_000);
    expect(presences(client)).toMatchObject([{ disconnectedIds: [idOf(1)], connected: [] }]);
  });
});

describe("the choice of relays", () => {
  const frankfurt = { latitude: 50.1, longitude: 8.7 };
  const berlin = { latitude: 52.52, longitude: 13.4 };
  const sydney = { latitude: -33.87, longitude: 151.21 };
  const random = createSeededRandom(1);
  const relays = [
    { id: "far", location: sydney },
    { id: "unknown" },
    { id: "near", location: frankfurt },
    { id: "here", location: berlin },
  ];
  const choose = (location?: typeof berlin, given: readonly string[] = []) =>
    chooseRelays(relays, location, new Set(given), random).map(({ id }) => id);

  it("PT-84, PT-88: distances along the great circle", () => {
    expect(distanceKm(berlin, frankfurt)).toBeCloseTo(423, -1);
    expect(distanceKm(berlin, sydney)).toBeCloseTo(16_096, -2);
    expect(distanceKm(berlin, berlin)).toBe(0);
    expect(distanceKm({ latitude: 0, longitude: 179 }, { latitude: 0, longitude: -179 })).toBeCloseTo(222, 0);
  });

  it("PT-88: the two nearest, nearest first; an unknown place comes last", () => {
    expect(choose(berlin)).toEqual(["here", "near"]);
    expect(choose(sydney)).toEqual(["far", "here"]);
    expect(chooseRelays(relays.slice(0, 2), berlin, new Set(), random).map(({ id }) => id)).toEqual([
      "far",
      "unknown",
    ]);
  });

  it("PT-88: a peer at an unknown place gets any two, all of them in time", () => {
    const seen = new Set(Array.from({ length: 100 }, () => choose()).flat());
    expect([...seen].toSorted()).toEqual(["far", "here", "near", "unknown"]);
  });

  it("PT-89: of those equally near a peer keeps what it has", () => {
    for (let n = 0; n < 20; n++)
      expect(choose(undefined, ["far", "unknown"]).toSorted()).toEqual(["far", "unknown"]);
  });

  it("PT-88: a gateway's place is its site's, a relay's that of its token", () => {
    const world = createWorld(`version: 1
sites: [{ name: Sydney, location: [-33.87, 151.21], gateway_tokens: [{ name: g, env: MUNICH }] }]
relay_tokens:
  - { name: north, env: NORTH, location: [52.52, 13.4] }
  - { name: south, env: SOUTH, location: [-37.81, 144.96] }
`);
    world.relay(1);
    world.relay(2, { token: TOKENS.north });
    world.relay(3, { token: TOKENS.south });
    for (const id of ["one", "two", "three", "four"]) {
      const { relays } = world.gateway({ id, token: TOKENS.munich }).last("init");
      expect(idsOf(relays)).toEqual([idOf(3), idOf(2)]);
    }
  });
});
