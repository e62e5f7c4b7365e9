import { describe, expect, it } from "vitest";
import { ip } from "../../src/base/index.ts";
import fc from "../lib/property.ts";
import { announceAddresses, createDuo, type Duo, idAt, sentMessages, shown } from "./duo.ts";
import { counters, cut } from "./steps.ts";
import { createWorld, type World } from "./world.ts";

type Step =
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "talk"; readonly seconds: number }
  | {
      readonly kind:
        | "connect"
        | "upsert-client"
        | "upsert-gateway"
        | "roam"
        | "gateway-forgets"
        | "client-closes";
    }
  | { readonly kind: "cut-client" | "cut-gateway" | "portal"; readonly isDown: boolean }
  | { readonly kind: "loss"; readonly share: number }
  | { readonly kind: "sleep"; readonly ms: number };

const isDown = fc.boolean();
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 30_000 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("talk" as const), seconds: fc.integer({ min: 1, max: 30 }) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        "connect" as const,
        "upsert-client" as const,
        "upsert-gateway" as const,
        "roam" as const,
        "gateway-forgets" as const,
        "client-closes" as const,
      ),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom("cut-client" as const, "cut-gateway" as const, "portal" as const),
      isDown,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("loss" as const),
      share: fc.double({ min: 0, max: 0.4, noNaN: true }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("sleep" as const), ms: fc.integer({ min: 1, max: 900_000 }) }),
  },
);

interface Case {
  readonly world: World;
  readonly duo: Duo;
  /** Rises with every packet of either side. */
  sequence: number;
  roams: number;
}

function perform(test: Case, step: Step): void {
  const { world, duo } = test;
  const { client, gateway } = duo;
  switch (step.kind) {
    case "wait":
      return world.run(step.ms);
    case "talk":
      return talk(test, step.seconds);
    case "connect":
      return duo.connect();
    case "upsert-client":
      return void duo.upsert(client);
    case "upsert-gateway":
      return void duo.upsert(gateway);
    case "roam": {
      client.machine.apply(world.now(), (connections) => connections.reset(world.now()));
      client.host.addresses = [ip(`203.0.113.${(++test.roams % 250) + 1}`)];
      client.host.routed = client.host.addresses;
      announceAddresses(world, client);
      return duo.connect();
    }
    case "gateway-forgets":
      gateway.machine.apply(world.now(), (connections) =>
        connections.removeConnection(world.now(), { id: idAt(gateway), reason: "restart" }),
      );
      return world.flush(gateway.host);
    case "client-closes":
      client.machine.apply(world.now(), (connections) =>
        connections.closeAll(world.now(), new Uint8Array(48)),
      );
      return world.flush(client.host);
    case "cut-client":
      return cut(client, step.isDown);
    case "cut-gateway":
      return cut(gateway, step.isDown);
    case "portal":
      duo.portal = {
        ...duo.portal,
        candidates: (candidates) => (step.isDown ? [] : [{ afterMs: 0, candidates }]),
      };
      return;
    case "loss":
      for (const { host } of [client, gateway]) host.link = { ...host.link, loss: step.share };
      return;
    case "sleep":
      return world.sleep(step.ms);
  }
}

function talk(test: Case, seconds: number): void {
  for (let i = 0; i < seconds; i++) {
    test.duo.send(test.duo.client, ++test.sequence);
    test.duo.send(test.duo.gateway, ++test.sequence);
    test.world.run(1_000);
  }
}

/** The network is whole again, and the portal introduces both once more. */
function heal(test: Case): void {
  const { world, duo } = test;
  for (const step of ["cut-client", "cut-gateway", "portal"] as const)
    perform(test, { kind: step, isDown: false });
  perform(test, { kind: "loss", share: 0 });
  // What is dead has failed by then (SN-95), the client asks again for what it lacks.
  world.run(22_000);
  duo.connect();
  world.run(25_000);
  duo.connect();
  world.run(2_000);
}

describe("whatever happens to two nodes", () => {
  it("they are connected again once the network is stable, and never do what they must not", {
    timeout: 60_000,
  }, () => {
    fc.assert(
      fc.property(fc.nat(), fc.array(step, { minLength: 3, maxLength: 15 }), (seed, steps) => {
        const world = createWorld(seed);
        const test: Case = { world, duo: createDuo(world), sequence: 0, roams: 0 };
        const { client, gateway } = test.duo;
        test.duo.connect();
        for (const step of steps) perform(test, step);
        heal(test);
        const since = test.sequence;
        talk(test, 5);
        for (const end of [client, gateway]) {
          expect(end.received.filter((sequence) => sequence > since)).toHaveLength(5);
          // No packet twice, none before an earlier one: the links do not reorder here.
          expect(end.received).toEqual([...new Set(end.received)].sort((a, b) => a - b));
          expect(shown(end)?.state).toBe("connected");
          expect(end.machine.connections.stats().connections).toHaveLength(1);
          expect(counters(end).stun_malformed + counters(end).unknown_format).toBe(0);
        }
        expect(sentMessages(gateway, 1)).toBe(0);
      }),
      { numRuns: 20 },
    );
  });
});
