import { describe, expect, it } from "vitest";
import { instant, ip } from "../../../src/base/index.ts";
import { shownTo } from "./server-snapshot.ts";
import { createFlow, createWorld, OFFICE, ridOf, TOKENS, WALL_START } from "./server-world.ts";

const NOTHING = "version: 1\n";
const RESOURCE = "resources: [{ name: Office, type: cidr, address: 172.20.0.0/16, site: default }]";

/** A client of the group dev that uses Office through a gateway. */
function connected(text = OFFICE) {
  const world = createWorld(text);
  const gateway = world.gateway();
  const client = world.client();
  const rid = ridOf(client);
  client.send(createFlow(rid));
  gateway.answer();
  const { cid } = gateway.last("authorize-flow").client;
  return {
    world,
    gateway,
    client,
    rid,
    cid,
    start: { client: client.log.length, gateway: gateway.log.length },
  };
}

/** What a change pushed to both. */
function pushed({ client, gateway, start }: ReturnType<typeof connected>) {
  return { client: client.log.slice(start.client), gateway: gateway.log.slice(start.gateway) };
}

describe("a change of the configuration", () => {
  it("PT-90: a policy that appears shows its resource", () => {
    const world = createWorld(`version: 1\n${RESOURCE}\n`);
    const client = world.client();
    expect(client.last("init").resources).toEqual([]);
    world.reload(OFFICE);
    expect(client.last("resource-created-or-updated").resource.name).toBe("Office");
    expect(client.log).toEqual(["reply ok", "init", "resource_created_or_updated"]);
  });

  it("PT-90, PT-91: a policy that goes takes the resource and the access", () => {
    const all = connected();
    all.world.reload(`version: 1\n${RESOURCE}\n`);
    expect(pushed(all)).toEqual({ client: ["resource_deleted"], gateway: ["reject_access"] });
    expect(all.client.last("resource-deleted").rid).toBe(all.rid);
    expect(all.gateway.last("reject-access")).toMatchObject({ cid: all.cid, rid: all.rid });
    expect(all.world.stored.authorizations).toEqual([]);
    all.client.send(createFlow(all.rid));
    expect(all.client.last("flow-creation-failed").reason).toBe("not_found");
  });

  it("PT-90: a disabled policy grants nothing", () => {
    const all = connected();
    all.world.reload(OFFICE.replace("resource: Office }", "resource: Office, disabled: true }"));
    expect(pushed(all)).toEqual({ client: ["resource_deleted"], gateway: ["reject_access"] });
  });

  it("PT-90: the same file changes nothing", () => {
    const all = connected();
    all.world.reload(`# a comment\n${OFFICE}`);
    expect(pushed(all)).toEqual({ client: [], gateway: [] });
  });

  it.each([
    ["another address", "172.20.0.0/16", "172.21.0.0/16"],
    ["a wider address", "172.20.0.0/16", "172.16.0.0/12"],
  ])("PT-90: %s is another resource: deleted before created, and the access ends", (_, from, to) => {
    const all = connected();
    all.world.reload(OFFICE.replace(from, to));
    expect(pushed(all)).toEqual({
      client: ["resource_deleted", "resource_created_or_updated"],
      gateway: ["reject_access"],
    });
    all.client.send(createFlow(all.rid));
    expect(all.gateway.last("authorize-flow").resource).toMatchObject({ rid: all.rid });
  });

  it("PT-90: a resource that moves to another site", () => {
    const all = connected();
    all.world.reload(`${OFFICE.replace("site: default", "site: Munich")}sites: [{ name: Munich }]\n`);
    expect(pushed(all)).toEqual({
      client: ["resource_deleted", "resource_created_or_updated"],
      gateway: ["reject_access"],
    });
  });

  it("PT-90: another description is an update for the client only", () => {
    const all = connected();
    all.world.reload(OFFICE.replace("site: default", "site: default, address_description: the office"));
    expect(pushed(all)).toEqual({ client: ["resource_created_or_updated"], gateway: [] });
  });

  it("PT-90: another name with the same id is an update for both", () => {
    const id = "54dae952-00f6-509f-850a-f1a411e43cfe";
    const file = OFFICE.replace("name: Office", `id: ${id}, name: Office`);
    const all = connected(file);
    all.world.reload(file.replaceAll("Office", "Bureau"));
    // The policy is named by what it joins, so that this is another one: the access moves to it.
    expect(pushed(all)).toEqual({
      client: ["resource_created_or_updated"],
      gateway: ["access_authorization_expiry_updated", "resource_updated"],
    });
    expect(all.gateway.last("resource-updated").resource).toMatchObject({ rid: id, name: "Bureau" });
  });

  it("PT-91: access that another policy grants goes on under that one", () => {
    const two = `${RESOURCE}
groups: [{ name: more, members: [dev] }]
actors: [{ name: dev, type: service_account }]
`;
    const all = connected(
      `version: 1\n${two}policies: [{ group: dev, resource: Office }, { group: more, resource: Office }]\n`,
    );
    all.world.reload(`version: 1\n${two}policies: [{ group: more, resource: Office }]\n`);
    expect(pushed(all)).toEqual({ client: [], gateway: ["access_authorization_expiry_updated"] });
    expect(all.gateway.last("access-authorization-expiry-updated").expiresAt).toBe(253402300799_000);
  });

  it("PT-91: a condition that is added and holds moves the expiry", () => {
    const all = connected();
    const condition =
      "{ property: current_utc_datetime, operator: is_in_day_of_week_time_ranges, values: [T/9-13/UTC] }";
    all.world.reload(OFFICE.replace("resource: Office }", `resource: Office, conditions: [${condition}] }`));
    expect(pushed(all).gateway).toEqual(["access_authorization_expiry_updated"]);
    expect(all.gateway.last("access-authorization-expiry-updated").expiresAt).toBe(WALL_START + 3_600_000);
  });

  it("PT-90: a condition that is added and does not hold ends access and view", () => {
    const all = connected();
    const condition = "{ property: remote_ip, operator: is_in_cidr, values: [203.0.113.0/24] }";
    all.world.reload(OFFICE.replace("resource: Office }", `resource: Office, conditions: [${condition}] }`));
    expect(pushed(all)).toEqual({ client: ["resource_deleted"], gateway: ["reject_access"] });
  });

  it("PT-90, PT-93: an actor that is disabled is disconnected, and its access ends", () => {
    const all = connected();
    all.world.reload(`${OFFICE}actors: [{ name: dev, type: service_account, disabled: true }]\n`);
    expect(all.client.log.at(-1)).toBe("disconnect");
    expect(all.client.closeCode).toBe(1000);
    expect(pushed(all).gateway).toEqual(["reject_access"]);
    expect(all.world.upgrade("client")).toMatchObject({ refusal: { status: 401 } });
  });

  it("PT-93: a revoked gateway token ends its socket", () => {
    const munich = `${OFFICE.replace("site: default", "site: Munich")}sites: [{ name: Munich, gateway_tokens: [{ name: m, env: MUNICH }] }]\n`;
    const world = createWorld(munich);
    const gateway = world.gateway({ token: TOKENS.munich });
    world.reload(munich.replace(", gateway_tokens: [{ name: m, env: MUNICH }]", ""));
    expect(gateway.log.at(-1)).toBe("disconnect");
    expect(gateway.closeCode).toBe(1000);
    expect(world.upgrade("gateway", { token: TOKENS.munich })).toMatchObject({ refusal: { status: 401 } });
  });

  it("a token that moves to another site closes the socket without refusing the gateway", () => {
    const file = (site: string) =>
      `version: 1\nsites: [{ name: a${site === "a" ? ", gateway_tokens: [{ name: m, env: MUNICH }]" : ""} }, { name: b${site === "b" ? ", gateway_tokens: [{ name: m, env: MUNICH }]" : ""} }]\n`;
    const world = createWorld(file("a"));
    const gateway = world.gateway({ token: TOKENS.munich });
    world.reload(file("b"));
    expect(gateway.log).not.toContain("disconnect");
    expect(gateway.closeCode).toBe(1000);
    expect(world.upgrade("gateway", { token: TOKENS.munich }).ok).toBe(true);
  });

  it("PT-90: other resolvers are a change of the interface", () => {
    const all = connected();
    all.world.reload(`${OFFICE}dns: { upstream: custom, servers: [9.9.9.9] }\n`);
    expect(pushed(all)).toEqual({ client: ["config_changed"], gateway: [] });
    expect(all.client.last("config-changed").interface.upstreamDo53).toEqual([ip("9.9.9.9")]);
  });

  it("PT-90: a pending flow whose policy goes is not created", () => {
    const world = createWorld();
    const gateway = world.gateway();
    const client = world.client();
    const rid = ridOf(client);
    client.send(createFlow(rid));
    world.reload(NOTHING);
    expect(client.log.slice(2)).toEqual(["resource_deleted", "flow_creation_failed"]);
    expect(gateway.log.at(-1)).toBe("reject_access");
    gateway.answer();
    expect(gateway.log.at(-1)).toBe("reply invalid_ref");
    expect(client.log).not.toContain("flow_created");
  });

  it("PT-90: a pending flow whose resource has another address is asked for anew", () => {
    const world = createWorld();
    const gateway = world.gateway();
    const client = world.client();
    client.send(createFlow(ridOf(client)));
    world.reload(OFFICE.replace("172.20.0.0/16", "10.0.0.0/8"));
    expect(gateway.log.slice(2)).toEqual(["authorize_flow", "reject_access", "authorize_flow"]);
    gateway.answer();
    expect(client.log).toContain("flow_created");
  });
});

describe("what nobody heard of", () => {
  it("PT-61: a gateway that comes back is told what its resources are by now", () => {
    const all = connected();
    all.gateway.close();
    all.world.reload(OFFICE.replace("site: default", "site: default, filters: [{ protocol: icmp }]"));
    const { authorizations, resources } = all.world.gateway().last("init");
    expect(authorizations).toMatchObject([{ cid: all.cid, rid: all.rid }]);
    expect(resources).toMatchObject([{ rid: all.rid, filters: [{ protocol: "icmp" }] }]);
  });

  it("PT-61: the gateway's next init lists only what still holds", () => {
    const all = connected();
    all.gateway.close();
    expect(all.world.gateway().last("init").authorizations).toMatchObject([{ cid: all.cid, rid: all.rid }]);
    all.world.reload(NOTHING);
    expect(all.world.gateway({ id: "gateway-1", key: 3 }).last("init").authorizations).toEqual([]);
  });

  it("PT-92: a client that was away hears that its access ended, and may ask anew", () => {
    const all = connected();
    all.client.close();
    all.world.reload(OFFICE.replace("172.20.0.0/16", "172.21.0.0/16"));
    const again = all.world.client();
    expect(again.log).toEqual(["reply ok", "init", "resource_deleted", "resource_created_or_updated"]);
    expect(all.world.client({ key: 9 }).log).toEqual(["reply ok", "init"]);
  });

  it("a file that changed while the portal was down ends what it does not grant", () => {
    const { world } = connected();
    expect(world.stored.authorizations).toHaveLength(1);
    for (const [text, left] of [
      [OFFICE, 1],
      [NOTHING, 0],
      [OFFICE.replace("172.20.0.0/16", "172.16.0.0/12"), 0],
      [`${OFFICE}actors: [{ name: dev, type: service_account, disabled: true }]\n`, 0],
      [`${OFFICE.replace("site: default", "site: Munich")}sites: [{ name: Munich }]\n`, 0],
    ] as const) {
      const later = createWorld(text, world.stored);
      expect(later.gateway().last("init").authorizations).toHaveLength(left);
    }
  });
});

describe("conditions and time", () => {
  const timed = (values: string) =>
    OFFICE.replace(
      "resource: Office }",
      `resource: Office, conditions: [{ property: current_utc_datetime, operator: is_in_day_of_week_time_ranges, values: ${values} }] }`,
    );

  it("PT-90: a resource goes and comes with its time", () => {
    const world = createWorld(timed("['T/9-12:30,13-14/UTC']"));
    const client = world.client();
    expect(shownTo(client).size).toBe(1);
    world.pass(30 * 60_000 - 1);
    expect(client.log).toEqual(["reply ok", "init"]);
    world.pass(1);
    expect(client.log.at(-1)).toBe("resource_deleted");
    world.pass(31 * 60_000);
    expect(client.log.at(-1)).toBe("resource_created_or_updated");
  });

  it("PT-82, PT-90: a resource comes in the second in which its time begins", () => {
    const world = createWorld(timed("['T/13:00:07-14/UTC', 'W/9-10/UTC']"));
    const client = world.client();
    expect(shownTo(client).size).toBe(0);
    world.pass(60 * 60_000 + 6_999);
    expect(client.log).toEqual(["reply ok", "init"]);
    world.pass(1);
    expect(client.log.at(-1)).toBe("resource_created_or_updated");
  });

  it("PT-83: an authorisation ends with its time", () => {
    const world = createWorld(timed("[T/9-12:30/UTC]"));
    const gateway = world.gateway();
    const client = world.client();
    client.send(createFlow(ridOf(client)));
    expect(gateway.last("authorize-flow").expiresAt).toBe(WALL_START + 30 * 60_000);
  });

  it("PT-83: among several policies the latest expiry counts", () => {
    const text = `version: 1
${RESOURCE}
groups: [{ name: dev, members: [dev] }, { name: more, members: [dev] }]
actors: [{ name: dev, type: service_account }]
policies:
  - { group: dev, resource: Office, conditions: [{ property: current_utc_datetime, operator: is_in_day_of_week_time_ranges, values: [T/9-13/UTC] }] }
  - { group: more, resource: Office, conditions: [{ property: current_utc_datetime, operator: is_in_day_of_week_time_ranges, values: [T/9-15/UTC] }] }
`;
    const world = createWorld(text);
    const gateway = world.gateway();
    const client = world.client();
    client.send(createFlow(ridOf(client)));
    expect(gateway.last("authorize-flow").expiresAt).toBe(WALL_START + 3 * 3_600_000);
  });

  it.each([
    ["is_in_cidr", "198.51.100.0/24", true],
    ["is_in_cidr", "203.0.113.0/24", false],
    ["is_not_in_cidr", "198.51.100.0/24", false],
    ["is_not_in_cidr", "203.0.113.0/24", true],
  ])("PT-81: remote_ip %s %s", (operator, network, isShown) => {
    const condition = `{ property: remote_ip, operator: ${operator}, values: [${network}] }`;
    const world = createWorld(
      OFFICE.replace("resource: Office }", `resource: Office, conditions: [${condition}] }`),
    );
    for (const remote of [ip("198.51.100.7"), ip("::ffff:198.51.100.7")]) {
      expect(shownTo(world.client({ id: `c${remote.length}`, remote })).size).toBe(isShown ? 1 : 0);
    }
  });

  it.each([
    ["remote_ip_location_region", "is_in", "[DE]", 0],
    ["remote_ip_location_region", "is_not_in", "[DE]", 0],
    ["auth_provider_id", "is_in", "[x]", 0],
    ["auth_provider_id", "is_not_in", "[x]", 1],
    ["client_verified", "is", "['false']", 1],
    ["client_verified", "is", "['true']", 0],
  ])("PT-81, PT-118: %s %s %s", (property, operator, values, count) => {
    const condition = `{ property: ${property}, operator: ${operator}, values: ${values} }`;
    const client = createWorld(
      OFFICE.replace("resource: Office }", `resource: Office, conditions: [${condition}] }`),
    ).client();
    expect(shownTo(client).size).toBe(count);
  });

  it("PT-71: a device is verified until its hardware changes", () => {
    const condition = "{ property: client_verified, operator: is, values: ['true'] }";
    const text = `${OFFICE.replace("resource: Office }", `resource: Office, conditions: [${condition}] }`)}devices: { verified: [client-1] }\n`;
    const world = createWorld(text);
    const connect = (serial: string) => shownTo(world.client({ query: { device_serial: serial } })).size;
    expect([connect("a"), connect("a"), connect("b"), connect("b")]).toEqual([1, 1, 0, 0]);
    world.reload(text.replace("[client-1]", "[]"));
    world.reload(text);
    expect(connect("b")).toBe(1);
  });

  it("PT-83: a resource that is still shown and whose time has just ended is forbidden, with the property", () => {
    const world = createWorld(timed("[T/9-12:30/UTC]"));
    world.gateway();
    const client = world.client();
    const rid = ridOf(client);
    world.pass(30 * 60_000 - 1);
    world.now = instant(world.now + 1);
    client.send(createFlow(rid));
    expect(client.last("flow-creation-failed")).toMatchObject({
      reason: "forbidden",
      violatedProperties: ["current_utc_datetime"],
    });
    world.pass(0);
    client.send(createFlow(rid));
    expect(client.last("flow-creation-failed").reason).toBe("not_found");
  });
});

describe("groups", () => {
  it("PT-80: users are in Everyone, service accounts are not", () => {
    const text = `version: 1
resources: [{ name: Office, type: cidr, address: 172.20.0.0/16, site: default }]
actors: [{ name: Alice, type: user, tokens: [{ name: a, env: ALICE }] }, { name: bot, type: service_account, tokens: [{ name: b, env: BOB }] }]
policies: [{ group: Everyone, resource: Office }]
`;
    const world = createWorld(text);
    expect(shownTo(world.client({ token: TOKENS.alice })).size).toBe(1);
    expect(shownTo(world.client({ token: TOKENS.bob })).size).toBe(0);
  });

  it("PT-50, PT-80: names and the internet are shown like networks", () => {
    const text = `version: 1
resources: [{ name: Git, type: dns, address: git.example, site: default }, { name: All, type: internet, site: default }]
policies: [{ group: dev, resource: Git }, { group: dev, resource: All }]
`;
    expect(createWorld(text).client().last("init").resources).toMatchObject([
      { kind: "dns", name: "Git", address: "git.example", ipStack: "dual", filters: [] },
      { kind: "internet", name: "All", canBeDisabled: true },
    ]);
  });
});
