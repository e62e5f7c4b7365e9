/** Load and cookies (section 6), at the device's face and at the guard's. */
import { describe, expect, it } from "vitest";
import {
  createSeededRandom,
  type Instant,
  instant,
  ip,
  type SocketAddress,
} from "../../../src/base/index.ts";
import { SOURCE_BUCKETS_MAX } from "../../../src/wireguard/constants.ts";
import { createLoadGuard, openCookieReply } from "../../../src/wireguard/cookie.ts";
import { type Initiation, parseMessage } from "../../../src/wireguard/messages.ts";
import {
  createInitiation,
  createOwnIdentity,
  createRemoteIdentity,
  sealMacs,
} from "../../../src/wireguard/noise.ts";
import { stampOf } from "../../../src/wireguard/tai64n.ts";
import {
  addEnd,
  addPeer,
  advance,
  createWorld,
  crypto,
  type End,
  kindsFrom,
  send,
  type World,
} from "./wire.ts";

const SOURCE: SocketAddress = { address: ip("192.0.2.1"), port: 1000 };

/** A server with `limit` messages per window and a client that calls it. */
function loaded(limit: number) {
  const world = createWorld();
  const client = addEnd(world, { name: "client", address: "192.0.2.1" });
  const server = addEnd(world, { name: "server", address: "192.0.2.2", handshakeLimit: limit });
  const ba = addPeer(world, server, client);
  const ab = addPeer(world, client, server);
  return { world, client, server, ab, ba };
}

/** Initiations with a valid mac1 from someone the server does not know. */
function flood(world: World, server: End, count: number, source: SocketAddress | null = SOURCE): string[] {
  const own = createOwnIdentity(crypto, new Uint8Array(32).fill(99));
  const remote = createRemoteIdentity(crypto, own, server.publicKey);
  if (remote === undefined) throw new Error("zero DH");
  const made = createInitiation(crypto, {
    own,
    remote,
    sender: 1,
    ephemeral: crypto.keyPair(new Uint8Array(32).fill(98)),
    stamp: stampOf(0),
  });
  sealMacs(crypto, made.datagram, remote, undefined);
  return Array.from({ length: count }, () => {
    const outcome = server.device.handleHandshake(world.now, {
      datagram: made.datagram,
      ...(source && { source }),
    });
    return outcome.kind === "dropped" ? outcome.reason : outcome.kind;
  });
}

describe("the device under load", () => {
  it("WG-31, WG-32: message 101 of a window gets a cookie reply, the 100 before it do not", () => {
    const { world, server } = loaded(100);
    const outcomes = flood(world, server, 101);
    expect(outcomes.slice(0, 100)).toEqual(new Array(100).fill("wg_unknown_peer"));
    expect(outcomes[100]).toBe("cookie-asked");
    const transmit = server.device.pollTransmit();
    expect(transmit).toMatchObject({ kind: "cookie-reply", to: SOURCE });
    expect(transmit?.datagram).toHaveLength(64);
    expect(server.device.pollTransmit()).toBeUndefined();
  });

  it("WG-31: recovers 1 s after the window began, without a timer", () => {
    const { world, server } = loaded(3);
    expect(flood(world, server, 4).at(-1)).toBe("cookie-asked");
    const deadline = server.device.pollTimeout();
    world.now = instant(world.now + 999);
    expect(flood(world, server, 1)).toEqual(["cookie-asked"]);
    world.now = instant(world.now + 1);
    expect(flood(world, server, 4)).toEqual([...new Array(3).fill("wg_unknown_peer"), "cookie-asked"]);
    expect(server.device.pollTimeout()).toBe(deadline);
  });

  it("WG-32: without a source address the message is dropped", () => {
    const { world, server } = loaded(0);
    expect(flood(world, server, 1, null)).toEqual(["wg_under_load"]);
    expect(server.device.pollTransmit()).toBeUndefined();
  });

  it("WG-30: an initiation that gets a cookie goes again at once, carries mac2 and passes", () => {
    const { world, client, server } = loaded(0);
    send(world, client, server, "through the load");
    advance(world, 40);
    expect(kindsFrom(world, server, "cookie-reply")).toHaveLength(1);
    expect(kindsFrom(world, client, "initiation")).toHaveLength(2);
    expect(server.received).toEqual(["through the load"]);
  });

  it("WG-30: whoever answers each message with a cookie gets one early initiation in 5 s", () => {
    const { world, client, server } = loaded(0);
    world.loses = (line, bytes) => {
      if (line.kind === "initiation") bytes.fill(0, 132);
      return false;
    };
    send(world, client, server, "x");
    advance(world, 4_990);
    expect(kindsFrom(world, client, "initiation")).toHaveLength(2);
    expect(kindsFrom(world, server, "cookie-reply")).toHaveLength(2);
  });

  it("WG-30: a cookie is forgotten after 115 s, and asking starts over", () => {
    const { world, client, server, ab } = loaded(0);
    send(world, client, server, "1");
    advance(world, 6_000);
    expect(kindsFrom(world, server, "cookie-reply")).toHaveLength(1);
    advance(world, 60_000);
    client.device.initiate(world.now, ab);
    advance(world, 6_000);
    expect(kindsFrom(world, server, "cookie-reply")).toHaveLength(1);
    advance(world, 60_000);
    client.device.initiate(world.now, ab);
    advance(world, 1_000);
    expect(kindsFrom(world, server, "cookie-reply")).toHaveLength(2);
  });

  it("WG-22, WG-30: a message accepts one cookie reply, and only for its own index and mac1", () => {
    const { world, client, server } = loaded(0);
    let reply = new Uint8Array(0);
    world.loses = (line, bytes) => {
      if (line.kind === "cookie-reply") reply = bytes.slice();
      return line.kind === "cookie-reply";
    };
    send(world, client, server, "x");
    advance(world, 10);
    const give = (datagram: Uint8Array) =>
      client.device.handleHandshake(world.now, { datagram, source: server.address });
    const forged = reply.slice();
    forged[40] = (forged[40] ?? 0) ^ 1;
    expect(give(forged)).toMatchObject({ kind: "dropped", reason: "wg_bad_cookie" });
    const elsewhere = reply.slice();
    elsewhere[4] = (elsewhere[4] ?? 0) ^ 1;
    expect(give(elsewhere)).toMatchObject({ kind: "dropped", reason: "wg_unexpected_cookie" });
    expect(give(reply)).toMatchObject({ kind: "accepted", message: "cookie-reply" });
    expect(give(reply)).toMatchObject({ kind: "dropped", reason: "wg_unexpected_cookie" });
  });

  it("WG-22, WG-30: a response is judged like an initiation, and carries mac2 the next time", () => {
    const { world, client, server, ba } = loaded(0);
    server.device.initiate(world.now, ba);
    advance(world, 4_900);
    expect(kindsFrom(world, server, "cookie-reply")).toHaveLength(1);
    expect(server.events).toEqual([]);
    advance(world, 600);
    expect(kindsFrom(world, client, "response")).toHaveLength(2);
    expect(server.events).toMatchObject([{ kind: "established", isInitiator: true }]);
  });
});

describe("the guard", () => {
  const own = createOwnIdentity(crypto, new Uint8Array(32).fill(1));
  const remote = createRemoteIdentity(
    crypto,
    own,
    createOwnIdentity(crypto, new Uint8Array(32).fill(2)).publicKey,
  );

  if (remote === undefined) throw new Error("zero DH");
  const { datagram: unsealed } = createInitiation(crypto, {
    own,
    remote,
    sender: 7,
    ephemeral: crypto.keyPair(new Uint8Array(32).fill(3)),
    stamp: stampOf(0),
  });

  function initiation(cookie: Uint8Array | undefined): Initiation {
    if (remote === undefined) throw new Error("zero DH");
    const datagram = unsealed.slice();
    sealMacs(crypto, datagram, remote, cookie);
    const message = parseMessage(datagram);
    if (!message.ok || message.value.kind !== "initiation") throw new Error("not an initiation");
    return message.value;
  }

  function createGuard() {
    const guard = createLoadGuard({ crypto, random: createSeededRandom(5), limit: 0 });
    const cookieFor = (now: Instant, source: SocketAddress): Uint8Array => {
      const message = initiation(undefined);
      const reply = parseMessage(guard.encodeReply(now, own, message, source));
      if (!reply.ok || reply.value.kind !== "cookie-reply") throw new Error("not a cookie reply");
      const cookie = openCookieReply(crypto, own, reply.value, message.macs.mac1);
      if (cookie === undefined) throw new Error("the reply does not open");
      return cookie;
    };
    return { guard, cookieFor };
  }

  it("WG-33: a cookie is good for its address and port only", () => {
    const { guard, cookieFor } = createGuard();
    const now = instant(1_000);
    const message = initiation(cookieFor(now, SOURCE));
    expect(guard.judge(now, message, SOURCE)).toBe("pass");
    expect(guard.judge(now, message, { ...SOURCE, port: 1001 })).toBe("ask-cookie");
    expect(guard.judge(now, message, { ...SOURCE, address: ip("192.0.2.2") })).toBe("ask-cookie");
  });

  it("WG-33: the secret lives 120 s", () => {
    const { guard, cookieFor } = createGuard();
    const message = initiation(cookieFor(instant(1_000), SOURCE));
    expect(guard.judge(instant(120_999), message, SOURCE)).toBe("pass");
    expect(guard.judge(instant(121_000), message, SOURCE)).toBe("ask-cookie");
    cookieFor(instant(121_000), SOURCE);
    expect(guard.judge(instant(121_000), message, SOURCE)).toBe("ask-cookie");
  });

  it("WG-32: five at once and twenty per second from one source", () => {
    const { guard, cookieFor } = createGuard();
    const message = initiation(cookieFor(instant(1_000), SOURCE));
    const burst = Array.from({ length: 6 }, () => guard.judge(instant(1_000), message, SOURCE));
    expect(burst).toEqual([...new Array(5).fill("pass"), "wg_source_rate"]);
    expect(guard.judge(instant(1_049), message, SOURCE)).toBe("wg_source_rate");
    expect(guard.judge(instant(1_050), message, SOURCE)).toBe("pass");
    let passed = 0;
    for (let t = 1_051; t <= 11_050; t++) if (guard.judge(instant(t), message, SOURCE) === "pass") passed++;
    expect(passed).toBe(200);
  });

  it("WG-32: an IPv6 /64 is one source, an IPv4 address is another", () => {
    const { guard, cookieFor } = createGuard();
    const now = instant(1_000);
    const from = (address: string): SocketAddress => ({ address: ip(address), port: 9 });
    const ask = (address: string): string =>
      guard.judge(now, initiation(cookieFor(now, from(address))), from(address));
    for (let i = 0; i < 5; i++) expect(ask(`2001:db8::${i + 1}`)).toBe("pass");
    expect(ask("2001:db8::99")).toBe("wg_source_rate");
    expect(ask("2001:db8:0:1::1")).toBe("pass");
    expect(ask("192.0.2.77")).toBe("pass");
  });

  it("WG-71: remembers 4096 sources and forgets the one unused for longest", () => {
    const { guard, cookieFor } = createGuard();
    const now = instant(1_000);
    const source = (i: number): SocketAddress => ({
      address: Uint8Array.of(10, 0, i >> 8, i & 255),
      port: 9,
    });
    const ask = (i: number): string => guard.judge(now, initiation(cookieFor(now, source(i))), source(i));
    for (let i = 0; i < 5; i++) ask(0);
    expect(ask(0)).toBe("wg_source_rate");
    for (let i = 1; i < SOURCE_BUCKETS_MAX; i++) ask(i);
    expect(ask(0)).toBe("wg_source_rate");
    for (let i = 1; i <= SOURCE_BUCKETS_MAX; i++) ask(i + 1);
    expect(ask(0)).toBe("pass");
  });
});
