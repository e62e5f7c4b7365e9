import { describe, expect, it } from "vitest";
import { formatSocketAddress, ip } from "../../../src/base/index.ts";
import { rttLimit } from "../../../src/connections/relays.ts";
import {
  createLoneConnections,
  LOCAL,
  type LoneConnections,
  REMOTE,
  REMOTE_TEXT,
  requestFor,
} from "./lone-connections.ts";
import { listRelays, MAPPED, type PlayedRelay, playRelay } from "./played-relay.ts";

const REQUEST = requestFor("peer-1");
const SRFLX_TEXT = "candidate:x 1 udp 1686109951 198.51.100.9 40009 typ srflx";

function upsert(lone: LoneConnections, request = REQUEST) {
  return lone.apply((connections, now) => connections.upsertConnection(now, request));
}

function addRemote(lone: LoneConnections, ...texts: readonly string[]): void {
  lone.apply((connections, now) => connections.addRemoteCandidates(now, REQUEST.id, texts));
}

function withRelay(): { readonly lone: LoneConnections; readonly relay: PlayedRelay } {
  const lone = createLoneConnections("client");
  const relay = playRelay(lone, 1);
  listRelays(lone, relay);
  relay.activate();
  return { lone, relay };
}

function lines(lone: LoneConnections, event: string): number {
  return lone.lines.filter(({ line }) => line.endsWith(` ${event}`)).length;
}

function signalled(lone: LoneConnections): readonly string[] {
  return lone.events.flatMap((event) =>
    event.kind === "candidate-added" || event.kind === "candidate-removed"
      ? [
          `${event.kind === "candidate-added" ? "+" : "-"} ${event.candidate.split(" ").slice(4, 8).join(" ")}`,
        ]
      : [],
  );
}

describe("the list of relays (SN-109)", () => {
  it("SN-109: an unknown relay is spoken to at once, an equal one is left alone", () => {
    const { lone, relay } = withRelay();
    expect(relay.requests("binding")).toHaveLength(1);
    const before = lone.transmits.length;
    listRelays(lone, relay);
    expect(lone.transmits.length).toBe(before);
    expect(lone.connections.stats().relays).toMatchObject([
      { id: "relay-1", state: "active", address: relay.socket, rttMs: 0 },
    ]);
  });

  it("PG-112: who watches hears of each state of a relay, once, and of its end", () => {
    const lone = createLoneConnections("client");
    const relay = playRelay(lone, 1);
    const heard = () => {
      const changes: string[] = [];
      const { pollRelayChange } = lone.connections;
      for (let change = pollRelayChange(); change !== undefined; change = pollRelayChange()) {
        changes.push(`${change.id} ${change.state}`);
      }
      return changes;
    };
    listRelays(lone, relay);
    expect(heard()).toEqual(["relay-1 probing"]);
    relay.activate();
    expect(heard()).toEqual(["relay-1 allocating", "relay-1 active"]);
    listRelays(lone, relay);
    expect(heard()).toEqual([]);
    lone.apply((connections, now) => connections.updateRelays(now, { remove: ["relay-1"], add: [] }));
    expect(heard()).toEqual(["relay-1 closed"]);
  });

  it("SN-109, RL-117: other credentials are tried on the allocation that is there", () => {
    const { lone, relay } = withRelay();
    listRelays(lone, playRelay(lone, 1, { password: "other" }));
    expect([relay.requests("refresh").length, relay.requests("allocate").length]).toEqual([1, 1]);
  });

  it("SN-109: other sockets under the same id: the old one is left, its candidates with it", () => {
    const { lone, relay } = withRelay();
    upsert(lone);
    lone.events.length = 0;
    const moved = playRelay(lone, 2, { id: "relay-1" });
    listRelays(lone, moved);
    expect(signalled(lone)).toEqual(["- 203.0.113.1 50001 typ relay"]);
    expect(moved.requests("binding")).toHaveLength(1);
    // It is told so, that its port is free again (RL-113).
    expect(relay.last("refresh").fields.lifetimeSeconds).toBe(0);
    expect(lone.connections.stats().relays.map(({ address }) => address)).toEqual([moved.socket]);
  });

  it("SN-109, RL-70: another id at the same socket: the old one is left first", () => {
    const { lone, relay } = withRelay();
    listRelays(lone, playRelay(lone, 1, { id: "relay-9" }));
    expect(lone.connections.stats().relays.map(({ id }) => id)).toEqual(["relay-9"]);
    expect(relay.requests("binding")).toHaveLength(2);
  });

  it("SN-109: relays in neither list are asked once, with a deadline of 1 s; then they are left (SN-114)", () => {
    const { lone, relay } = withRelay();
    const other = playRelay(lone, 2);
    listRelays(lone, other);
    expect(relay.requests("refresh")).toHaveLength(1);
    other.activate();
    lone.runTo(lone.now + 999);
    expect(lone.connections.stats().relays).toHaveLength(2);
    lone.runTo(lone.now + 1);
    expect(lone.connections.stats().relays.map(({ id }) => id)).toEqual(["relay-2"]);
    expect(lone.events).not.toContainEqual({ kind: "relays-exhausted" });
  });

  it.each([
    ["another port", { v4: { address: ip("203.0.113.1"), port: 3479 } }, "warn relay skipped"],
    ["a username that is too long", { username: "u".repeat(509) }, "debug relay skipped"],
    ["a control character in the realm", { realm: "a\n" }, "debug relay skipped"],
  ])("SN-109, RL-118: an entry with %s is skipped", (_what, change, line) => {
    const lone = createLoneConnections("client");
    listRelays(lone, playRelay(lone, 1, change));
    expect(lone.transmits).toEqual([]);
    expect(lone.lines.map((one) => one.line)).toContain(line);
  });

  it("SN-113: the last one that goes is reported, also when the portal takes it away", () => {
    const { lone } = withRelay();
    lone.apply((connections, now) =>
      connections.updateRelays(now, { remove: ["relay-1", "nobody"], add: [] }),
    );
    expect(lone.events).toContainEqual({ kind: "relays-exhausted" });
    lone.events.length = 0;
    lone.apply((connections, now) => connections.updateRelays(now, { remove: ["relay-1"], add: [] }));
    expect(lone.events).toEqual([]);
  });

  it("SN-113: no report when another one comes in the same step", () => {
    const { lone } = withRelay();
    lone.apply((connections, now) =>
      connections.updateRelays(now, { remove: ["relay-1"], add: [playRelay(lone, 2).entry] }),
    );
    expect(lone.events).not.toContainEqual({ kind: "relays-exhausted" });
  });

  it("RL-113: at the end of all the relays are told, behind the last goodbye", () => {
    const { lone, relay } = withRelay();
    lone.apply((connections, now) => connections.closeAll(now, new Uint8Array(48)));
    expect(relay.requests("refresh")).toHaveLength(0);
    lone.runTo(lone.now + 100);
    expect(relay.last("refresh").fields.lifetimeSeconds).toBe(0);
    expect(lone.events).not.toContainEqual({ kind: "relays-exhausted" });
  });

  it("SN-125: says that it waits for a relay", () => {
    const lone = createLoneConnections("client");
    listRelays(lone, playRelay(lone, 1));
    expect(lone.connections.timeoutReason()).toBe("relay");
    expect(lone.connections.pollTimeout()).toBe(lone.now + 1_000);
  });
});

describe("choosing a relay (SN-110)", () => {
  it.each([
    [[40], 60],
    [[40, 100], 60],
    [[10, 20, 30], 20 + 3 * 10],
    [[20, 20, 21, 90], 20.5 + 3 * 2],
    [[10, 30, 50, 70, 500], 50 + 3 * 20],
  ])("SN-110: of %j those up to %d ms", (rtts, limit) => {
    expect(rttLimit(rtts)).toBe(limit);
  });

  it("SN-110: a relay that refuses is taken only for want of another", () => {
    const lone = createLoneConnections("client");
    const [refusing, willing] = [playRelay(lone, 1), playRelay(lone, 2)];
    listRelays(lone, refusing, willing);
    for (const relay of [refusing, willing]) relay.succeed(relay.last("binding"), { mappedAddress: MAPPED });
    refusing.refuse(refusing.last("allocate"), 508);
    for (let n = 0; n < 10; n++) upsert(lone, requestFor(`peer-${n}`));
    const chosen = lone.connections.stats().connections.map(({ relay }) => relay);
    expect(new Set(chosen)).toEqual(new Set(["relay-2"]));
  });

  it("SN-110: the slow one of two is not taken, of equals both are", () => {
    const lone = createLoneConnections("client");
    const relays = [playRelay(lone, 1), playRelay(lone, 2), playRelay(lone, 3)];
    const [near, equal, far] = relays as [PlayedRelay, PlayedRelay, PlayedRelay];
    listRelays(lone, near, equal, far);
    lone.now = lone.apply((_connections, now) => now);
    lone.runTo(lone.now + 20);
    near.succeed(near.last("binding"), { mappedAddress: MAPPED });
    equal.succeed(equal.last("binding"), { mappedAddress: MAPPED });
    lone.runTo(lone.now + 200);
    far.succeed(far.last("binding"), { mappedAddress: MAPPED });
    for (let n = 0; n < 20; n++) upsert(lone, requestFor(`peer-${n}`));
    const chosen = lone.connections.stats().connections.map(({ relay }) => relay);
    expect(new Set(chosen)).toEqual(new Set(["relay-1", "relay-2"]));
  });

  it("SN-69, SN-117: a relay that has not answered is enough to begin with, no relay and no address is not", () => {
    const lone = createLoneConnections("client");
    lone.apply((connections, now) => connections.updateHostAddresses(now, []));
    expect(upsert(lone)).toEqual({ kind: "no-relays" });
    const relay = playRelay(lone, 1);
    listRelays(lone, relay);
    expect(upsert(lone).kind).toBe("created");
    expect(lone.events).toEqual([]);
    relay.activate();
    expect(signalled(lone)).toEqual([
      "+ 192.0.2.1 52625 typ host",
      "+ 203.0.113.200 1024 typ srflx",
      "+ 203.0.113.1 50001 typ relay",
    ]);
  });
});

describe("candidates of relays", () => {
  it("SN-70: what the relays have shown is offered from the start, best first, each once", () => {
    const { lone, relay } = withRelay();
    const other = playRelay(lone, 2);
    listRelays(lone, relay, other);
    other.succeed(other.last("binding"), { mappedAddress: { ...MAPPED, port: 9 } });
    upsert(lone);
    const { relay: chosen } = lone.connections.stats().connections[0] ?? {};
    expect(signalled(lone)).toEqual([
      "+ 192.0.2.1 52625 typ host",
      "+ 203.0.113.200 1024 typ srflx",
      "+ 203.0.113.200 9 typ srflx",
      ...(chosen === "relay-1" ? ["+ 203.0.113.1 50001 typ relay"] : []),
    ]);
  });

  it("SN-71, SN-26: reflexive ones found later go to everybody, relayed ones to those who chose that relay", () => {
    const { lone } = withRelay();
    upsert(lone);
    lone.events.length = 0;
    const other = playRelay(lone, 2);
    lone.apply((connections, now) => connections.updateRelays(now, { remove: [], add: [other.entry] }));
    other.succeed(other.last("binding"), { mappedAddress: { ...MAPPED, port: 9 } });
    other.succeed(other.last("allocate"), { relayedAddresses: [other.relayed], lifetimeSeconds: 600 });
    expect(signalled(lone)).toEqual(["+ 203.0.113.200 9 typ srflx"]);
  });

  it("SN-112: when the relay goes, the connection offers the addresses of another one", () => {
    const { lone, relay } = withRelay();
    upsert(lone);
    addRemote(lone, SRFLX_TEXT);
    const other = playRelay(lone, 2);
    listRelays(lone, relay, other);
    other.activate();
    lone.events.length = 0;
    lone.apply((connections, now) => connections.updateRelays(now, { remove: ["relay-1"], add: [] }));
    expect(signalled(lone)).toEqual(["- 203.0.113.1 50001 typ relay", "+ 203.0.113.2 50002 typ relay"]);
    // Channels first, so that no check is lost.
    expect(other.requests("bind").map(({ fields }) => fields.peerAddress)).toEqual([
      { address: ip("198.51.100.9"), port: 40_009 },
    ]);
    expect(lines(lone, "migrating")).toBe(1);
  });

  it("SN-111: a connection keeps its relay though a faster one comes", () => {
    const lone = createLoneConnections("client");
    const slow = playRelay(lone, 1);
    listRelays(lone, slow);
    lone.runTo(lone.now + 300);
    slow.activate();
    upsert(lone);
    const fast = playRelay(lone, 2);
    listRelays(lone, slow, fast);
    fast.activate();
    lone.runTo(lone.now + 10);
    expect(lone.connections.stats().connections[0]?.relay).toBe("relay-1");
    upsert(lone, requestFor("peer-2"));
    expect(lone.connections.stats().connections[1]?.relay).toBe("relay-2");
  });

  it("SN-112: without another one the connection stays, and takes the next that comes", () => {
    const { lone } = withRelay();
    upsert(lone);
    lone.apply((connections, now) => connections.updateRelays(now, { remove: ["relay-1"], add: [] }));
    expect(lone.connections.stats().connections).toMatchObject([{ id: "peer-1" }]);
    expect(lone.connections.stats().connections[0]?.relay).toBeUndefined();
    const other = playRelay(lone, 2);
    listRelays(lone, other);
    expect(lone.connections.stats().connections[0]?.relay).toBe("relay-2");
  });
});

describe("channels (SN-86, SN-87)", () => {
  it("SN-87, RL-101: bound at once for what the peer tells of itself, but for host candidates", () => {
    const { lone, relay } = withRelay();
    upsert(lone);
    addRemote(lone, REMOTE_TEXT);
    const host = relay.requests("bind").length;
    addRemote(lone, SRFLX_TEXT);
    const bound = relay
      .requests("bind")
      .map(({ fields }) => formatSocketAddress(fields.peerAddress ?? REMOTE));
    // The host candidate's first check binds one: on demand.
    expect(host).toBe(1);
    expect(bound.slice(0, 2)).toEqual(["198.51.100.2:40000", "198.51.100.9:40009"]);
  });

  it("SN-86, RL-101: the check that caused the bind follows right behind it", () => {
    const { lone, relay } = withRelay();
    upsert(lone);
    lone.transmits.length = 0;
    addRemote(lone, REMOTE_TEXT);
    const toRelay = lone.transmits.filter(
      ({ destination }) => destination === relay.socket || destination.port === 3478,
    );
    expect(toRelay.map(({ bytes }) => bytes[0])).toEqual([0x00, 0x40]);
    expect(relay.data().map(({ channel, data }) => [channel, data[0], data[1]])).toEqual([[0x4000, 0, 1]]);
    // Directly as well, from our own address; to the relay the system chooses.
    expect(lone.transmits.map(({ source }) => source)).toEqual([LOCAL.address, undefined, undefined]);
  });

  it("SN-86: while the relay refuses the peer, what goes there is dropped and counted", () => {
    const { lone, relay } = withRelay();
    upsert(lone);
    addRemote(lone, REMOTE_TEXT);
    relay.refuse(relay.last("bind"), 403);
    lone.runTo(lone.now + 1_000);
    expect(lone.connections.stats().counters.tx_no_channel).toBeGreaterThan(0);
    expect(relay.requests("bind")).toHaveLength(1);
  });
});

describe("what a relay says too late", () => {
  /** Above DEBUG somebody would have to act, or would want to know in a year. */
  const isLoud = ({ line }: { readonly line: string }): boolean => !/^(trace|debug) /.test(line);

  it("PG-98: answers and channel data of a relay that is gone, or that come twice, are worth no more than DEBUG", () => {
    const lone = createLoneConnections("client");
    const relay = playRelay(lone, 1);
    listRelays(lone, relay);
    relay.activate();
    const [binding, allocate] = [relay.last("binding"), relay.last("allocate")];
    lone.lines.length = 0;
    // Once more, as a network that doubles datagrams brings them; data on a channel that nobody bound.
    relay.succeed(binding, { mappedAddress: MAPPED });
    relay.succeed(allocate, { relayedAddresses: [relay.relayed], lifetimeSeconds: 3_600 });
    relay.refuse(allocate, 437);
    relay.sendData(0x4001, Uint8Array.of(1, 2, 3));
    expect(lone.lines.filter(isLoud)).toEqual([]);
    lone.apply((machine, now) => machine.updateRelays(now, { remove: [relay.entry.id], add: [] }));
    lone.lines.length = 0;
    relay.succeed(allocate, { relayedAddresses: [relay.relayed], lifetimeSeconds: 3_600 });
    relay.refuse(allocate, 401);
    relay.sendData(0x4000, Uint8Array.of(1, 2, 3));
    expect(lone.lines.filter(isLoud)).toEqual([]);
    expect(lone.lines.length).toBeGreaterThan(0);
  });
});
