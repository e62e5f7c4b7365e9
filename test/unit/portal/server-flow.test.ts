import { describe, expect, it } from "vitest";
import { createFlow, createWorld, OFFICE, ridOf, TOKENS, type World } from "./server-world.ts";

/** One client and one gateway past their `init`. */
function pair(world: World = createWorld()) {
  const gateway = world.gateway();
  const client = world.client();
  return { world, gateway, client, rid: ridOf(client) };
}

/** … with a flow. */
function connected() {
  const all = pair();
  all.client.send(createFlow(all.rid));
  all.gateway.answer();
  return {
    ...all,
    flow: all.client.last("flow-created"),
    cid: all.gateway.last("authorize-flow").client.cid,
  };
}

describe("a flow", () => {
  it("PT-85: goes through authorize_flow and its answer to flow_created, with the same keys on both sides", () => {
    const { client, gateway, rid } = pair();
    client.send(createFlow(rid));
    expect(client.log).toEqual(["reply ok", "init"]);
    const asked = gateway.last("authorize-flow");
    gateway.answer();
    const flow = client.last("flow-created");
    expect(flow).toMatchObject({
      rid,
      presharedKey: asked.client.presharedKey,
      clientCredentials: asked.clientCredentials,
      gatewayCredentials: asked.gatewayCredentials,
      gatewayIpv4: gateway.last("init").interface.ipv4,
    });
    expect(asked.client.ipv4).toEqual(client.last("init").interface.ipv4);
    expect(gateway.log).toEqual(["reply ok", "init", "authorize_flow", "reply ok"]);
  });

  it("PT-85.4: waits for the disk even when the gateway has answered", () => {
    const { world, client, gateway, rid } = pair();
    world.hasDisk = false;
    client.send(createFlow(rid));
    gateway.answer();
    expect(client.log).not.toContain("flow_created");
    world.hasDisk = true;
    world.flush();
    expect(client.log).toContain("flow_created");
  });

  it("PT-192: how long a request took, from the client's asking on", () => {
    const { world, client, gateway, rid } = pair();
    client.send(createFlow(rid));
    world.pass(300);
    gateway.answer();
    const { counts, sum } = world.server.meters.flowMs.read();
    expect({ sum, place: counts.indexOf(1) }).toEqual({ sum: 300, place: 6 });
  });

  it("PT-85.4: waits for the disk again after a write that failed", () => {
    const { world, client, gateway, rid } = pair();
    world.hasDisk = false;
    client.send(createFlow(rid));
    gateway.answer();
    expect(world.server.pollPersist()).toBeDefined();
    expect(world.server.pollPersist()).toBeUndefined();
    world.run((now) => world.server.handlePersistFailed(now));
    world.hasDisk = true;
    world.flush();
    expect(client.log).toContain("flow_created");
  });

  it("PT-83: a resource that is not shown to the client is not found", () => {
    const { client } = pair();
    client.send(createFlow("733e8d14-c18d-4931-af30-3639fa09c0c0"));
    expect(client.last("flow-creation-failed").reason).toBe("not_found");
  });

  it("PT-84: without a gateway the site is offline", () => {
    const client = createWorld().client();
    client.send(createFlow(ridOf(client)));
    expect(client.last("flow-creation-failed").reason).toBe("offline");
  });

  it.each([
    ["1.4.9", "flow_created"],
    ["1.6.0", "flow_created"],
    ["1.7.0", "flow_creation_failed"],
    ["1.3.0", "flow_creation_failed"],
    ["2.5.0", "flow_creation_failed"],
    ["x", "flow_creation_failed"],
  ])("PT-84: a client 1.5.0 and a gateway %s end in %s", (version, event) => {
    const world = createWorld();
    const gateway = world.gateway({ version });
    const client = world.client();
    client.send(createFlow(ridOf(client)));
    if (event === "flow_created") gateway.answer();
    else expect(client.last("flow-creation-failed").reason).toBe("version_mismatch");
    expect(client.log).toContain(event);
  });

  it("PT-85.3: a reference that is not the gateway's is invalid", () => {
    const { world, client, gateway, rid } = pair();
    const other = world.gateway({ id: "gateway-2" });
    client.send(createFlow(rid));
    const asked = [gateway, other].find(({ log }) => log.includes("authorize_flow"));
    const stranger = asked === gateway ? other : gateway;
    stranger.send({ kind: "flow-authorized", ref: asked?.last("authorize-flow").ref ?? "" });
    expect(stranger.log.at(-1)).toBe("reply invalid_ref");
    expect(client.log).not.toContain("flow_created");
    asked?.send({ kind: "flow-authorized", ref: "n1.00" });
    expect(asked?.log.at(-1)).toBe("reply invalid_ref");
  });

  it("PT-85.2: the reference is forgotten after 60 s", () => {
    const { world, gateway } = connected();
    gateway.answer();
    expect(gateway.log.at(-1)).toBe("reply ok");
    world.pass(59_000);
    gateway.answer();
    expect(gateway.log.at(-1)).toBe("reply ok");
    world.pass(1_000);
    gateway.answer();
    expect(gateway.log.at(-1)).toBe("reply invalid_ref");
  });

  it("PT-86: asking again while it is pending repeats the question with the same keys, and gives one flow", () => {
    const { world, client, gateway, rid } = pair();
    client.send(createFlow(rid));
    const first = gateway.last("authorize-flow");
    client.send(createFlow(rid));
    expect(gateway.log.filter((event) => event === "authorize_flow")).toHaveLength(1);
    world.pass(2_000);
    client.send(createFlow(rid));
    expect(gateway.log.filter((event) => event === "authorize_flow")).toHaveLength(2);
    expect(gateway.last("authorize-flow")).toEqual(first);
    gateway.answer();
    gateway.answer();
    expect(client.log.filter((event) => event === "flow_created")).toHaveLength(1);
    expect(world.stored.authorizations).toHaveLength(1);
  });

  it("PT-86, PT-100: a client that comes back with another key in mid-flow gets what its gateway has", () => {
    const { world, gateway, client, rid } = pair();
    client.send(createFlow(rid));
    const before = gateway.last("authorize-flow");
    const again = world.client({ key: 9 });
    expect(client.closeCode).toBe(4000);
    gateway.answer();
    // The answer was to the old key, so the gateway is asked again first.
    expect(again.log).not.toContain("flow_created");
    const asked = gateway.last("authorize-flow");
    expect(asked.client.presharedKey).not.toEqual(before.client.presharedKey);
    gateway.answer();
    expect(again.last("flow-created").presharedKey).toEqual(asked.client.presharedKey);
  });

  it("PT-100: a restart of the portal changes no key", () => {
    const { world, flow } = connected();
    const next = pair(createWorld(OFFICE, world.stored));
    next.client.send(createFlow(next.rid));
    next.gateway.answer();
    expect(next.client.last("flow-created")).toEqual(flow);
  });
});

describe("fail-over", () => {
  function trio() {
    const world = createWorld();
    const gateways = ["a", "b", "c"].map((id) => world.gateway({ id }));
    const client = world.client();
    const asked = () => gateways.filter(({ log }) => log.includes("authorize_flow"));
    return { world, gateways, client, rid: ridOf(client), asked };
  }

  it("PT-85.5: chooses another gateway when one does not answer within 5 s, and takes the access back", () => {
    const { world, client, rid, asked } = trio();
    client.send(createFlow(rid));
    const [first] = asked();
    world.pass(4_999);
    expect(asked()).toHaveLength(1);
    world.pass(1);
    expect(asked()).toHaveLength(2);
    expect(first?.log.at(-1)).toBe("reject_access");
    expect(world.stored.authorizations).toHaveLength(1);
  });

  it("PT-85.5: a late answer of the first is invalid", () => {
    const { world, client, rid, asked } = trio();
    client.send(createFlow(rid));
    const [first] = asked();
    world.pass(5_000);
    first?.answer();
    expect(first?.log.at(-1)).toBe("reply invalid_ref");
    expect(client.log).not.toContain("flow_created");
  });

  it("PT-85.5: goes on at once when the gateway leaves", () => {
    const { client, rid, asked } = trio();
    client.send(createFlow(rid));
    asked()[0]?.close();
    expect(asked()).toHaveLength(2);
    asked()
      .find((gateway) => !gateway.log.includes("reply ok") || gateway.log.length === 3)
      ?.answer();
  });

  it("PT-85.5: gives up after two repetitions", () => {
    const { world, client, rid, asked } = trio();
    world.gateway({ id: "d" });
    client.send(createFlow(rid));
    world.pass(14_999);
    expect(client.log).not.toContain("flow_creation_failed");
    world.pass(1);
    expect(client.last("flow-creation-failed").reason).toBe("offline");
    expect(world.stored.authorizations).toEqual([]);
    expect(asked().length).toBeLessThanOrEqual(3);
  });

  it("PT-84.3: a gateway that failed this client within 60 s is used only if nothing else is left", () => {
    const world = createWorld();
    const gateways = [world.gateway({ id: "a" }), world.gateway({ id: "b" })];
    const client = world.client();
    const rid = ridOf(client);
    const served: unknown[] = [];
    const serve = () => {
      // Sooner it would have crossed the answer (PT-86).
      world.pass(1_000);
      const before = gateways.map(({ log }) => log.length);
      client.send(createFlow(rid, ...served.slice(-1).map(String)));
      gateways.find(({ log }, i) => log.length > (before[i] ?? 0))?.answer();
      served.push(client.last("flow-created").gid);
    };
    serve();
    serve();
    expect(served[1]).not.toBe(served[0]);
    world.pass(60_000);
    serve();
    // A minute later the gateway that the client knows best is kept again (PT-84.4).
    expect(served[2]).toBe(served[1]);
  });

  it("PT-84.3: but not if the client has another key since", () => {
    const world = createWorld();
    const gateways = [world.gateway({ id: "a" }), world.gateway({ id: "b" })];
    let client = world.client();
    const rid = ridOf(client);
    client.send(createFlow(rid));
    for (const gateway of gateways) if (gateway.log.includes("authorize_flow")) gateway.answer();
    const { gid } = client.last("flow-created");
    client = world.client({ key: 9 });
    client.send(createFlow(rid, gid));
    gateways.find(({ log }) => log.includes("authorize_flow"))?.answer();
    expect(client.last("flow-created").gid).toBe(gid);
  });

  it("PT-84.3: nor if the portal took the access itself: the gateway that serves the rest is kept", () => {
    const fileOf = (office: string) => `version: 1
resources:
  - { name: Office, type: cidr, address: ${office}, site: default }
  - { name: Lab, type: cidr, address: 172.21.0.0/16, site: default }
policies: [{ group: dev, resource: Office }, { group: dev, resource: Lab }]
`;
    const world = createWorld(fileOf("172.20.0.0/16"));
    const gateways = [world.gateway({ id: "a" }), world.gateway({ id: "b" })];
    const client = world.client();
    const serve = (name: string, ...known: readonly string[]): string => {
      const before = gateways.map(({ log }) => log.length);
      client.send(createFlow(ridOf(client, name), ...known));
      gateways.find(({ log }, i) => log.length > (before[i] ?? 0))?.answer();
      return client.last("flow-created").gid;
    };
    const gid = serve("Office");
    expect(serve("Lab", gid)).toBe(gid);
    world.reload(fileOf("172.22.0.0/16"));
    expect(serve("Office", gid)).toBe(gid);
  });

  it("PT-84.6: new clients go where the fewest are", () => {
    const world = createWorld();
    const gateways = [world.gateway({ id: "a" }), world.gateway({ id: "b" })];
    for (let i = 0; i < 6; i++) {
      const client = world.client({ id: `client-${i}` });
      client.send(createFlow(ridOf(client)));
      for (const gateway of gateways) if (gateway.log.at(-1) === "authorize_flow") gateway.answer();
    }
    expect(gateways.map(({ log }) => log.filter((event) => event === "authorize_flow").length)).toEqual([
      3, 3,
    ]);
  });
});

describe("a hundred fresh identities on two equal gateways", () => {
  it.each([
    ["that stay", false],
    ["each gone before the next comes", true],
  ])("PT-84: are shared out, 30 to 70 each: %s", (_, isPassing) => {
    const world = createWorld();
    const gateways = [world.gateway({ id: "a" }), world.gateway({ id: "b" })];
    for (let i = 0; i < 100; i++) {
      const client = world.client({ id: `client-${i}` });
      client.send(createFlow(ridOf(client)));
      for (const gateway of gateways) if (gateway.log.at(-1) === "authorize_flow") gateway.answer();
      if (isPassing) client.close();
      // PT-72: one a second may come of an address.
      for (const peer of gateways) peer.frame("heartbeat", {}, "phoenix");
      world.pass(1_000);
    }
    const shares = gateways.map(({ log }) => log.filter((event) => event === "authorize_flow").length);
    expect(shares.reduce((sum, share) => sum + share)).toBe(100);
    for (const share of shares) expect(Math.abs(share - 50), `shares ${shares}`).toBeLessThanOrEqual(20);
  });
});

describe("candidates", () => {
  it("PT-87: go unread to the other end, both kinds and both ways", () => {
    const { client, gateway, flow, cid } = connected();
    client.send({ kind: "broadcast-ice-candidates", gids: [flow.gid], candidates: ["a"] });
    client.send({ kind: "broadcast-invalidated-ice-candidates", gids: [flow.gid], candidates: ["b"] });
    gateway.send({ kind: "broadcast-ice-candidates", cids: [cid], candidates: ["c"] });
    gateway.send({ kind: "broadcast-invalidated-ice-candidates", cids: [cid], candidates: ["d"] });
    expect(gateway.messages.slice(-2)).toEqual([
      { kind: "ice-candidates", cid, candidates: ["a"] },
      { kind: "invalidate-ice-candidates", cid, candidates: ["b"] },
    ]);
    expect(client.messages.slice(-2)).toEqual([
      { kind: "ice-candidates", gid: flow.gid, candidates: ["c"] },
      { kind: "invalidate-ice-candidates", gid: flow.gid, candidates: ["d"] },
    ]);
  });

  it("PT-87: those of a pending flow never overtake flow_created", () => {
    const { world, client, gateway, rid } = pair();
    world.hasDisk = false;
    client.send(createFlow(rid));
    const { cid } = gateway.last("authorize-flow").client;
    gateway.answer();
    gateway.send({ kind: "broadcast-ice-candidates", cids: [cid], candidates: ["a"] });
    gateway.send({ kind: "broadcast-ice-candidates", cids: [cid], candidates: ["b"] });
    expect(client.log).not.toContain("ice_candidates");
    world.hasDisk = true;
    world.flush();
    expect(client.log.slice(-3)).toEqual(["flow_created", "ice_candidates", "ice_candidates"]);
    expect(client.messages.at(-1)).toMatchObject({ candidates: ["b"] });
  });

  it("PT-87: 64 of them wait, the rest is counted", () => {
    const { client, gateway, rid, world } = pair();
    client.send(createFlow(rid));
    const { cid } = gateway.last("authorize-flow").client;
    const many = Array.from({ length: 64 }, (_, i) => `c${i}`);
    gateway.send({ kind: "broadcast-ice-candidates", cids: [cid], candidates: many.slice(0, 63) });
    gateway.send({ kind: "broadcast-ice-candidates", cids: [cid], candidates: ["x", "y", "z"] });
    expect(world.server.counters.candidatesDropped).toBe(2);
    gateway.answer();
    expect(client.messages.at(-1)).toMatchObject({ candidates: ["x"] });
  });

  it("PT-87: pass only between a client and a gateway that have something to do with each other", () => {
    const { world, gateway, flow, cid } = connected();
    const stranger = world.client({ id: "stranger" });
    stranger.send({ kind: "broadcast-ice-candidates", gids: [flow.gid, cid], candidates: ["a", "b"] });
    expect(gateway.log).not.toContain("ice_candidates");
    expect(world.server.counters.candidatesUnauthorized).toBe(4);
    const other = world.gateway({ id: "gateway-2" });
    other.send({ kind: "broadcast-ice-candidates", cids: [cid, flow.gid], candidates: ["a"] });
    expect(world.server.counters.candidatesUnauthorized).toBe(6);
  });

  it("PT-87: for a peer that is away they are dropped and counted", () => {
    const { world, client, gateway, flow, cid } = connected();
    client.close();
    gateway.send({ kind: "broadcast-ice-candidates", cids: [cid], candidates: ["a"] });
    expect(world.server.counters.candidatesDropped).toBe(1);
    const again = world.client();
    gateway.close();
    again.send({ kind: "broadcast-ice-candidates", gids: [flow.gid], candidates: ["a", "b"] });
    expect(world.server.counters.candidatesDropped).toBe(3);
  });

  it("PT-62: the loss of a client's connection ends no authorisation", () => {
    const { world, client, gateway } = connected();
    client.close();
    expect(gateway.log).not.toContain("reject_access");
    expect(world.stored.authorizations).toHaveLength(1);
  });
});

describe("tokens and kinds", () => {
  it("PT-85: gateways of another site are not chosen", () => {
    const world = createWorld(
      `${OFFICE}sites: [{ name: Munich, gateway_tokens: [{ name: m, env: MUNICH }] }]\n`,
    );
    const gateway = world.gateway({ token: TOKENS.munich });
    const client = world.client();
    client.send(createFlow(ridOf(client)));
    expect(client.last("flow-creation-failed").reason).toBe("offline");
    expect(gateway.log).not.toContain("authorize_flow");
  });
});

describe("a gateway that leaves", () => {
  it("PT-94: is told at once to the clients that use it, and to nobody else", () => {
    const { world, client, gateway, flow } = connected();
    const bystander = world.client({ id: "bystander" });
    gateway.close();
    expect(client.last("gateway-left")).toEqual({ kind: "gateway-left", gid: flow.gid });
    expect(bystander.log).not.toContain("gateway_left");
  });

  it("PT-94: silence is a way of leaving, a newer socket of the same gateway is none", () => {
    const { world, client, gateway } = connected();
    const newer = world.gateway();
    expect(gateway.closeCode).toBe(4000);
    expect(client.log).not.toContain("gateway_left");
    newer.answersPings = false;
    world.pass(24_000);
    expect(client.log).not.toContain("gateway_left");
    world.pass(2_000);
    expect(client.log).toContain("gateway_left");
  });

  it("PT-94: one that is back with another key is told of when it is ready, whichever socket ended first", () => {
    for (const isReplaced of [true, false]) {
      const { world, client, gateway, flow } = connected();
      const bystander = world.client({ id: "bystander" });
      if (!isReplaced) gateway.close();
      const told = (): number => client.log.filter((event) => event === "gateway_left").length;
      const before = told();
      // A first attempt ends before it has joined.
      world.gateway({ key: 9, joins: false }).close();
      expect(told(), "not there yet").toBe(before);
      world.gateway({ key: 9 });
      expect(told()).toBe(before + 1);
      expect(client.last("gateway-left")).toEqual({ kind: "gateway-left", gid: flow.gid });
      world.gateway({ key: 9 });
      expect(told(), "the same key again").toBe(before + 1);
      expect(bystander.log).not.toContain("gateway_left");
    }
  });

  it("PT-94: without a live authorization nobody is told", () => {
    const { client, gateway } = pair();
    gateway.close();
    expect(client.log).not.toContain("gateway_left");
  });
});
