/** Ends whose network lets no UDP out, with relays that take TURN over TLS (RL-207 to RL-210), in the simulated world. */
import { describe, expect, it } from "vitest";
import { type End, shown } from "./duo.ts";
import { carryStreams, type SimulatedStreams, TLS } from "./relay-streams.ts";
import { keepApart, type RelayedDuo, relayedDuo, stream, updateRelays } from "./relayed.ts";

const SEEDS = [1, 2, 3, 4, 5];

interface Streamed extends RelayedDuo {
  readonly client: SimulatedStreams;
  readonly gateway: SimulatedStreams;
}

/** Two relays by UDP and TLS, and two ends that reach each other through them alone; no UDP from the blocked ones. */
function streamed(seed: number, blocked: readonly ("client" | "gateway")[]): Streamed {
  const relayed = relayedDuo(seed, { streams: "tls" });
  const { world, duo, relays } = relayed;
  const [client, gateway] = [duo.client, duo.gateway].map((end) => carryStreams(world, end, relays));
  if (client === undefined || gateway === undefined) throw new Error("two ends");
  for (const role of blocked) duo[role].host.swallows = () => true;
  for (const end of [duo.client, duo.gateway]) {
    updateRelays(world, end, {
      add: relays.map((relay) => ({ ...relay.entryFor(end.role), streams: [TLS] })),
    });
  }
  return { ...relayed, client, gateway };
}

/** By what an end's relay is reached; `undefined`: it has none. */
function transportOf(end: End): string | undefined {
  const relay = shown(end)?.relay;
  const { relays } = end.machine.connections.stats();
  return relays
    .filter(({ id, state }) => id === relay && state === "active")
    .map(({ transport }) => transport)
    .join();
}

describe("a network without UDP", () => {
  it.each(SEEDS)(
    "RL-208: the client is reached over TLS within 6 s, and packets pass both ways in order (seed %i)",
    (seed) => {
      const { world, duo, client, gateway } = streamed(seed, ["client"]);
      const since = world.now();
      duo.establish(6_000);
      expect(world.now() - since).toBeLessThanOrEqual(6_000);
      expect(transportOf(duo.client)).toBe("tls");
      for (let n = 1; n <= 50; n++) {
        duo.send(duo.client, n);
        duo.send(duo.gateway, n);
        world.run(3);
      }
      world.run(1_000);
      const all = Array.from({ length: 50 }, (_, i) => i + 1);
      expect(duo.gateway.received).toEqual(all);
      expect(duo.client.received).toEqual(all);
      expect(client.opened.length).toBeGreaterThan(0);
      // The gateway has its UDP.
      expect(gateway.opened).toEqual([]);
    },
  );

  it("RL-208: so are two ends that are both without it", () => {
    const { duo } = streamed(1, ["client", "gateway"]);
    duo.establish(10_000);
    expect([duo.client, duo.gateway].map(transportOf)).toEqual(["tls", "tls"]);
  });

  it("RL-208: when UDP passes again the path moves there without a gap, and the stream is closed", () => {
    const streams = streamed(2, ["client"]);
    const { duo, client } = streams;
    duo.establish(6_000);
    keepApart(duo);
    // Relays that were given up are asked again every 20 s.
    expect(stream(streams, duo.client, { count: 120, everyMs: 250 })).toBeLessThanOrEqual(750);
    expect(transportOf(duo.client)).toBe("udp");
    expect(stream(streams, duo.client, { count: 280, everyMs: 250 })).toBeLessThanOrEqual(750);
    expect(client.closed.length).toBe(client.opened.length);
  });

  it("RL-209, RL-202: a stream that ends is opened again, and the path stands anew", () => {
    const streams = streamed(3, ["client"]);
    const { world, duo, client } = streams;
    duo.establish(6_000);
    const before = client.opened.length;
    client.breakAll();
    expect(stream(streams, duo.client, { count: 200, everyMs: 50 })).toBeLessThanOrEqual(6_000);
    expect(client.opened.length).toBeGreaterThan(before);
    world.run(1_000);
    expect(transportOf(duo.client)).toBe("tls");
  });

  it("RL-209: where no stream opens either, it is said once, and tried on", () => {
    const { world, duo, client } = streamed(4, ["client"]);
    client.isBlocked = true;
    duo.connect();
    world.run(30_000);
    expect(duo.client.lines.filter(({ line }) => line.startsWith("warn"))).toHaveLength(1);
    client.isBlocked = false;
    world.run(60_000);
    expect(client.opened.length).toBeGreaterThan(0);
  });
});
