import { describe, expect, it } from "vitest";
import { ip, prefix, unixMs } from "../../../src/base/index.ts";
import {
  type Channel,
  type ChannelParse,
  type ClientMessage,
  type ClientRequest,
  clientChannel,
  type GatewayMessage,
  type GatewayRequest,
  gatewayChannel,
} from "../../../src/portal/protocol/index.ts";
import fc from "../../lib/property.ts";

const CID = "3abd725a-733b-4801-ac16-72f26cd98a24";
const GID = "d263d490-a0bb-452a-8990-01d27a1f1144";
const RID = "733e8d14-c18d-4931-af30-3639fa09c0c0";
const SITE = "bf56f32d-7b2c-4f5d-a784-788977d014a4";
const KEY = Uint8Array.from({ length: 32 }, (_, i) => i);
const KEY_TEXT = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const CREDENTIALS = { username: "lbikzayo", password: "3342lopzjryj7ckavntssvogzf" };

const TLS = { address: ip("2001:db8::7"), port: 443 };
const RELAY = {
  id: "8e29cf93-6f03-453b-ae08-4baa6aef851a",
  address: { address: ip("2001:db8::7"), port: 3478 },
  username: "1764000000:kF8o",
  password: "qbNM",
  expiresAt: unixMs(1764000000_000),
};

/** One of each; a new kind does not compile without its example. */
const CLIENT_MESSAGES: { readonly [K in ClientMessage["kind"]]: ClientMessage & { readonly kind: K } } = {
  init: {
    kind: "init",
    interface: {
      ipv4: ip("100.64.0.2"),
      ipv6: ip("fd00:2021:1111::2"),
      searchDomain: "corp.example",
      upstreamDo53: [ip("1.1.1.1"), ip("2001:db8::53")],
      upstreamDoh: [],
    },
    resources: [
      {
        kind: "cidr",
        rid: RID,
        name: "Office",
        address: prefix("10.0.0.0/16"),
        description: "the office",
        sites: [{ id: SITE, name: "Berlin" }],
        filters: [],
      },
      {
        kind: "dns",
        rid: CID,
        name: "Git",
        address: "*.git.example.com",
        ipStack: "ipv4_only",
        sites: [],
        filters: [{ protocol: "tcp", firstPort: 443, lastPort: 443 }, { protocol: "icmp" }],
      },
      { kind: "internet", rid: GID, name: "Internet Resource", canBeDisabled: true, sites: [] },
    ],
    relays: [RELAY],
  },
  "config-changed": {
    kind: "config-changed",
    interface: {
      ipv4: ip("100.64.0.2"),
      ipv6: ip("fd00:2021:1111::2"),
      upstreamDo53: [],
      upstreamDoh: ["https://dns.example/dns-query"],
    },
  },
  "resource-created-or-updated": {
    kind: "resource-created-or-updated",
    resource: {
      kind: "cidr",
      rid: RID,
      name: "v6",
      address: prefix("2001:db8::/32"),
      sites: [],
      filters: [],
    },
  },
  "resource-deleted": { kind: "resource-deleted", rid: RID },
  "relays-presence": { kind: "relays-presence", disconnectedIds: [CID], connected: [RELAY] },
  "ice-candidates": { kind: "ice-candidates", gid: GID, candidates: ["candidate:1", "candidate:2"] },
  "invalidate-ice-candidates": { kind: "invalidate-ice-candidates", gid: GID, candidates: [] },
  "flow-created": {
    kind: "flow-created",
    rid: RID,
    gid: GID,
    siteId: SITE,
    gatewayKey: KEY,
    gatewayIpv4: ip("100.64.0.1"),
    gatewayIpv6: ip("fd00:2021:1111::1"),
    presharedKey: KEY,
    clientCredentials: CREDENTIALS,
    gatewayCredentials: CREDENTIALS,
  },
  "gateway-left": { kind: "gateway-left", gid: "d263d490-a0bb-452a-8990-01d27a1f1144" },
  "flow-creation-failed": {
    kind: "flow-creation-failed",
    rid: RID,
    reason: "forbidden",
    violatedProperties: ["remote_ip"],
  },
};

const GATEWAY_MESSAGES: { readonly [K in GatewayMessage["kind"]]: GatewayMessage & { readonly kind: K } } = {
  init: {
    kind: "init",
    interface: { ipv4: ip("100.64.0.1"), ipv6: ip("fd00:2021:1111::1") },
    relays: [],
    accountSlug: "demo",
    authorizations: [{ cid: CID, rid: RID, expiresAt: unixMs(1764000000_000) }],
    resources: [{ kind: "internet", rid: RID }],
  },
  "authorize-flow": {
    kind: "authorize-flow",
    ref: "n1.Zk3",
    resource: { kind: "cidr", rid: RID, name: "Office", address: prefix("10.0.0.0/16"), filters: [] },
    client: {
      cid: CID,
      publicKey: KEY,
      presharedKey: KEY,
      ipv4: ip("100.64.0.2"),
      ipv6: ip("fd00:2021:1111::2"),
      version: "1.5.0",
      device: { device_serial: "A1" },
    },
    clientCredentials: CREDENTIALS,
    gatewayCredentials: CREDENTIALS,
    expiresAt: unixMs(1764000000_000),
    subject: { actor_id: SITE, actor_name: "ci" },
  },
  "reject-access": { kind: "reject-access", cid: CID, rid: RID },
  "access-authorization-expiry-updated": {
    kind: "access-authorization-expiry-updated",
    cid: CID,
    rid: RID,
    expiresAt: unixMs(253402300799_000),
  },
  "resource-updated": { kind: "resource-updated", resource: { kind: "internet", rid: RID } },
  "ice-candidates": { kind: "ice-candidates", cid: CID, candidates: ["candidate:1"] },
  "invalidate-ice-candidates": { kind: "invalidate-ice-candidates", cid: CID, candidates: ["candidate:1"] },
  "relays-presence": {
    kind: "relays-presence",
    disconnectedIds: [],
    connected: [{ ...RELAY, tls: { address: TLS, name: "relay.example" }, tcp: { address: TLS } }],
  },
};

const CLIENT_REQUESTS: readonly ClientRequest[] = [
  { kind: "create-flow", rid: RID, connectedGatewayIds: [GID] },
  { kind: "broadcast-ice-candidates", gids: [GID], candidates: ["candidate:1"] },
  { kind: "broadcast-invalidated-ice-candidates", gids: [], candidates: [] },
];

const GATEWAY_REQUESTS: readonly GatewayRequest[] = [
  { kind: "flow-authorized", ref: "n1.Zk3" },
  { kind: "flow-waiting", ref: "n1.Zk3" },
  { kind: "broadcast-ice-candidates", cids: [CID], candidates: ["candidate:1"] },
  { kind: "broadcast-invalidated-ice-candidates", cids: [CID, RID], candidates: [] },
];

/** Through JSON, as over the wire. */
function overWire<M, R>(channel: Channel<M, R>, event: string, payload: unknown): ChannelParse<M> {
  return channel.parseMessage(event, JSON.parse(JSON.stringify(payload)));
}

function readBack<M, R>(channel: Channel<M, R>, message: M): ChannelParse<M> {
  const { event, payload } = channel.toMessageEvent(message);
  return overWire(channel, event, payload);
}

describe("every message", () => {
  it.each(Object.values(CLIENT_MESSAGES).map((message) => [message.kind, message] as const))(
    "PT §4.1: %s to the client is read as it was written",
    (_, message) => {
      expect(readBack(clientChannel, message)).toEqual({ kind: "message", message, skipped: 0 });
    },
  );

  it.each(Object.values(GATEWAY_MESSAGES).map((message) => [message.kind, message] as const))(
    "PT §4.2: %s to the gateway is read as it was written",
    (_, message) => {
      expect(readBack(gatewayChannel, message)).toEqual({ kind: "message", message, skipped: 0 });
    },
  );

  it.each(CLIENT_REQUESTS.map((request) => [request.kind, request] as const))(
    "PT §4.1: %s of the client is read as it was written",
    (_, request) => {
      const { event, payload } = clientChannel.toRequestEvent(request);
      expect(clientChannel.parseRequest(event, payload)).toEqual({
        kind: "message",
        message: request,
        skipped: 0,
      });
    },
  );

  it.each(GATEWAY_REQUESTS.map((request) => [request.kind, request] as const))(
    "PT §4.2: %s of the gateway is read as it was written",
    (_, request) => {
      const { event, payload } = gatewayChannel.toRequestEvent(request);
      expect(gatewayChannel.parseRequest(event, payload)).toEqual({
        kind: "message",
        message: request,
        skipped: 0,
      });
    },
  );

  it("PT-6: random payloads under known events are read, ignored or refused, never thrown at", () => {
    const events = [
      ...Object.values(CLIENT_MESSAGES).map((message) => clientChannel.toMessageEvent(message)),
      ...Object.values(GATEWAY_MESSAGES).map((message) => gatewayChannel.toMessageEvent(message)),
    ];
    fc.assert(
      fc.property(fc.constantFrom(...events), fc.jsonValue(), fc.array(fc.string()), (known, junk, path) => {
        for (const payload of [junk, replaced(known.payload, path, junk)]) {
          expect(() => clientChannel.parseMessage(known.event, payload)).not.toThrow();
          expect(() => gatewayChannel.parseMessage(known.event, payload)).not.toThrow();
          expect(() => clientChannel.parseRequest(known.event, payload)).not.toThrow();
          expect(() => gatewayChannel.parseRequest(known.event, payload)).not.toThrow();
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("the examples of the specification", () => {
  it("PT-58: init", () => {
    const result = overWire(clientChannel, "init", {
      interface: {
        ipv4: "100.64.0.2",
        ipv6: "fd00:2021:1111::2",
        upstream_do53: [{ ip: "1.1.1.1" }],
        upstream_doh: [],
        upstream_dns: [{ protocol: "ip_port", address: "1.1.1.1:53" }],
        search_domain: "corp.example",
      },
      resources: [
        {
          type: "dns",
          id: RID,
          name: "Git",
          address: "*.git.example.com",
          ip_stack: "dual",
          address_description: null,
          gateway_groups: [{ id: SITE, name: "Berlin" }],
          filters: [{ protocol: "tcp", port_range_start: 443, port_range_end: 443 }, { protocol: "icmp" }],
        },
      ],
      relays: [
        {
          id: RELAY.id,
          type: "turn",
          addr: "[2001:db8::7]:3478",
          username: "u",
          password: "p",
          expires_at: 1764000000,
        },
      ],
    });
    expect(result).toMatchObject({
      kind: "message",
      skipped: 0,
      message: {
        interface: { searchDomain: "corp.example", upstreamDo53: [ip("1.1.1.1")] },
        resources: [{ kind: "dns", ipStack: "dual", sites: [{ id: SITE, name: "Berlin" }] }],
        relays: [{ address: { address: ip("2001:db8::7"), port: 3478 } }],
      },
    });
  });

  it("PT-53: absent resources and relays are empty lists", () => {
    const result = overWire(clientChannel, "init", { interface: { ipv4: "100.64.0.2", ipv6: "fd00::2" } });
    expect(result).toMatchObject({ message: { resources: [], relays: [] } });
  });

  it("PT §4: the legacy list of resolvers counts when there is no newer one", () => {
    const tunnel = {
      ipv4: "100.64.0.2",
      ipv6: "fd00::2",
      upstream_dns: [{ protocol: "ip_port", address: "9.9.9.9:53" }],
    };
    const upstream = (interface_: object) =>
      overWire(clientChannel, "config_changed", { interface: interface_ });
    expect(upstream(tunnel)).toMatchObject({ message: { interface: { upstreamDo53: [ip("9.9.9.9")] } } });
    expect(upstream({ ...tunnel, upstream_do53: [{ ip: "1.1.1.1" }] })).toMatchObject({
      message: { interface: { upstreamDo53: [ip("1.1.1.1")] } },
    });
  });
});

describe("both names of a site", () => {
  const RESOURCE = { type: "cidr", id: RID, name: "Office", address: "10.0.0.0/16", filters: [] };

  it("PT-51: reads `gateway_groups` and `sites`", () => {
    for (const name of ["gateway_groups", "sites"]) {
      const payload = { ...RESOURCE, [name]: [{ id: SITE, name: "Berlin" }] };
      expect(overWire(clientChannel, "resource_created_or_updated", payload)).toMatchObject({
        message: { resource: { sites: [{ id: SITE, name: "Berlin" }] } },
      });
    }
  });

  it("PT-51: reads `gateway_group_id` and `site_id`, and wants one of them", () => {
    const { payload } = clientChannel.toMessageEvent(CLIENT_MESSAGES["flow-created"]);
    const { gateway_group_id, ...rest } = payload as Record<string, unknown>;
    expect(overWire(clientChannel, "flow_created", { ...rest, site_id: gateway_group_id })).toMatchObject({
      message: { siteId: SITE },
    });
    expect(overWire(clientChannel, "flow_created", rest)).toEqual({ kind: "bad-message" });
  });

  it("PT-51: writes the old names only", () => {
    const text = JSON.stringify([
      clientChannel.toMessageEvent(CLIENT_MESSAGES["flow-created"]),
      clientChannel.toMessageEvent(CLIENT_MESSAGES.init),
    ]);
    expect(text).toContain('"gateway_group_id"');
    expect(text).toContain('"gateway_groups"');
    expect(text).not.toMatch(/"site_id"|"sites"/);
  });
});

describe("faulty elements", () => {
  it("PT-6: are skipped and counted, and never spoil their list", () => {
    const good = { type: "cidr", id: RID, name: "Office", address: "10.0.0.0/16", filters: [] };
    const resources = [good, 7, { ...good, id: "x" }, { ...good, address: "10.0.0.0/33" }, { type: 1 }, null];
    const relays = [
      { type: "turn" },
      { type: "stun", id: RELAY.id, addr: "1.2.3.4:3478" },
      { type: "new" },
      "x",
    ];
    const result = overWire(clientChannel, "init", {
      interface: { ipv4: "100.64.0.2", ipv6: "fd00::2", upstream_do53: [{ ip: "nine" }] },
      resources,
      relays,
    });
    expect(result).toMatchObject({
      kind: "message",
      skipped: 8,
      message: { resources: [{ rid: RID }], relays: [] },
    });
  });

  it("PT-50: a resource of unknown type is ignored, not counted", () => {
    const payload = { type: "device", id: RID };
    expect(overWire(clientChannel, "resource_created_or_updated", payload)).toEqual({ kind: "ignored" });
    const authorize = gatewayChannel.toMessageEvent(GATEWAY_MESSAGES["authorize-flow"]).payload as object;
    expect(overWire(gatewayChannel, "authorize_flow", { ...authorize, resource: payload })).toEqual({
      kind: "ignored",
    });
  });

  it("PT-61: a faulty authorisation in the gateway's init is skipped, which revokes it", () => {
    const payload = gatewayChannel.toMessageEvent(GATEWAY_MESSAGES.init).payload as {
      authorizations: unknown[];
    };
    payload.authorizations.push(
      { client_id: CID, resource_id: RID },
      { client_id: CID, resource_id: RID, expires_at: null },
    );
    expect(overWire(gatewayChannel, "init", payload)).toMatchObject({
      skipped: 2,
      message: { authorizations: [{ cid: CID }] },
    });
  });

  it("PT §4: takes the first 128 candidates, skips what is no text, and sends 64", () => {
    const many = Array.from({ length: 130 }, (_, i) => (i === 0 ? 7 : `c${i}`));
    const result = overWire(clientChannel, "ice_candidates", { gateway_id: GID, candidates: many });
    expect(result).toMatchObject({ skipped: 1, message: { candidates: many.slice(1, 128) } });
    const sent = clientChannel.toRequestEvent({
      kind: "broadcast-ice-candidates",
      gids: [GID],
      candidates: many.slice(1).map(String),
    });
    expect((sent.payload as { candidates: unknown[] }).candidates).toHaveLength(64);
  });

  it.each([
    ["31 bytes", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg=="],
    ["33 bytes", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"],
    ["no padding", KEY_TEXT.slice(0, -1)],
    ["no base64", "!".repeat(44)],
  ])("PT §4: a key of %s makes the message faulty", (_, text) => {
    const { payload } = clientChannel.toMessageEvent(CLIENT_MESSAGES["flow-created"]);
    expect(overWire(clientChannel, "flow_created", { ...(payload as object), preshared_key: text })).toEqual({
      kind: "bad-message",
    });
  });

  it("PT-56: a reason that we do not know is `unknown`", () => {
    const payload = { resource_id: RID, reason: "moon_phase" };
    expect(overWire(clientChannel, "flow_creation_failed", payload)).toMatchObject({
      message: { reason: "unknown", violatedProperties: [] },
    });
  });
});

describe("filters", () => {
  const resource = (filters: unknown) => ({
    type: "cidr",
    id: RID,
    name: "Office",
    address: "10.0.0.0/16",
    filters,
  });
  const read = (filters: unknown) => overWire(gatewayChannel, "resource_updated", resource(filters));

  it("TN-56: have all ports unless told otherwise", () => {
    expect(read([{ protocol: "tcp" }, { protocol: "udp", port_range_end: 53 }])).toMatchObject({
      message: {
        resource: {
          filters: [
            { protocol: "tcp", firstPort: 0, lastPort: 65535 },
            { protocol: "udp", firstPort: 0, lastPort: 53 },
          ],
        },
      },
    });
  });

  it.each([
    ["an unknown protocol", { protocol: "sctp" }],
    ["a port above 65535", { protocol: "tcp", port_range_start: 65536 }],
    ["a port that is text", { protocol: "tcp", port_range_start: "22" }],
    ["null", null],
  ])("TN-56: one with %s stays in the list, which an empty one would open", (_, filter) => {
    expect(read([filter])).toMatchObject({ message: { resource: { filters: [{ protocol: "unknown" }] } } });
  });

  it.each([
    ["null", null],
    ["absent", undefined],
    ["an object", {}],
  ])("TN-56: a gateway refuses a list that is %s instead of reading it as everything", (_, filters) =>
    expect(read(filters)).toEqual({ kind: "bad-message" }),
  );
});

describe("times", () => {
  const read = (expires_at: unknown) =>
    overWire(gatewayChannel, "access_authorization_expiry_updated", {
      client_id: CID,
      resource_id: RID,
      expires_at,
    });

  it.each([
    [0, 0],
    [253402300799, 253402300799_000],
    [253402300800, 253402300799_000],
    [Number.MAX_SAFE_INTEGER, 253402300799_000],
  ])("PT-52: %d seconds are %d milliseconds", (seconds, ms) => {
    expect(read(seconds)).toMatchObject({ message: { expiresAt: ms } });
  });

  it.each([-1, 1.5, "1764000000", null])("PT §4: %j is no time", (value) => {
    expect(read(value)).toEqual({ kind: "bad-message" });
  });

  it("PT §4.2: a flow without expiry never ends", () => {
    const { payload } = gatewayChannel.toMessageEvent(GATEWAY_MESSAGES["authorize-flow"]);
    const result = overWire(gatewayChannel, "authorize_flow", { ...(payload as object), expires_at: null });
    expect(result.kind === "message" && "expiresAt" in result.message).toBe(false);
  });
});

/** A copy of `value` with `junk` put somewhere inside, as far as the path leads. */
function replaced(value: unknown, path: readonly string[], junk: unknown): unknown {
  if (typeof value !== "object" || value === null) return junk;
  const names = Object.keys(value);
  const [step = "", ...rest] = path;
  const name = names[step.length % Math.max(1, names.length)];
  if (name === undefined || path.length === 0) return junk;
  const copy = Array.isArray(value) ? [...value] : { ...value };
  Reflect.set(copy, name, replaced(Reflect.get(value, name), rest, junk));
  return copy;
}
