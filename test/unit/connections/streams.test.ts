/** Relays by stream, as the machine asks for them (RL-207 to RL-210). The test is the shell. */
import { describe, expect, it } from "vitest";
import { after, ip } from "../../../src/base/index.ts";
import type { ConnectionsOptions, StreamNews, StreamPlace } from "../../../src/connections/index.ts";
import { createLoneConnections, type LoneConnections, REMOTE_TEXT, requestFor } from "./lone-connections.ts";
import { listRelays, MAPPED, type PlayedRelay, playRelay } from "./played-relay.ts";

const REQUEST = requestFor("peer-1");
const BRIDGE = { address: ip("127.128.0.1"), port: 3478 };
const TLS: StreamPlace = {
  transport: "tls",
  addresses: [{ address: ip("203.0.113.1"), port: 443 }],
  name: "relay.example",
};
const TCP: StreamPlace = { transport: "tcp", addresses: [{ address: ip("203.0.113.1"), port: 80 }] };

interface World {
  readonly lone: LoneConnections;
  /** By UDP. */
  readonly relay: PlayedRelay;
  /** The same relay behind the bridge. */
  readonly bridged: PlayedRelay;
}

function silent(
  places: readonly StreamPlace[] = [TLS],
  streams: NonNullable<ConnectionsOptions["streams"]> | "none" = "tls",
): World {
  const lone = createLoneConnections("client", streams === "none" ? {} : { streams });
  const relay = playRelay(lone, 1, { streams: places });
  listRelays(lone, relay);
  lone.apply((connections, now) => connections.upsertConnection(now, REQUEST));
  return { lone, relay, bridged: playRelay(lone, 2, { v4: BRIDGE }) };
}

function wishes({ connections }: LoneConnections): readonly string[] {
  const all: string[] = [];
  for (let wish = connections.pollStream(); wish !== undefined; wish = connections.pollStream()) {
    all.push(wish.kind === "open" ? `open ${wish.relay} ${wish.place.transport}` : `close ${wish.relay}`);
  }
  return all;
}

function wait(lone: LoneConnections, ms: number): void {
  lone.runTo(after(lone.now, ms));
}

/** Waits while the relay behind the bridge answers keep-alives. */
function live({ lone, bridged }: World, ms: number): void {
  const end = after(lone.now, ms);
  while (lone.now < end) {
    const known = bridged.requests("binding").length;
    wait(lone, Math.min(1_000, end - lone.now));
    if (bridged.requests("binding").length > known) {
      bridged.succeed(bridged.last("binding"), { mappedAddress: MAPPED });
    }
  }
}

function tell(lone: LoneConnections, news: StreamNews): void {
  lone.apply((connections, now) => connections.handleStream(now, news));
}

const opened = (relay = "relay-1"): StreamNews => ({ kind: "opened", relay, socket: BRIDGE });
const ended = (reason: string, relay = "relay-1"): StreamNews => ({ kind: "ended", relay, reason });

/** UDP is silent, and the stream is in use. */
function streaming(): World {
  const world = silent();
  wait(world.lone, 3_000);
  wishes(world.lone);
  tell(world.lone, opened());
  world.bridged.activate();
  return world;
}

function relayOf({ connections }: LoneConnections): string | undefined {
  const [connection] = connections.stats().connections;
  const used = connections.stats().relays.find(({ id }) => id === connection?.relay);
  return used && `${used.id} ${connections.stats().relays.map(({ transport }) => transport)}`;
}

function candidates(lone: LoneConnections): readonly string[] {
  return lone.events.flatMap((event) => (event.kind === "candidate-added" ? [event.candidate] : []));
}

function lines(lone: LoneConnections, line: string): number {
  return lone.lines.filter((one) => one.line === line).length;
}

describe("when a stream is tried (RL-208)", () => {
  it("RL-208: after 3 s without an answer by UDP, not before", () => {
    const { lone } = silent();
    wait(lone, 2_999);
    expect(wishes(lone)).toEqual([]);
    wait(lone, 1);
    expect(wishes(lone)).toEqual(["open relay-1 tls"]);
  });

  it("RL-208: not when a relay has answered by UDP, be it late", () => {
    const early = silent();
    early.relay.activate();
    wait(early.lone, 10_000);
    expect(wishes(early.lone)).toEqual([]);
    const late = silent();
    wait(late.lone, 3_500);
    late.relay.activate();
    expect(wishes(late.lone)).toEqual(["open relay-1 tls", "close relay-1"]);
  });

  it("RL-208: two at most, and the one that opens first is used", () => {
    const lone = createLoneConnections("client", { streams: "tls" });
    listRelays(lone, ...[1, 2, 3].map((n) => playRelay(lone, n, { streams: [TLS] })));
    wait(lone, 3_000);
    expect(wishes(lone)).toEqual(["open relay-1 tls", "open relay-2 tls"]);
    tell(lone, opened("relay-2"));
    expect(wishes(lone)).toEqual(["close relay-1"]);
    tell(lone, opened("relay-1"));
    expect(wishes(lone)).toEqual(["close relay-1"]);
  });

  it.each([
    ["TLS where both are allowed", [TLS, TCP], "tls-and-tcp", ["open relay-1 tls"]],
    ["TCP where it is all there is", [TCP], "tls-and-tcp", ["open relay-1 tcp"]],
    ["no TCP beside a portal with TLS", [TCP], "tls", []],
    ["nothing where nobody can open streams", [TLS, TCP], "none", []],
    ["nothing where the relay has none", [], "tls-and-tcp", []],
  ] as const)("RL-207: %s", (_, places, streams, expected) => {
    const { lone } = silent(places, streams);
    wait(lone, 30_000);
    expect(wishes(lone)).toEqual(expected);
  });
});

describe("UDP that stops to pass (RL-208)", () => {
  /** A direct path, and a relay that has answered. */
  function connected(): World {
    const world = silent();
    const { lone, relay } = world;
    relay.activate();
    lone.apply((connections, now) => connections.addRemoteCandidates(now, REQUEST.id, [REMOTE_TEXT]));
    lone.answer(REQUEST);
    relay.confirm();
    expect(lone.connections.stats().connections[0]?.path?.route).toBe("direct");
    return world;
  }

  /** Lets a direct path die until the relay is asked. */
  function untilAsked({ lone, relay }: World, before: number): void {
    for (let waited = 0; relay.requests("binding").length === before; waited += 100) {
      if (waited > 15_000) throw new Error("the relay was not asked");
      wait(lone, 100);
    }
  }

  it("RL-208: a relay that leaves a keep-alive unanswered for 3 s is silent, before it is given up", () => {
    const { lone, relay } = silent();
    relay.activate();
    wait(lone, 27_999);
    expect(wishes(lone)).toEqual([]);
    wait(lone, 1);
    expect(wishes(lone)).toEqual(["open relay-1 tls"]);
    relay.succeed(relay.last("binding"), { mappedAddress: MAPPED });
    expect(wishes(lone)).toEqual(["close relay-1"]);
  });

  it("RL-208: a path in doubt has the relay asked at once, and a stream opened 3 s later", () => {
    const world = connected();
    const { lone, relay } = world;
    const before = relay.requests("binding").length;
    untilAsked(world, before);
    const [doubt] = lone.connections.stats().connections;
    expect(doubt?.path?.route).toBe("direct");
    wait(lone, 2_899);
    expect(wishes(lone)).toEqual([]);
    wait(lone, 101);
    expect(wishes(lone)).toEqual(["open relay-1 tls"]);
    tell(lone, opened());
    expect(relayOf(lone)).toBe("relay-1 udp,tls");
    expect(candidates(lone).at(-1)).not.toContain("203.0.113.2");
    playRelay(lone, 2, { v4: BRIDGE }).activate();
    expect(candidates(lone).at(-1)).toContain("203.0.113.2 50002 typ relay");
  });

  it("RL-208: if the relay answers, it is the peer, and nothing is opened", () => {
    const world = connected();
    const { lone, relay } = world;
    const before = relay.requests("binding").length;
    untilAsked(world, before);
    relay.succeed(relay.last("binding"), { mappedAddress: MAPPED });
    wait(lone, 5_000);
    expect(wishes(lone)).toEqual([]);
  });
});

describe("a relay by stream (RL-210)", () => {
  it("RL-210, SN-18: lends its addresses, with less priority, and shows none of ours", () => {
    const { lone } = streaming();
    const [relayed, ...others] = candidates(lone).filter((text) => !text.includes("typ host"));
    expect(others).toEqual([]);
    expect(relayed).toMatch(/ 37236479 203\.0\.113\.2 50002 typ relay /);
    expect(candidates(lone).some((text) => text.includes("127."))).toBe(false);
    expect(relayOf(lone)).toBe("relay-1 udp,tls");
  });

  it("RL-208: UDP is asked again every 20 s, without a line in the log", () => {
    const world = streaming();
    const { lone, relay } = world;
    live(world, 10_000);
    const before = relay.requests("binding").length;
    const added = lines(lone, "info relay added");
    expect(lone.connections.stats().relays.map(({ transport }) => transport)).toEqual(["tls"]);
    live(world, 9_999);
    expect(relay.requests("binding")).toHaveLength(before);
    live(world, 1);
    expect(relay.requests("binding")).toHaveLength(before + 1);
    live(world, 20_000);
    expect(relay.requests("binding")).toHaveLength(before + 5);
    expect(wishes(lone)).toEqual([]);
    expect(lines(lone, "info relay added")).toBe(added);
  });

  it("RL-208: once a relay has an allocation by UDP, connections move, and the stream goes 10 s later", () => {
    const world = streaming();
    const { lone, relay } = world;
    live(world, 60_000);
    lone.apply((connections, now) => connections.upsertConnection(now, REQUEST));
    relay.succeed(relay.last("binding"), { mappedAddress: { address: ip("192.0.2.1"), port: 52_625 } });
    expect(relayOf(lone)).toBe("relay-1 tls,udp");
    const before = candidates(lone).length;
    relay.succeed(relay.last("allocate"), { relayedAddresses: [relay.relayed], lifetimeSeconds: 3_600 });
    expect(candidates(lone).slice(before)).toEqual([
      expect.stringMatching(/ 37747967 203\.0\.113\.1 50001 typ relay /),
    ]);
    wait(lone, 9_999);
    expect(wishes(lone)).toEqual([]);
    wait(lone, 1);
    expect(wishes(lone)).toEqual(["close relay-1"]);
    expect(lone.connections.stats().relays.map(({ transport }) => transport)).toEqual(["udp"]);
  });

  it("RL-208: a network change gives UDP its chance first", () => {
    const { lone, relay } = streaming();
    wait(lone, 20_000);
    const before = relay.requests("binding").length;
    lone.apply((connections, now) => connections.reset(now));
    expect(wishes(lone)).toEqual(["close relay-1"]);
    expect(relay.requests("binding").length).toBe(before + 1);
    wait(lone, 2_999);
    expect(wishes(lone)).toEqual([]);
    wait(lone, 1);
    expect(wishes(lone)).toEqual(["open relay-1 tls"]);
  });

  it("RL-210: other credentials of the portal are its credentials, and a relay that goes takes it along", () => {
    const { lone, relay, bridged } = streaming();
    const refreshes = bridged.requests("refresh").length;
    const entry = { ...relay.entry, password: "another" };
    lone.apply((connections, now) => connections.updateRelays(now, { remove: [], add: [entry] }));
    expect(bridged.requests("refresh")).toHaveLength(refreshes + 1);
    lone.apply((connections, now) => connections.updateRelays(now, { remove: ["relay-1"], add: [] }));
    expect(wishes(lone)).toEqual(["close relay-1"]);
    expect(lone.connections.stats().relays).toEqual([]);
    wait(lone, 120_000);
    expect(wishes(lone)).toEqual([]);
  });

  it("RL-113: at the end the relay is told, and the stream is closed", () => {
    const { lone, bridged } = streaming();
    lone.apply((connections, now) => connections.closeAll(now, new Uint8Array(20)));
    wait(lone, 200);
    expect(wishes(lone)).toEqual(["close relay-1"]);
    expect(bridged.last("refresh").fields.lifetimeSeconds).toBe(0);
  });
});

describe("a stream that fails (RL-209)", () => {
  it("RL-209: is tried again after 1 s, doubling to 60 s, with one line and one warning", () => {
    const { lone } = silent();
    wait(lone, 3_000);
    expect(wishes(lone)).toEqual(["open relay-1 tls"]);
    for (const seconds of [1, 2, 4, 8, 16, 32, 60, 60]) {
      tell(lone, ended("ECONNREFUSED"));
      wait(lone, 1_000 * seconds - 1);
      expect(wishes(lone)).toEqual([]);
      wait(lone, 1);
      expect(wishes(lone)).toEqual(["open relay-1 tls"]);
    }
    expect(lines(lone, "info a stream to a relay failed")).toBe(1);
    expect(lines(lone, "debug a stream to a relay failed")).toBe(7);
    const warnings = lone.lines.filter(({ line }) => line.startsWith("warn no relay is reached"));
    expect(warnings.map(({ fields }) => fields)).toMatchObject([
      { udp: "no answer", stream: "ECONNREFUSED" },
    ]);
  });

  it("RL-209: while one of two is still being tried, nothing is repeated", () => {
    const lone = createLoneConnections("client", { streams: "tls" });
    listRelays(lone, ...[1, 2].map((n) => playRelay(lone, n, { streams: [TLS] })));
    wait(lone, 3_000);
    wishes(lone);
    tell(lone, ended("ECONNREFUSED", "relay-1"));
    wait(lone, 5_000);
    expect(wishes(lone)).toEqual([]);
    expect(lines(lone, "warn no relay is reached, neither by UDP nor by stream")).toBe(0);
    tell(lone, ended("ETIMEDOUT", "relay-2"));
    expect(lines(lone, "warn no relay is reached, neither by UDP nor by stream")).toBe(1);
  });

  it("RL-209: one that ends after it has worked is opened again a second later, without a warning", () => {
    const { lone } = streaming();
    wait(lone, 30_000);
    tell(lone, ended("closed by the other side"));
    expect(lone.connections.stats().relays).toEqual([]);
    expect(lone.events.filter(({ kind }) => kind === "relays-exhausted")).toHaveLength(1);
    expect(wishes(lone)).toEqual([]);
    wait(lone, 1_000);
    expect(wishes(lone)).toEqual(["open relay-1 tls"]);
    expect(lines(lone, "warn no relay is reached, neither by UDP nor by stream")).toBe(0);
  });

  it("RL-209: one on which the relay does not answer counts as failed", () => {
    const { lone } = silent();
    wait(lone, 3_000);
    wishes(lone);
    tell(lone, opened());
    wait(lone, 8_125);
    expect(wishes(lone)).toEqual(["close relay-1"]);
    wait(lone, 1_000);
    expect(wishes(lone)).toEqual(["open relay-1 tls"]);
  });
});
