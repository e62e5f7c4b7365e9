import { describe, expect, it } from "vitest";
import { instant, ip, SILENT, toBase64, unixMs } from "../../../src/base/index.ts";
import fc from "../../lib/property.ts";
import { createServerSnapshot } from "./server-snapshot.ts";
import {
  createFlow,
  createWorld,
  type Identity,
  OFFICE,
  ridOf,
  TOKENS,
  WALL_START,
  type World,
} from "./server-world.ts";

const HEARTBEAT = JSON.stringify({ topic: "phoenix", event: "heartbeat", payload: {}, ref: 1 });

function refusal(role: "client" | "gateway" | "relay", identity: Identity, world: World = createWorld()) {
  const verdict = world.upgrade(role, identity);
  return verdict.ok ? "accepted" : verdict.refusal;
}

describe("the upgrade", () => {
  it("PT-70: refuses what it does not know, in its order", () => {
    const server = createWorld();
    const path = (text: string) => {
      let verdict: unknown;
      server.run((now) => {
        verdict = server.server.handleUpgrade(now, {
          path: text,
          query: new URLSearchParams(),
          headers: {},
          remote: ip("192.0.2.1"),
        });
      });
      return verdict;
    };
    for (const text of ["/", "/client", "/client/websocket/", "/__proto__", "/constructor"]) {
      expect(path(text)).toEqual({ ok: false, refusal: { status: 404 } });
    }
    expect(path("/client/websocket")).toMatchObject({ refusal: { status: 401, code: "missing_token" } });
  });

  it.each<[string, "client" | "gateway" | "relay", Identity, object | "accepted"]>([
    ["a client", "client", {}, "accepted"],
    ["a gateway", "gateway", {}, "accepted"],
    ["a relay", "relay", {}, "accepted"],
    ["vsn 1.0.0", "client", { query: { vsn: "1.0.0" } }, "accepted"],
    ["vsn 2.0.0", "client", { query: { vsn: "2.0.0" } }, { status: 403, code: "unsupported_vsn" }],
    ["vsn 10", "client", { query: { vsn: "10" } }, { status: 403, code: "unsupported_vsn" }],
    ["its own origin", "client", { headers: { origin: "https://portal.example" } }, "accepted"],
    [
      "another origin",
      "client",
      { headers: { origin: "https://evil.example" } },
      { status: 403, code: "origin" },
    ],
    ["an origin that is no URL", "client", { headers: { origin: "null" } }, { status: 403, code: "origin" }],
    [
      "no token",
      "client",
      { headers: { "x-authorization": undefined } },
      { status: 401, code: "missing_token" },
    ],
    [
      "no Bearer",
      "client",
      { headers: { "x-authorization": TOKENS.client } },
      { status: 401, code: "missing_token" },
    ],
    [
      "the token of old peers",
      "client",
      { headers: { "x-authorization": undefined }, query: { token: TOKENS.client } },
      "accepted",
    ],
    ["an unknown token", "client", { token: TOKENS.bob }, { status: 401, code: "invalid_token" }],
    ["junk", "client", { token: "x" }, { status: 401, code: "invalid_token" }],
    ["a gateway's token", "client", { token: TOKENS.gateway }, { status: 401, code: "invalid_token" }],
    ["a client's token", "gateway", { token: TOKENS.client }, { status: 401, code: "invalid_token" }],
    [
      "no version",
      "client",
      { headers: { "user-agent": "curl/8" } },
      { status: 400, code: "invalid_connect_params", detail: "user-agent" },
    ],
    ["no name", "client", { query: { name: "" } }, { status: 400, detail: "name" }],
    [
      "a name of 256 characters",
      "client",
      { query: { name: "n".repeat(256) } },
      { status: 400, detail: "name" },
    ],
    ["a name of 255 characters", "client", { query: { name: "n".repeat(255) } }, "accepted"],
    ["no external id", "client", { query: { external_id: "" } }, { status: 400, detail: "external_id" }],
    [
      "a key of 43 characters",
      "client",
      { query: { public_key: "A".repeat(43) } },
      { status: 400, detail: "public_key" },
    ],
    [
      "a key that is no base64",
      "client",
      { query: { public_key: "!".repeat(44) } },
      { status: 400, detail: "public_key" },
    ],
  ])("PT-70: %s", (_, role, identity, expected) => {
    const result = refusal(role, identity);
    if (expected === "accepted") expect(result).toBe("accepted");
    else expect(result).toMatchObject(expected);
  });

  it("PT-72: one device may try five times at once, then once a second", () => {
    const world = createWorld();
    const tries = (n: number) =>
      Array.from({ length: n }, () => world.upgrade("client").ok).filter(Boolean).length;
    expect(tries(6)).toBe(5);
    expect(refusal("client", {}, world)).toMatchObject({ status: 503, code: "rate_limit", retryAfterS: 1 });
    // Another device behind the same address is not held up.
    expect(refusal("client", { id: "other" }, world)).toBe("accepted");
    world.pass(999);
    expect(tries(1)).toBe(0);
    world.pass(1);
    expect(tries(2)).toBe(1);
  });

  it("PT-72: 20 wrong tokens from one address in a minute close the door for a minute", () => {
    const world = createWorld();
    const wrong = (n: number) => refusal("client", { token: `wrong ${n}` }, world);
    for (let n = 0; n < 20; n++) expect(wrong(n)).toMatchObject({ status: 401 });
    expect(wrong(20)).toMatchObject({ status: 429, code: "too_many_failures", retryAfterS: 60 });
    expect(refusal("client", {}, world)).toMatchObject({ status: 429 });
    expect(refusal("client", { remote: ip("198.51.100.8") }, world)).toBe("accepted");
    world.pass(59_999);
    expect(refusal("client", {}, world)).toMatchObject({ status: 429, retryAfterS: 1 });
    world.pass(1);
    expect(refusal("client", {}, world)).toBe("accepted");
  });

  it("PT-72: one IPv6 host counts by its /64", () => {
    const world = createWorld();
    for (let n = 0; n < 20; n++) {
      refusal("client", { token: `wrong ${n}`, remote: ip(`2001:db8::${n + 1}`) }, world);
    }
    expect(refusal("client", { remote: ip("2001:db8::ffff") }, world)).toMatchObject({ status: 429 });
    expect(refusal("client", { remote: ip("2001:db8:0:1::1") }, world)).toBe("accepted");
  });

  it("PT-72: 20 new devices a second per token", () => {
    const world = createWorld();
    const add = (n: number) => refusal("client", { id: `device-${n}` }, world);
    for (let n = 0; n < 20; n++) expect(add(n)).toBe("accepted");
    expect(add(20)).toMatchObject({ status: 503, code: "rate_limit" });
    expect(refusal("client", { id: "device-0" }, world)).toBe("accepted");
    world.pass(50);
    expect(add(20)).toBe("accepted");
  });
});

describe("identity", () => {
  it("PT-71, PT-103: a device keeps id and addresses across connections, restarts and keys", () => {
    const world = createWorld();
    const first = world.client().last("init").interface;
    expect(first).toEqual({
      upstreamDo53: [],
      upstreamDoh: [],
      ipv4: ip("100.64.0.1"),
      ipv6: ip("fd00:2021:1111::1"),
    });
    expect(world.client({ id: "other" }).last("init").interface.ipv4).toEqual(ip("100.64.0.2"));
    expect(world.client({ key: 9 }).last("init").interface).toEqual(first);
    const later = createWorld(OFFICE, world.stored);
    expect(later.client({ id: "third" }).last("init").interface.ipv4).toEqual(ip("100.64.0.3"));
    expect(later.client().last("init").interface).toEqual(first);
  });

  it("PT-71: the same external id of another actor is another device", () => {
    const text = `${OFFICE}actors: [{ name: Alice, type: user, tokens: [{ name: a, env: ALICE }] }]\n`;
    const world = createWorld(text);
    world.client();
    expect(world.client({ token: TOKENS.alice }).last("init").interface.ipv4).toEqual(ip("100.64.0.2"));
    expect(world.stored.devices).toHaveLength(2);
  });

  it("PT-115: a new device sees its init only when it is on disk", () => {
    const world = createWorld();
    world.hasDisk = false;
    const client = world.client();
    expect(client.log).toEqual(["reply ok"]);
    world.hasDisk = true;
    world.flush();
    expect(client.log).toEqual(["reply ok", "init"]);
  });

  it("PT-115: what comes between join and init is answered after it", () => {
    const known = createWorld();
    const rid = ridOf(known.client());
    const world = createWorld();
    world.hasDisk = false;
    const client = world.client();
    client.send(createFlow(rid));
    client.raw(HEARTBEAT);
    expect(client.log).toEqual(["reply ok", "reply ok"]);
    world.hasDisk = true;
    world.flush();
    expect(client.log.slice(2)).toEqual(["init", "flow_creation_failed"]);
  });

  it("PT-115: last-seen data reaches the disk a second later", () => {
    const world = createWorld();
    world.gateway();
    world.gateway({ query: { name: "renamed" } });
    expect(world.stored.gateways[0]?.name).toBe("gateway");
    world.pass(1_000);
    expect(world.stored.gateways[0]?.name).toBe("renamed");
  });

  it("PT-71: a client keeps the name under which it was first seen", () => {
    const world = createWorld();
    world.client();
    world.client({ query: { name: "renamed" }, key: 9 });
    world.pass(1_000);
    expect(world.stored.devices[0]).toMatchObject({
      name: "client",
      publicKey: toBase64(new Uint8Array(32).fill(9)),
    });
  });

  it("PT-74: a newer socket of the same peer wins, whatever the state of the older", () => {
    const world = createWorld();
    const silent = world.client({ joins: false });
    const joined = world.client();
    expect(silent.closeCode).toBe(4000);
    world.client();
    expect(joined.closeCode).toBe(4000);
    // The end of the older socket does not end the newer one's presence.
    joined.close();
    expect(world.server.status(world.now).clients).toHaveLength(1);
  });

  it("PT-74: more than five sockets of one peer in a minute are an audit event, counted and in the log", () => {
    const lines: unknown[] = [];
    const world = createWorld(
      undefined,
      undefined,
      {},
      {
        ...SILENT,
        warn: (message, fields) => lines.push([message, fields]),
      },
    );
    for (let i = 0; i < 6; i++) {
      world.client();
      world.pass(1_000);
    }
    expect([world.server.counters.duplicateIds, lines]).toEqual([0, []]);
    world.client();
    expect(world.server.counters.duplicateIds).toBe(1);
    expect(lines).toEqual([
      ["two processes seem to use one identity", expect.objectContaining({ audit: "duplicate_id" })],
    ]);
  });

  it("PT-192: joins are counted by kind and by what became of them", () => {
    const world = createWorld();
    world.gateway();
    world.client({ joins: false });
    world.pass(15_000);
    const { client, gateway } = world.server.meters.joins;
    expect(client).toEqual({ ok: 0, invalid: 0, too_many: 0, late: 1 });
    expect(gateway).toEqual({ ok: 1, invalid: 0, too_many: 0, late: 0 });
    expect(world.server.pushes.get("init")).toBe(1);
  });
});

describe("presence", () => {
  it.each([
    ["gateway", 10_000, 25_000],
    ["client", 30_000, 90_000],
  ] as const)(
    "PT-75: a %s is pinged every %i ms and ended after %i ms of silence",
    (role, pingMs, silenceMs) => {
      const world = createWorld();
      const wire = role === "client" ? world.client() : world.gateway();
      wire.answersPings = false;
      world.pass(pingMs - 1);
      expect(wire.pings).toBe(0);
      world.pass(1);
      expect(wire.pings).toBe(1);
      world.pass(silenceMs - pingMs - 1);
      expect(wire.closeCode).toBeUndefined();
      world.pass(1);
      expect(wire.closeCode).toBe(1000);
    },
  );

  it.each([
    [true, undefined],
    [false, 1000],
  ])("PT-75: a gateway that answers pings (%s) is closed with %s", (answersPings, closeCode) => {
    const world = createWorld();
    const wire = world.gateway();
    wire.answersPings = answersPings;
    world.pass(600_000);
    expect(wire.closeCode).toBe(closeCode);
  });

  it("PT-75: heartbeats count as life, too", () => {
    const world = createWorld();
    const wire = world.gateway();
    wire.answersPings = false;
    for (let i = 0; i < 6; i++) {
      world.pass(20_000);
      wire.raw(HEARTBEAT);
    }
    expect(wire.closeCode).toBeUndefined();
  });

  it("a socket that does not join within 15 s is closed", () => {
    const world = createWorld();
    const wire = world.client({ joins: false });
    world.pass(14_999);
    expect(wire.closeCode).toBeUndefined();
    world.pass(1);
    expect(wire.closeCode).toBe(1000);
  });

  it("PT-75: a gateway is present from its join on, until its socket ends", () => {
    const world = createWorld();
    const client = world.client();
    const rid = ridOf(client);
    const gateway = world.gateway({ joins: false });
    client.send(createFlow(rid));
    expect(client.last("flow-creation-failed").reason).toBe("offline");
    gateway.frame("phx_join", {});
    client.send(createFlow(rid));
    expect(gateway.log).toContain("authorize_flow");
  });

  it("a gateway that leaves its channel is gone", () => {
    const world = createWorld();
    const gateway = world.gateway();
    gateway.frame("phx_leave", {});
    expect(gateway.log.at(-1)).toBe("reply ok");
    expect(gateway.closeCode).toBe(1000);
    expect(world.server.status(world.now).gateways).toEqual([]);
  });
});

describe("tokens that end", () => {
  const text = (expires: string) =>
    `${OFFICE}actors: [{ name: Alice, type: user, tokens: [{ name: a, env: ALICE, expires_at: ${expires} }] }]
groups: [{ name: dev, members: [Alice] }]
`;

  it("PT-93: at the exact expiry the client is told, closed, and gets 401", () => {
    const world = createWorld(text("2026-01-27T12:30:00Z"));
    const client = world.client({ token: TOKENS.alice });
    world.pass(30 * 60_000 - 1);
    expect(client.closeCode).toBeUndefined();
    world.pass(1);
    expect(client.log.at(-1)).toBe("disconnect");
    expect(client.frames.at(-1)?.payload).toEqual({ reason: "token_expired" });
    expect(client.closeCode).toBe(1000);
    expect(refusal("client", { token: TOKENS.alice }, world)).toMatchObject({
      status: 401,
      code: "invalid_token",
    });
  });

  it("PT-83: an authorisation ends with the token", () => {
    const world = createWorld(text("2026-01-27T12:30:00Z"));
    const gateway = world.gateway();
    const client = world.client({ token: TOKENS.alice });
    client.send(createFlow(ridOf(client)));
    expect(gateway.last("authorize-flow").expiresAt).toBe(WALL_START + 30 * 60_000);
    gateway.answer();
    world.pass(30 * 60_000);
    world.pass(60_000);
    expect(world.stored.authorizations).toEqual([]);
    expect(world.gateway().last("init").authorizations).toEqual([]);
  });

  it("PT-93: follows a wall clock that is set", () => {
    const world = createWorld(text("2026-01-27T12:30:00Z"));
    const client = world.client({ token: TOKENS.alice });
    world.run((now) => world.server.handleClock(now, unixMs(WALL_START + 30 * 60_000 - 5)));
    world.pass(4);
    expect(client.closeCode).toBeUndefined();
    world.pass(1);
    expect(client.closeCode).toBe(1000);
  });
});

describe("frames", () => {
  it("PT-66: an unknown event gets the error `unknown_message`", () => {
    const world = createWorld();
    const client = world.client();
    for (const event of ["prepare_connection", "constructor", "__proto__", "flow_authorized"]) {
      client.frame(event, {});
      expect(client.log.at(-1)).toBe("reply unknown_message");
    }
    expect(world.server.counters.unknownEvents).toBe(4);
  });

  it("PT-5: messages before the join and on other topics get `unmatched topic`", () => {
    const world = createWorld();
    const client = world.client({ joins: false });
    client.frame("create_flow", {});
    client.frame("phx_join", {}, "gateway");
    client.frame("x", {}, "phoenix");
    expect(client.log).toEqual(Array.from({ length: 3 }, () => "reply unmatched topic"));
    client.frame("phx_join", {});
    client.frame("authorize_flow", {}, "gateway");
    expect(client.log.slice(3)).toEqual(["reply ok", "init", "reply unmatched topic"]);
  });

  it.each([1, "1", 1e15, "x".repeat(1000)])("PT-2: echoes the reference %j as it is", (ref) => {
    const client = createWorld().client();
    client.raw(JSON.stringify({ topic: "phoenix", event: "heartbeat", payload: {}, ref }));
    expect(client.frames.at(-1)).toMatchObject({ event: "phx_reply", ref });
  });

  it("PT-53: a second join gets its init again", () => {
    const client = createWorld().client();
    client.frame("phx_join", {});
    expect(client.log).toEqual(["reply ok", "init", "reply ok", "init"]);
  });

  it("PT-9: takes a join with null", () => {
    const client = createWorld().client({ joins: false });
    client.frame("phx_join", null);
    expect(client.log).toEqual(["reply ok", "init"]);
  });

  it("PT-65: a relay that joins is registered", () => {
    const world = createWorld();
    const verdict = world.upgrade("relay");
    expect(verdict.ok).toBe(true);
    const texts: string[] = [];
    const socket = verdict.ok ? verdict.socket : 0;
    const join = { topic: "relay", event: "phx_join", payload: { stamp_secret: "00".repeat(32) }, ref: 0 };
    world.server.handleText(world.now, socket, JSON.stringify(join));
    for (let next = world.server.pollTransmit(); next; next = world.server.pollTransmit()) {
      if (next.kind === "text") texts.push(JSON.parse(next.text).event);
    }
    expect(texts).toEqual(["phx_reply", "init"]);
  });

  it("100 faulty frames are borne, the next ends the socket", () => {
    const world = createWorld();
    const client = world.client();
    const faults = ["{", "[]", `${"[".repeat(20_000)}`, '{"topic":1}', "\u0000"];
    for (let i = 0; i < 99; i++) client.raw(faults[i % faults.length] ?? "");
    client.frame("create_flow", { resource_id: 7 });
    expect(client.closeCode).toBeUndefined();
    world.run((now) => world.server.handleBinary(now, client.socket));
    expect(client.closeCode).toBe(1008);
    expect(world.server.counters.badFrames).toBe(101);
  });

  it("frames of sockets that are gone change nothing", () => {
    const world = createWorld();
    const client = world.client();
    client.close();
    client.raw(HEARTBEAT);
    client.close();
    expect(client.log).toEqual(["reply ok", "init"]);
  });
});

describe("the poll law", () => {
  const step = fc.tuple(fc.nat(10), fc.nat(40_000), fc.nat(3));

  it("style §7: after a tick the next wake lies ahead, and an early tick changes nothing", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const subject = createServerSnapshot();
        const { world } = subject;
        for (const [input, ms, n] of steps) {
          world.now = instant(world.now + ms);
          world.run((now) => world.server.handleTimeout(now));
          const wake = world.server.pollTimeout();
          expect(wake).toBeGreaterThan(world.now);
          const before = subject.trace();
          world.run((now) => world.server.handleTimeout(now));
          expect(subject.trace()).toEqual(before);
          expect(world.server.pollTimeout()).toBe(wake);
          subject.inputs[input]?.(n);
          subject.check();
        }
      }),
      { numRuns: 100 },
    );
  });
});
