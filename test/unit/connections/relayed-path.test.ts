import { describe, expect, it } from "vitest";
import { concatBytes, fromHex, ip } from "../../../src/base/index.ts";
import { encodeBindingRequest } from "../../../src/stun/index.ts";
import {
  answersTo,
  createLoneConnections,
  LOCAL,
  type LoneConnections,
  REMOTE,
  requestFor,
} from "./lone-connections.ts";
import { listRelays, type PlayedRelay, playRelay } from "./played-relay.ts";

const REQUEST = requestFor("peer-1");
const RELAY_TEXT = "candidate:x 1 udp 37748479 198.51.100.2 40000 typ relay";

/** A check as the peer, a client, would send it. */
function check(transaction: number, isNominated: boolean): Uint8Array {
  const into = new Uint8Array(600);
  const { localCredentials, remoteCredentials } = REQUEST;
  const length = encodeBindingRequest(
    into,
    {
      transactionId: Uint8Array.from({ length: 12 }, () => transaction),
      username: `${localCredentials.username}:${remoteCredentials.username}`,
      claim: { role: "controlling", tieBreaker: 1n },
      priority: 1_862_270_719,
      isNominated,
    },
    new TextEncoder().encode(localCredentials.password),
  );
  return into.slice(0, length);
}

/** A gateway whose peer has nominated a pair through the relay. */
function nominated(isConfirmed = true): { readonly lone: LoneConnections; readonly relay: PlayedRelay } {
  const lone = createLoneConnections("gateway");
  const relay = playRelay(lone, 1);
  listRelays(lone, relay);
  relay.activate();
  lone.apply((connections, now) => connections.upsertConnection(now, REQUEST));
  lone.apply((connections, now) => connections.addRemoteCandidates(now, REQUEST.id, [RELAY_TEXT]));
  if (isConfirmed) relay.confirm();
  lone.commands.length = 0;
  relay.sendData(0x4000, check(1, true));
  return { lone, relay };
}

/** Of checks of a size the peer answers those of at most `bytes` bytes, until the search for the MTU has ended. */
function narrowTo({ lone, relay }: ReturnType<typeof nominated>, bytes: number): void {
  let seen = 0;
  for (let tries = 0; tries < 10; tries++) {
    const data = relay.data();
    for (const sent of data.slice(seen)) {
      if (sent.data.length > bytes) continue;
      for (const answer of answersTo(sent.data, REQUEST)) relay.sendData(sent.channel, answer);
    }
    seen = data.length;
    lone.runTo(lone.now + 300);
  }
}

function paths(lone: LoneConnections) {
  return lone.commands.flatMap((command) => (command.kind === "set-path" ? [command.path] : []));
}

describe("relayed paths (SN-83 to SN-89)", () => {
  it("PG-160: who sent a check through the relay is no known source, as nothing comes from there directly", () => {
    const lone = createLoneConnections("gateway");
    const relay = playRelay(lone, 1);
    listRelays(lone, relay);
    relay.activate();
    lone.apply((connections, now) => connections.upsertConnection(now, REQUEST));
    lone.apply((connections, now) => connections.addRemoteCandidates(now, REQUEST.id, [RELAY_TEXT]));
    relay.confirm();
    relay.sendData(0x4000, check(1, false));
    // It was taken: it is answered through the channel.
    expect(relay.data().length).toBeGreaterThan(0);
    expect(lone.knownSources).toEqual([]);
    // The same peer, to an address of ours.
    lone.check(REQUEST);
    expect(lone.knownSources).toEqual([REMOTE]);
  });

  it("SN-83, SN-127, RL-104: the peer's check through the relay makes a path of relay, channel and head room", () => {
    const { lone, relay } = nominated();
    expect(paths(lone)).toMatchObject([
      { kind: "relayed", destination: relay.socket, channel: 0x4000, headRoom: 4, isBroken: false },
    ]);
    expect(paths(lone)[0]).not.toHaveProperty("source");
    expect(lone.connections.stats().connections[0]?.path).toEqual({
      kind: "relay-to-relay",
      route: "relayed",
      source: relay.relayed,
      destination: REMOTE,
      mtu: { outside: 1344, inside: 1280 },
    });
  });

  it("SN-33, SN-83: a path to an address that only checks had shown is called relayed once the peer says so", () => {
    const lone = createLoneConnections("gateway");
    lone.apply((connections, now) => connections.updateHostAddresses(now, [LOCAL]));
    lone.apply((connections, now) => connections.upsertConnection(now, REQUEST));
    const learnt = { address: ip("198.51.100.2"), port: 40_000 };
    lone.apply((connections, now) =>
      connections.handleDatagram(now, { local: LOCAL, from: learnt, bytes: check(1, true) }),
    );
    const kind = (): string | undefined => lone.connections.stats().connections[0]?.path?.kind;
    expect(kind()).toBe("peer-to-peer");
    const changes = (): readonly string[] => {
      const all: string[] = [];
      for (
        let next = lone.connections.pollChange();
        next !== undefined;
        next = lone.connections.pollChange()
      ) {
        all.push(next.path);
      }
      return all;
    };
    expect(changes()).toEqual(["none", "direct"]);
    lone.apply((connections, now) => connections.addRemoteCandidates(now, REQUEST.id, [RELAY_TEXT]));
    expect(kind()).toBe("peer-to-relay");
    expect(changes()).toEqual(["relayed"]);
  });

  it("SN-150, SN-151: it is checked for full size through the channel, whole, and its record names what fits", () => {
    const { lone, relay } = nominated();
    expect(paths(lone)[0]?.mtu).toBe(1280);
    const whole = lone.transmits.filter(({ isWhole }) => isWhole);
    expect(whole.map(({ destination, bytes }) => [destination, bytes.length])).toEqual([
      [relay.socket, 1316],
    ]);
    expect(relay.data().some(({ data }) => data.length === 1312)).toBe(true);
  });

  it.each([
    { title: "IPv4 only: outside", host: "198.51.100.9", isCutInside: undefined },
    { title: "IPv6, by which it may reach its relay: inside", host: "2001:db8::9", isCutInside: true },
  ])("TN-121, RL-50: where it is cut up if the peer has $title", ({ host, isCutInside }) => {
    const { lone, relay } = nominated();
    const text = `candidate:y 1 udp 2130706175 ${host} 40000 typ host`;
    lone.apply((connections, now) => connections.addRemoteCandidates(now, REQUEST.id, [text]));
    narrowTo({ lone, relay }, 1300 - 32);
    expect(paths(lone).at(-1)).toMatchObject({ kind: "relayed", mtu: 1300 - 64 });
    expect(paths(lone).at(-1)?.isCutInside).toBe(isCutInside);
  });

  it("SN-128: what the plane has unwrapped is taken the same way", () => {
    const { lone, relay } = nominated();
    const before = relay.data().length;
    lone.apply((connections, now) =>
      connections.handlePlaneEvent(now, {
        kind: "stun",
        bytes: check(2, false),
        from: relay.socket,
        local: LOCAL,
        relayed: { relay: relay.socket, channel: 0x4000 },
      }),
    );
    expect(relay.data().length).toBe(before + 1);
    expect(relay.data().at(-1)?.data.subarray(0, 2)).toEqual(Uint8Array.of(1, 1));
  });

  it("SN-89: when the allocation is lost the path is broken at once, and mended with a new channel", () => {
    const { lone, relay } = nominated();
    lone.commands.length = 0;
    listRelays(lone, playRelay(lone, 1, { password: "other" }));
    const renewed = playRelay(lone, 1, { password: "other" });
    renewed.refuse(renewed.last("refresh"), 437);
    expect(paths(lone)).toMatchObject([{ isBroken: true }]);
    renewed.succeed(renewed.last("allocate"), { relayedAddresses: [relay.relayed], lifetimeSeconds: 600 });
    // The same address comes back: the pair with it, and the peer's next check selects it again.
    renewed.confirm();
    renewed.sendData(0x4001, check(3, true));
    expect(paths(lone).at(-1)).toMatchObject({ kind: "relayed", channel: 0x4001, isBroken: false });
    expect(lone.connections.stats().counters.tx_no_relay).toBe(0);
  });

  it("SN-89, RL-97, RL-103: a channel in flight carries the path, and its refusal breaks it", () => {
    const { lone, relay } = nominated(false);
    expect(paths(lone).at(-1)).toMatchObject({ kind: "relayed", isBroken: false });
    relay.refuse(relay.last("bind"), 403);
    expect(paths(lone).at(-1)).toMatchObject({ isBroken: true });
  });

  it("SN-88, SN-84: handshakes go as channel data as well", () => {
    const lone = createLoneConnections("client");
    const relay = playRelay(lone, 1);
    listRelays(lone, relay);
    relay.activate();
    lone.apply((connections, now) => connections.upsertConnection(now, REQUEST));
    lone.apply((connections, now) => connections.addRemoteCandidates(now, REQUEST.id, [RELAY_TEXT]));
    relay.confirm();
    for (const { channel, data } of relay.data()) {
      for (const answer of answersTo(data, REQUEST)) relay.sendData(channel, answer);
    }
    const initiations = relay.data().filter(({ data }) => data[0] === 1 && data.length === 148);
    expect(initiations.map(({ channel }) => channel)).toEqual([0x4000]);
  });
});

describe("what comes from relays (SN §5.7, rows 1 and 2)", () => {
  const STUN = fromHex("0101 0000 2112a442 000102030405060708090a0b") ?? new Uint8Array(0);
  const DATA = Uint8Array.of(0x40, 0x00, 0, 4, 1, 2, 3, 4);

  function fromAddress(lone: LoneConnections, address: string, bytes: Uint8Array, port = 3478) {
    const from = { address: ip(address), port };
    return lone.apply((connections, now) => connections.handleDatagram(now, { local: LOCAL, from, bytes }));
  }

  it("row 1: STUN of a relay that answers nothing of ours is dropped", () => {
    const { relay } = nominated();
    expect(relay.send(STUN)).toEqual({ kind: "dropped", counter: "stun_unmatched" });
    expect(
      relay.send(
        concatBytes(STUN.slice(0, 2), Uint8Array.of(0, 4), STUN.slice(4), Uint8Array.of(0, 8, 0, 1)),
      ),
    ).toEqual({ kind: "dropped", counter: "stun_malformed" });
  });

  it("row 2, RL-103: channel data on an unknown channel is dropped", () => {
    const { relay } = nominated();
    expect(relay.sendData(0x4fff, new Uint8Array(32))).toEqual({
      kind: "dropped",
      counter: "channel_unknown",
    });
  });

  it("SN-98: channel data that is none goes on, and is of no known form", () => {
    const { relay } = nominated();
    expect(relay.send(Uint8Array.of(0x40, 0x00, 0, 9, 1, 2, 3, 4))).toEqual({ kind: "unknown-format" });
    expect(relay.send(Uint8Array.of(0x50, 0x00, 0, 4, 1, 2, 3, 4))).toEqual({ kind: "unknown-format" });
  });

  it("SN-101: channel data inside channel data is not looked for", () => {
    const { relay } = nominated();
    expect(relay.sendData(0x4000, DATA)).toEqual({ kind: "unknown-format" });
  });

  it("SN-99, SN-100: what a relay that was left still sends is late, whatever it is", () => {
    const { lone, relay } = nominated();
    lone.apply((connections, now) => connections.updateRelays(now, { remove: ["relay-1"], add: [] }));
    expect(relay.send(STUN)).toEqual({ kind: "dropped", counter: "late_relay_stun" });
    expect(relay.send(DATA)).toEqual({ kind: "dropped", counter: "late_channel_data" });
    expect(lone.lines.filter(({ line }) => line.startsWith("warn"))).toEqual([]);
  });

  it("SN-99: only port 3478 is a relay's; a peer may be at it, too", () => {
    const { lone, relay } = nominated();
    lone.apply((connections, now) => connections.updateRelays(now, { remove: ["relay-1"], add: [] }));
    expect(fromAddress(lone, "203.0.113.1", STUN, 3479)).toEqual({
      kind: "dropped",
      counter: "stun_malformed",
    });
    expect(relay.send(check(7, false))).toEqual({ kind: "dropped", counter: "late_relay_stun" });
    // No relay was ever there: a peer whose NAT took that port.
    expect(fromAddress(lone, "198.51.100.77", check(8, false))).toEqual({ kind: "consumed" });
  });

  it("SN-99: 64 IP addresses of former relays are remembered, the last", () => {
    const lone = createLoneConnections("gateway");
    for (let n = 1; n <= 65; n++) {
      listRelays(lone, playRelay(lone, n));
      lone.apply((connections, now) => connections.updateRelays(now, { remove: [`relay-${n}`], add: [] }));
    }
    expect(fromAddress(lone, "203.0.113.1", STUN)).toEqual({ kind: "dropped", counter: "stun_malformed" });
    expect(fromAddress(lone, "203.0.113.2", STUN)).toEqual({ kind: "dropped", counter: "late_relay_stun" });
  });

  it("SN-115, RL-109, SN-99: a reset restarts the relays, and what they send to our old address is late", () => {
    const { lone, relay } = nominated();
    lone.transmits.length = 0;
    lone.apply((connections, now) => connections.reset(now));
    expect(relay.requests("binding")).toHaveLength(1);
    expect(relay.sendData(0x4000, check(9, true))).toEqual({ kind: "dropped", counter: "channel_unknown" });
    expect(lone.connections.stats().relays).toMatchObject([{ id: "relay-1", state: "probing" }]);
  });
});
