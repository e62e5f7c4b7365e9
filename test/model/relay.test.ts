/**
 * The relay client and the relay's machine over a network that loses, doubles and reorders (RL §23 item 11):
 * whatever has happened, at rest both agree on allocation and channels.
 */

import { expect, it } from "vitest";
import { equalSocketAddress, type Instant, ip, SILENT, type SocketAddress } from "../../src/base/index.ts";
import {
  CHANNEL_LAST,
  createRelayClient,
  encodeChannelData,
  parseChannelData,
  parseTurn,
  type RelayClient,
} from "../../src/turn/index.ts";
import fc from "../lib/property.ts";
import { addRelay, REALM, type SimulatedRelay } from "../sim/relay.ts";
import { createWorld, type Host, type World } from "../sim/world.ts";

type Step =
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "bind" | "data"; readonly peer: number }
  | { readonly kind: "refresh" | "restart" | "renew" };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.nat(400_000) }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constantFrom("bind" as const, "data" as const), peer: fc.nat(5) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom("refresh" as const, "restart" as const, "renew" as const) }),
  },
);

interface Model {
  readonly world: World;
  readonly relay: SimulatedRelay;
  readonly host: Host;
  readonly client: RelayClient;
  readonly out: { readonly destination: SocketAddress; readonly bytes: Uint8Array }[];
  renewals: number;
}

function peerAt(n: number): SocketAddress {
  return { address: ip(n % 2 === 0 ? `198.51.100.${n}` : `2001:db8:9::${n}`), port: 9_000 + n };
}

function createModel(seed: number, loss: number): Model {
  const world = createWorld(seed);
  const addresses = ["203.0.113.1", "2001:db8:7::1"];
  const relay = addRelay(world, "relay", { addresses, link: { latencyMs: 5 } });
  const host = world.addHost("client", { addresses: ["192.0.2.10", "2001:db8:1::10"] });
  const { v4, v6, username, password } = relay.entryFor("user");
  const client = createRelayClient({
    servers: { ...(v4 && { v4 }), ...(v6 && { v6 }) },
    credentials: { username, password },
    realm: REALM,
    dialect: "strict",
    software: "postern/test",
    random: world.random("client"),
    now: world.now(),
    unixNow: world.unixNow(),
    log: SILENT,
  });
  const model: Model = { world, relay, host, client, out: [], renewals: 0 };
  attach(model);
  host.link = { ...host.link, latencyMs: 5, jitterMs: 40, loss, duplication: 0.1, reordering: 0.2 };
  world.flush(host);
  return model;
}

function attach({ host, client, out }: Model): void {
  host.program = {
    handleDatagram(now, { local, from, bytes }) {
      const channelData = parseChannelData(bytes, CHANNEL_LAST);
      const message = parseTurn(bytes);
      if (channelData.ok) client.peerOf(now, channelData.value.channel);
      else if (message.ok) client.handleStun(now, { from, local, message: message.value });
    },
    handleTimeout: (now) => client.handleTimeout(now),
    pollTimeout: () => client.pollTimeout(),
    pollTransmit() {
      const sent = client.pollTransmit();
      return sent === undefined ? out.shift() : { destination: sent.to, bytes: sent.datagram };
    },
    drain() {
      while (client.pollEvent() !== undefined);
    },
  };
}

function take(model: Model, one: Step): void {
  const { world, relay, client } = model;
  const now = world.now();
  switch (one.kind) {
    case "wait":
      return world.run(one.ms);
    case "bind":
      client.bindChannel(now, peerAt(one.peer));
      break;
    case "data":
      sendData(model, now, peerAt(one.peer));
      break;
    case "renew":
      client.renew(now, relay.entryFor("user", 86_400 + ++model.renewals));
      break;
    default:
      client[one.kind](now);
  }
  world.flush(model.host);
}

function sendData({ client, out }: Model, now: Instant, peer: SocketAddress): void {
  const channel = client.channelTo(now, peer);
  const destination = client.activeSocket();
  if (channel === undefined || destination === undefined) return;
  const bytes = new Uint8Array(8);
  encodeChannelData(bytes, { channel, data: new Uint8Array(4) });
  out.push({ destination, bytes });
  client.noteChannelDataSent(now, channel);
}

/** The links are perfect from now on, and what is under way ends. */
function rest({ world, host }: Model): void {
  host.link = { ...host.link, loss: 0, duplication: 0, reordering: 0, jitterMs: 0 };
  world.run(60_000);
}

/** What the client says, and what the relay would do. */
function agreement({ world, relay, client }: Model): {
  readonly said: readonly unknown[];
  readonly done: readonly unknown[];
} {
  const now = world.now();
  const peers = [0, 1, 2, 3, 4, 5].map(peerAt);
  const said = peers.map((peer) => {
    const channel = client.channelTo(now, peer);
    return channel === undefined ? undefined : { channel, port: client.relayed(peer.address.length)?.port };
  });
  const done = peers.map((peer, i) => {
    const binding = [...relay.bindings].find((one) => equalSocketAddress(one.peer, peer));
    // The client counts from its sending: it may have let go already, but never later than the relay.
    return said[i] === undefined || binding === undefined
      ? undefined
      : { channel: binding.channel, port: binding.port };
  });
  return { said, done };
}

const seen = { active: 0, freed: 0, channels: 0 };

it("RL-102, RL-28: at rest both agree on allocation and channels, whatever was lost before", () => {
  fc.assert(
    fc.property(
      fc.nat(0xffff),
      fc.constantFrom(0, 0.1, 0.3),
      fc.array(step, { minLength: 1, maxLength: 25 }),
      (seed, loss, steps) => {
        const model = createModel(seed, loss);
        for (const one of steps) take(model, one);
        rest(model);
        const state = model.client.state();
        // Bad luck may have freed it, never a misunderstanding: it was silence.
        expect(["active", "freed"]).toContain(state);
        if (state === "active" || state === "freed") seen[state]++;
        if (state === "freed") expect(model.client.freeReason()).toBe("no-response");
        const { said, done } = agreement(model);
        expect(done).toEqual(said);
        seen.channels += said.filter((channel) => channel !== undefined).length;
        if (state === "active") expect(model.relay.server.stats().allocations).toBe(1);
      },
    ),
    { numRuns: 60 },
  );
}, 60_000);

it("RL §23 item 11: the schedules leave most clients with an allocation, end some, and leave channels", () => {
  expect(seen.active).toBeGreaterThan(20);
  expect(seen.freed).toBeGreaterThan(0);
  expect(seen.channels).toBeGreaterThan(20);
});
