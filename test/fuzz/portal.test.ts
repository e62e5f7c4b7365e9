/**
 * The portal's protocol under hostile frames, both ways (target `phoenix-json` of TS-42): what true clients
 * and gateways hear and say is changed field by field and said again.
 */
import { describe, expect, it } from "vitest";
import { clientChannel, gatewayChannel, parseFrame } from "../../src/portal/protocol/index.ts";
import { createDriver, LOGIN } from "../unit/portal/connection-driver.ts";
import {
  type ClientWire,
  createFlow,
  createWorld,
  type GatewayWire,
  ridOf,
  type World,
} from "../unit/portal/server-world.ts";
import { type Chance, fuzz, fuzzOptions } from "./chance.ts";
import { mutateJson, mutateText } from "./mutation.ts";

interface Said {
  readonly event: string;
  readonly payload: unknown;
}

const WORDS = [
  "phx_join",
  "phx_reply",
  "heartbeat",
  "null",
  "[]",
  "{}",
  "-1",
  '"ref":',
  "1e999",
  '"topic":"client"',
];
const CANDIDATE = "candidate:x 1 udp 2130706175 198.51.100.2 40000 typ host";

/** A client that has reached its gateway, and everything that was said on the way. */
function story(): {
  readonly world: World;
  readonly client: ClientWire;
  readonly gateway: GatewayWire;
  readonly toClient: readonly Said[];
  readonly toGateway: readonly Said[];
  readonly toPortal: readonly Said[];
} {
  const world = createWorld();
  const gateway = world.gateway();
  const client = world.client();
  const flow = createFlow(ridOf(client));
  client.send(flow);
  gateway.answer();
  const { gid } = client.last("flow-created");
  const { client: subject, ref } = gateway.last("authorize-flow");
  const requests: readonly Said[] = [
    clientChannel.toRequestEvent(flow),
    clientChannel.toRequestEvent({ kind: "broadcast-ice-candidates", gids: [gid], candidates: [CANDIDATE] }),
    gatewayChannel.toRequestEvent({ kind: "flow-authorized", ref }),
    gatewayChannel.toRequestEvent({
      kind: "broadcast-ice-candidates",
      cids: [subject.cid],
      candidates: [CANDIDATE],
    }),
    { event: "phx_join", payload: {} },
    { event: "phx_leave", payload: {} },
    { event: "heartbeat", payload: {} },
  ];
  return { world, client, gateway, toClient: client.frames, toGateway: gateway.frames, toPortal: requests };
}

/** A frame that is true in parts. */
function hostileText(chance: Chance, said: readonly Said[], topics: readonly string[]): string {
  const { event, payload } = chance.pick(said);
  const frame = {
    topic: chance.pick(topics),
    event,
    payload,
    ref: chance.pick([null, 0, 1, "1", chance.below(40)]),
  };
  const changed = chance.isOneIn(3)
    ? mutateJson(chance, frame)
    : { ...frame, payload: mutateJson(chance, payload) };
  const text = JSON.stringify(changed) ?? "";
  return chance.isOneIn(6) ? mutateText(chance, text, WORDS) : text;
}

describe("hostile frames", () => {
  it("PT §4: to a client: counted or obeyed, never thrown; it goes on or connects again", () => {
    const { toClient } = story();
    fuzz(fuzzOptions({ seed: 1, rounds: 150 }), (chance) => {
      const driver = createDriver({ seed: chance.below(1000) });
      driver.run((now) => driver.machine.connect(now, LOGIN));
      driver.run((now) => driver.machine.handleAddresses(now, []));
      driver.open();
      for (let i = 0; i < 40; i++) {
        if (i === 20) driver.reply("phx_join");
        const text = hostileText(chance, toClient, ["client", "client", "phoenix", "gateway"]);
        driver.run((now) => driver.machine.handleText(now, driver.attempt, text));
        if (chance.isOneIn(8)) driver.pass(chance.below(40_000));
      }
      const { machine } = driver;
      expect(["closed", "waiting", "resolving", "connecting", "joining", "joined"]).toContain(machine.state);
    });
  });

  it("PT §4: to client and gateway, every message is read or refused", () => {
    const { toClient, toGateway } = story();
    let read = 0;
    let refused = 0;
    fuzz(fuzzOptions({ seed: 1, rounds: 3000 }), (chance) => {
      const isClient = chance.isOneIn(2);
      const { event, payload } = chance.pick(isClient ? toClient : toGateway);
      const changed: unknown = JSON.parse(JSON.stringify(mutateJson(chance, payload)) ?? "null");
      const result = (isClient ? clientChannel : gatewayChannel).parseMessage(event, changed);
      if (result.kind === "message") read++;
      else refused++;
    });
    expect(Math.min(read, refused)).toBeGreaterThan(100);
  });

  it("PT §4: to the portal: other sockets are served as before, and its state stays bounded", () => {
    fuzz(fuzzOptions({ seed: 1, rounds: 60 }), (chance) => {
      const { world, client, gateway, toPortal } = story();
      const hostile = chance.pick([client, gateway]);
      for (let i = 0; i < 60 && hostile.closeCode === undefined; i++) {
        hostile.raw(hostileText(chance, toPortal, ["client", "gateway", "relay", "phoenix"]));
        if (chance.isOneIn(8)) world.pass(chance.below(10_000));
      }
      if (hostile === gateway) gateway.close();
      const other = world.client({ id: "client-2", key: 9 });
      const fresh = hostile === gateway ? world.gateway({ id: "gateway-2", key: 8 }) : gateway;
      other.send(createFlow(ridOf(other)));
      fresh.answer();
      expect(other.last("flow-created").kind).toBe("flow-created");
      const { clients, gateways, liveAuthorizations } = world.server.status(world.now);
      expect(clients.length).toBeLessThanOrEqual(2);
      expect(gateways.length).toBeLessThanOrEqual(1);
      expect(liveAuthorizations).toBeLessThanOrEqual(4);
    });
  });

  it("PT §3: text that is no frame is refused", () => {
    fuzz(fuzzOptions({ seed: 1, rounds: 3000 }), (chance) => {
      const text = JSON.stringify({ topic: "client", event: "phx_reply", payload: { status: "ok" }, ref: 1 });
      const result = parseFrame(mutateText(chance, text, WORDS));
      if (!result.ok) return;
      expect(typeof result.value.topic).toBe("string");
      expect(typeof result.value.event).toBe("string");
    });
  });
});
