import { describe, expect, it } from "vitest";
import { instant, ip } from "../../../src/base/index.ts";
import type { ConnectionRequest, DatagramOutcome } from "../../../src/connections/index.ts";
import fc from "../../lib/property.ts";
import {
  createLoneConnections,
  LOCAL,
  type LoneConnections,
  REMOTE,
  REMOTE_TEXT,
  requestFor,
} from "./lone-connections.ts";

/** A gateway whose connection has a path: the peer has nominated it. */
function nominated(): {
  readonly lone: LoneConnections;
  readonly slot: number;
  readonly request: ConnectionRequest;
} {
  const lone = createLoneConnections("gateway");
  const request = requestFor("client-1");
  const outcome = lone.apply((connections, now) => connections.upsertConnection(now, request));
  lone.check(request, { isNominated: true });
  return { lone, slot: "slot" in outcome ? outcome.slot : -1, request };
}

describe("where a datagram goes (SN §5.7)", () => {
  const zeros = (length: number, type: number): Uint8Array => {
    const bytes = new Uint8Array(length);
    bytes[0] = type;
    return bytes;
  };
  const STUN = [0x21, 0x12, 0xa4, 0x42];
  const success = (): Uint8Array => {
    const bytes = new Uint8Array(20);
    bytes.set([1, 1, 0, 0, ...STUN]);
    return bytes;
  };
  const consumed: DatagramOutcome = { kind: "consumed" };
  const ROWS: readonly (readonly [string, Uint8Array, DatagramOutcome])[] = [
    ["a STUN answer whose first byte is 0x01", success(), { kind: "dropped", counter: "stun_malformed" }],
    ["an indication", Uint8Array.from([0, 0x11, 0, 0, ...STUN, ...new Array(12).fill(0)]), consumed],
    [
      "a method that is not ours",
      Uint8Array.from([0, 3, 0, 0, ...STUN, ...new Array(12).fill(0)]),
      { kind: "dropped", counter: "stun_unmatched" },
    ],
    [
      "an initiation with a wrong mac1, 0x01 in front",
      zeros(148, 1),
      { kind: "dropped", counter: "wg_rejected" },
    ],
    ["an initiation one byte short", zeros(147, 1), { kind: "unknown-format" }],
    ["a response for nobody", zeros(92, 2), { kind: "dropped", counter: "unknown_connection" }],
    ["a cookie reply for nobody", zeros(64, 3), { kind: "dropped", counter: "unknown_connection" }],
    ["data for nobody", zeros(32, 4), { kind: "dropped", counter: "unknown_connection" }],
    ["data of 31 bytes", zeros(31, 4), { kind: "unknown-format" }],
    [
      "WireGuard with a reserved byte",
      Uint8Array.from([4, 0, 1, ...new Array(40).fill(0)]),
      { kind: "unknown-format" },
    ],
    ["nothing", new Uint8Array(0), { kind: "unknown-format" }],
    ["channel data", Uint8Array.from([0x40, 0, 0, 0]), { kind: "unknown-format" }],
  ];

  it.each(ROWS)("%s", (_what, bytes, outcome) => {
    const lone = createLoneConnections("gateway");
    lone.apply((connections, now) => connections.upsertConnection(now, requestFor("client-1")));
    expect(
      lone.apply((connections, now) =>
        connections.handleDatagram(now, { local: LOCAL, from: REMOTE, bytes }),
      ),
    ).toEqual(outcome);
    const { counters } = lone.connections.stats();
    if (outcome.kind === "dropped") expect(counters[outcome.counter]).toBe(1);
    if (outcome.kind === "unknown-format") expect(counters.unknown_format).toBe(1);
    expect(Object.values(counters).reduce((sum, count) => sum + count, 0)).toBe(
      outcome.kind === "consumed" ? 0 : 1,
    );
  });

  it("SN-14: two connections with the same fragments: the password decides", () => {
    const lone = createLoneConnections("gateway");
    const first = requestFor("client-1");
    const second = requestFor("client-2", {
      localCredentials: { username: "mine", password: "s".repeat(22) },
    });
    for (const request of [first, second])
      lone.apply((connections, now) => connections.upsertConnection(now, request));
    lone.check(second, { isNominated: true });
    const states = lone.connections.stats().connections.map(({ id, state }) => `${id} ${state}`);
    expect(states).toEqual(["client-1 connecting", "client-2 connected"]);
    lone.check(first, { password: "x".repeat(22) });
    expect(lone.connections.stats().counters.stun_bad_integrity).toBe(1);
  });

  it("hostile: random and bent datagrams never throw, and change nothing without authentication", () => {
    const { lone, request } = nominated();
    lone.check(request);
    const good = lone.transmits.map(({ bytes }) => bytes);
    const state = (): string => JSON.stringify(lone.connections.stats().connections);
    const before = state();
    const bent = fc.record({ i: fc.nat(), bit: fc.nat() }).map(({ i, bit }) => {
      const bytes = (good[i % good.length] ?? new Uint8Array(1)).slice();
      const at = bit % (bytes.length * 8);
      bytes[at >> 3] = (bytes[at >> 3] ?? 0) ^ (1 << (at & 7));
      return bytes;
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), bent), (bytes) => {
        const sent = lone.transmits.length;
        lone.apply((connections, now) =>
          connections.handleDatagram(now, { local: LOCAL, from: REMOTE, bytes }),
        );
        expect(lone.transmits.length).toBe(sent);
      }),
      { numRuns: 500 },
    );
    expect(state()).toBe(before);
  });

  it("SN-30: a list of 10 000 candidates costs no more than its 64", () => {
    const lone = createLoneConnections("gateway");
    lone.apply((connections, now) => connections.upsertConnection(now, requestFor("client-1")));
    const list = Array.from(
      { length: 10_000 },
      (_, i) => `candidate:x 1 udp 9 198.51.${i >> 8}.${i & 255} 1 typ host`,
    );
    lone.apply((connections, now) => connections.addRemoteCandidates(now, "client-1", list));
    expect(lone.connections.stats().counters.candidate_over_limit).toBe(10_000 - 64);
    expect(lone.connections.stats().counters.candidate_skipped).toBe(0);
    expect(lone.transmits.length).toBe(64);
  });

  it("SN-30: a faulty element does not hurt the others", () => {
    const lone = createLoneConnections("gateway");
    lone.apply((connections, now) => connections.upsertConnection(now, requestFor("client-1")));
    lone.apply((connections, now) =>
      connections.addRemoteCandidates(now, "client-1", ["foo", 7, REMOTE_TEXT]),
    );
    expect(lone.connections.stats().counters.candidate_skipped).toBe(2);
    expect(lone.transmits).toHaveLength(1);
  });
});

describe("commands to the plane", () => {
  it("SN-127, WG-52: the peer before its path, the path before what is sent on it", () => {
    const { lone, slot } = nominated();
    const kinds = lone.commands.map(({ kind }) => kind);
    expect(kinds.slice(0, 2)).toEqual(["add-peer", "set-path"]);
    expect(lone.commands[1]).toMatchObject({
      slot,
      path: {
        kind: "direct",
        destination: REMOTE,
        source: LOCAL.address,
        headRoom: 0,
        isIdle: false,
        isBroken: false,
      },
    });
  });

  it("SN-127: an upsert and its nomination in one drain keep that order, too", () => {
    const lone = createLoneConnections("gateway");
    const request = requestFor("client-1");
    lone.connections.upsertConnection(lone.now, request);
    lone.check(request, { isNominated: true });
    expect(lone.commands.map(({ kind }) => kind).slice(0, 2)).toEqual(["add-peer", "set-path"]);
  });

  it("PG-160: who sent a check that ICE took is made known, as long as there is no path", () => {
    const lone = createLoneConnections("gateway");
    const request = requestFor("client-1");
    lone.apply((connections, now) => connections.upsertConnection(now, request));
    lone.check(request, { password: "x".repeat(22) });
    expect(lone.knownSources).toEqual([]);
    lone.check(request);
    expect(lone.knownSources).toEqual([REMOTE]);
    // From now on it is the path that says so.
    lone.check(request, { isNominated: true });
    lone.check(request);
    expect(lone.knownSources).toEqual([REMOTE]);
  });

  it("PG-160, SN-35: who sent a check that ICE did not take, from where the peer has left, is not made known", () => {
    const lone = createLoneConnections("gateway");
    const request = requestFor("client-1");
    lone.apply((connections, now) => connections.upsertConnection(now, request));
    lone.apply((connections, now) => connections.addRemoteCandidates(now, request.id, [REMOTE_TEXT]));
    lone.apply((connections, now) => connections.removeRemoteCandidates(now, request.id, [REMOTE_TEXT]));
    lone.check(request);
    expect(lone.connections.stats().connections[0]?.drops).toEqual({ stun_unmatched: 1 });
    expect(lone.knownSources).toEqual([]);
  });

  it("SN-69: a replacement's old peer is removed, and its path is not spoken of again", () => {
    const { lone, slot, request } = nominated();
    lone.commands.length = 0;
    const changed = { ...request, presharedKey: new Uint8Array(32).fill(1) };
    lone.apply((connections, now) => connections.upsertConnection(now, changed));
    expect(
      lone.commands.map(
        (command) => `${command.kind} ${"slot" in command && command.slot === slot ? "old" : "new"}`,
      ),
    ).toEqual(["add-peer new", "remove-peer old"]);
  });

  it("SN-129: the idle flag is set at 20 s of the plane's last stamp, and cleared by a wake", () => {
    const { lone, slot } = nominated();
    const start = lone.now;
    lone.activity.set(slot, { recvData: start + 5_000 });
    const keepAlive = (until: number): void => {
      // The peer's answers keep ICE connected.
      while (lone.now < until) {
        lone.runTo(Math.min(until, lone.now + 1_000));
        lone.answer(requestFor("client-1"));
      }
    };
    keepAlive(start + 24_999);
    lone.commands.length = 0;
    lone.runTo(start + 25_000);
    expect(lone.commands).toMatchObject([{ kind: "set-path", slot, path: { isIdle: true } }]);
    lone.commands.length = 0;
    lone.apply((connections, now) => connections.handlePlaneEvent(now, { kind: "wake", slot }));
    expect(lone.commands).toMatchObject([{ kind: "set-path", slot, path: { isIdle: false } }]);
    expect(lone.connections.stats().connections[0]?.state).toBe("connected");
  });

  it("SN-129: a packet between the last look and the flag is not slept through", () => {
    const { lone, slot } = nominated();
    const { connections } = lone;
    // Never answered, the pair would be given up at 15.25 s.
    lone.runTo(lone.now + 15_000);
    lone.answer(requestFor("client-1"));
    lone.commands.length = 0;
    const due = instant(1_000_000 + 20_000);
    lone.runTo(due - 1);
    lone.now = due;
    connections.handleTimeout(due);
    const first = connections.pollCommand();
    if (first?.kind !== "set-path") throw new Error("the path is published with the flag");
    expect(first.path.isIdle).toBe(true);
    // The worker sealed a packet just before the flag was set, and raised no event.
    lone.activity.set(slot, { sentData: due });
    connections.handleCarriedOut(due, first);
    lone.drain();
    expect(lone.commands).toMatchObject([{ kind: "set-path", path: { isIdle: false } }]);
    expect(connections.stats().connections[0]?.state).toBe("connected");
  });

  it("SN-106: the plane keeps a closed peer for a moment, so that the goodbye can leave", () => {
    const { lone, slot } = nominated();
    lone.commands.length = 0;
    lone.apply((connections, now) =>
      connections.closeConnection(now, { id: "client-1", goodbye: new Uint8Array(48) }),
    );
    expect(lone.commands.some(({ kind }) => kind === "remove-peer")).toBe(false);
    expect(lone.events.at(-1)).toEqual({ kind: "connection-closed", id: "client-1" });
    expect(lone.connections.slotOf("client-1")).toBeUndefined();
    expect(lone.connections.timeoutReason()).toBe("farewell");
    lone.runTo(lone.now + 100);
    expect(lone.commands.at(-1)).toEqual({ kind: "remove-peer", slot });
    expect(lone.connections.pollTimeout()).toBeUndefined();
  });
});

describe("paths (SN §5.3)", () => {
  const OTHER = { address: ip("198.51.100.3"), port: 40000 };
  const BETTER = { from: OTHER, priority: 1_900_000_000, isNominated: true };

  it("the same path selected again is no change", () => {
    const { lone, request } = nominated();
    lone.runTo(lone.now + 16_000);
    lone.commands.length = 0;
    lone.check(request, { isNominated: true });
    expect(lone.commands).toEqual([]);
    expect(lone.lines.filter(({ line }) => line === "info path changed")).toHaveLength(1);
  });

  it("a better path while connected is taken at once, and is no activity", () => {
    const { lone, slot, request } = nominated();
    const start = lone.now;
    lone.runTo(start + 10_000);
    lone.commands.length = 0;
    lone.check(request, BETTER);
    expect(lone.commands).toMatchObject([{ kind: "set-path", slot, path: { destination: OTHER } }]);
    lone.runTo(start + 19_999);
    expect(lone.connections.stats().connections[0]?.state).toBe("connected");
    lone.runTo(start + 20_000);
    expect(lone.connections.stats().connections[0]?.state).toBe("idle");
  });

  it("a better path while idle is taken at once, and the connection stays idle", () => {
    const { lone, slot, request } = nominated();
    lone.runTo(lone.now + 14_000);
    lone.check(request, { ...BETTER, priority: 1_800_000_000 });
    lone.runTo(lone.now + 8_000);
    expect(lone.connections.stats().connections[0]?.state).toBe("idle");
    lone.commands.length = 0;
    lone.check(request, { ...BETTER, from: { ...OTHER, port: 7 } });
    expect(lone.commands).toMatchObject([
      { kind: "set-path", slot, path: { destination: { port: 7 }, isIdle: true } },
    ]);
    expect(lone.connections.stats().connections[0]?.state).toBe("idle");
  });

  it("SN-76: a packet that control itself sends wakes the connection", () => {
    const { lone, slot, request } = nominated();
    lone.runTo(lone.now + 14_000);
    lone.check(request, { ...BETTER, priority: 1_800_000_000 });
    lone.runTo(lone.now + 8_000);
    expect(lone.connections.stats().connections[0]?.state).toBe("idle");
    lone.commands.length = 0;
    expect(
      lone.apply((connections, now) => connections.sendPacket(now, "client-1", new Uint8Array(48))),
    ).toBe("queued");
    expect(lone.connections.stats().connections[0]?.state).toBe("connected");
    expect(lone.commands).toMatchObject([{ kind: "set-path", slot, path: { isIdle: false } }]);
  });

  it("SN-96: for nobody: said so and counted", () => {
    const { lone } = nominated();
    expect(lone.apply((connections, now) => connections.sendPacket(now, "nobody", new Uint8Array(20)))).toBe(
      "unknown-connection",
    );
    expect(lone.apply((connections, now) => connections.handlePunt(now, 999, new Uint8Array(20)))).toBe(
      "unknown-connection",
    );
    expect(lone.connections.stats().counters.unknown_connection).toBe(2);
  });
});

describe("time", () => {
  it("SN-119: a clock that runs backwards is taken for the latest it has been", () => {
    const lone = createLoneConnections("gateway");
    lone.apply((connections, now) => connections.upsertConnection(now, requestFor("client-1")));
    lone.apply((connections) => connections.upsertConnection(instant(5), requestFor("client-2")));
    expect(lone.connections.pollTimeout()).toBe(1_000_000 + 10_000);
  });

  it("SN-121: due at once while something waits to be polled, strictly later when nothing does", () => {
    const lone = createLoneConnections("gateway");
    lone.connections.upsertConnection(lone.now, requestFor("client-1"));
    expect(lone.connections.pollTimeout()).toBe(lone.now);
    expect(lone.connections.timeoutReason()).toBe("queued");
    lone.drain();
    expect(lone.connections.pollTimeout()).toBe(lone.now + 10_000);
    expect(lone.connections.timeoutReason()).toBe("candidates");
  });

  it("SN-125: says what it waits for", () => {
    const { lone } = nominated();
    expect(lone.connections.timeoutReason()).toBe("ice");
    const idle = createLoneConnections("gateway");
    expect(idle.connections.pollTimeout()).toBeUndefined();
    expect(idle.connections.timeoutReason()).toBeUndefined();
  });
});

describe("own addresses", () => {
  it("SN-137: invalid ones are no candidates, and alone they are none", () => {
    const lone = createLoneConnections("client");
    const bad = ["169.254.1.1", "fe80::1", "0.0.0.0"].map((text) => ({ address: ip(text), port: 1 }));
    lone.apply((connections, now) => connections.updateHostAddresses(now, bad));
    expect(
      lone.apply((connections, now) => connections.upsertConnection(now, requestFor("gateway-1"))).kind,
    ).toBe("no-relays");
  });

  it("SN-137: a new address is signalled for every connection, a gone one only forgotten for new ones", () => {
    const lone = createLoneConnections("client");
    for (const id of ["a", "b"])
      lone.apply((connections, now) => connections.upsertConnection(now, requestFor(id)));
    lone.events.length = 0;
    const other = { address: ip("192.0.2.99"), port: 52625 };
    lone.apply((connections, now) => connections.updateHostAddresses(now, [other]));
    expect(lone.events.map((event) => ("id" in event ? event.id : ""))).toEqual(["a", "b"]);
    expect(lone.connections.localCandidates("a")).toHaveLength(2);
    lone.apply((connections, now) => connections.upsertConnection(now, requestFor("c")));
    expect(lone.connections.localCandidates("c")).toHaveLength(1);
    expect(lone.connections.localCandidates("nobody")).toEqual([]);
  });
});

describe("logs", () => {
  it("SN-131, SN-134: creating, reusing and replacing name the peer and show no secret", () => {
    for (const [role, field] of [
      ["client", "gid"],
      ["gateway", "cid"],
    ] as const) {
      const lone = createLoneConnections(role);
      const request = requestFor("peer-1");
      lone.apply((connections, now) => connections.upsertConnection(now, request));
      lone.apply((connections, now) => connections.upsertConnection(now, request));
      lone.apply((connections, now) =>
        connections.upsertConnection(now, { ...request, presharedKey: new Uint8Array(32).fill(2) }),
      );
      const lines = lone.lines.filter(({ line }) => /ing$/.test(line));
      expect(lines.map(({ line }) => line)).toEqual(["info creating", "info reusing", "info replacing"]);
      for (const { fields } of lines)
        expect(fields).toMatchObject({ [field]: "peer-1", localFragment: "mine" });
      // Hashes of the passwords are for those who look for a mismatch.
      const withHashes = lone.lines.filter(({ fields }) => "localPasswordHash" in fields);
      expect(withHashes.map(({ line }) => line)).toEqual(Array(3).fill("debug credentials"));
      expect(JSON.stringify(lone.lines)).not.toContain(request.localCredentials.password);
      expect(JSON.stringify(lone.lines)).not.toContain(request.remoteCredentials.password);
    }
  });

  it("SN-103: strangers are worth one WARN a minute on a gateway, with a count; none on a client", () => {
    const stranger = new Uint8Array(92);
    stranger[0] = 2;
    const warnings = (lone: LoneConnections): readonly unknown[] =>
      lone.lines.filter(({ line }) => line.startsWith("warn")).map(({ fields }) => fields["more"]);
    const knock = (lone: LoneConnections, atMs: number): void => {
      lone.now = instant(1_000_000 + atMs);
      lone.apply((connections, now) =>
        connections.handleDatagram(now, { local: LOCAL, from: REMOTE, bytes: stranger }),
      );
    };
    const gateway = createLoneConnections("gateway");
    for (const atMs of [0, 1, 59_999, 60_000]) knock(gateway, atMs);
    expect(warnings(gateway)).toEqual([0, 2]);
    const client = createLoneConnections("client");
    knock(client, 0);
    expect(warnings(client)).toEqual([]);
  });

  it("SN-103: not for five seconds after the connection was closed", () => {
    const lone = createLoneConnections("gateway");
    lone.apply((connections, now) => connections.upsertConnection(now, requestFor("client-1")));
    const index = lone.connections.stats().connections[0]?.connectionIndex ?? 0;
    lone.apply((connections, now) => connections.removeConnection(now, { id: "client-1", reason: "test" }));
    const late = new Uint8Array(92);
    late[0] = 2;
    new DataView(late.buffer).setUint32(8, index * 256 + 1, true);
    for (const [atMs, count] of [
      [4_999, 0],
      [5_000, 1],
    ] as const) {
      lone.now = instant(1_000_000 + atMs);
      lone.apply((connections, now) =>
        connections.handleDatagram(now, { local: LOCAL, from: REMOTE, bytes: late }),
      );
      expect(lone.lines.filter(({ line }) => line.startsWith("warn"))).toHaveLength(count);
    }
  });
});
