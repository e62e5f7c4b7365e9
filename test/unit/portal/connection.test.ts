import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { instant, ip } from "../../../src/base/index.ts";
import {
  CREATE_FLOW,
  candidates,
  createDriver,
  type Driver,
  joined,
  LOGIN,
  type Open,
} from "./connection-driver.ts";

const REFUSED = { kind: "unreachable", code: "ECONNREFUSED" } as const;

function connecting(options: Parameters<typeof createDriver>[0] = {}): Driver {
  const driver = createDriver(options);
  driver.run((now) => driver.machine.connect(now, LOGIN));
  return driver;
}

describe("connecting", () => {
  it("PT-11, PT-20: opens the URL with its parameters, the key last", () => {
    const [open] = connecting().transmits;
    expect(open).toEqual({
      kind: "open",
      attempt: 1,
      url: "ws://192.0.2.1:8080/client/websocket?external_id=id-1&name=b%C3%BCro+1&public_key=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8%3D",
      addresses: [ip("192.0.2.1")],
      port: 8080,
    });
  });

  it("PT-20: does nothing while connecting with the same parameters", () => {
    const driver = connecting();
    driver.run((now) => driver.machine.connect(now, { ...LOGIN }));
    expect(driver.transmits).toHaveLength(1);
  });

  it("PT-20: drops the attempt when the key has changed", () => {
    const driver = connecting();
    driver.run((now) => driver.machine.connect(now, { ...LOGIN, publicKey: new Uint8Array(32) }));
    expect(driver.transmits.slice(1)).toMatchObject([
      { kind: "drop", attempt: 1 },
      { kind: "open", attempt: 2 },
    ]);
  });

  it("PT-20: closes a joined connection with 1000 and connects at once", () => {
    const driver = joined();
    driver.run((now) => driver.machine.reconnect(now));
    expect(driver.transmits.slice(-2)).toMatchObject([
      { kind: "close", attempt: 1, code: 1000 },
      { kind: "open", attempt: 2 },
    ]);
    expect(driver.machine.state).toBe("connecting");
  });

  it("PT-20: reconnect() before any connect() does nothing", () => {
    const driver = createDriver();
    driver.run((now) => driver.machine.reconnect(now));
    expect(driver.transmits).toEqual([]);
    expect(driver.machine.pollTimeout()).toBeUndefined();
  });

  it("PT §3: gives an attempt 15 s", () => {
    const driver = connecting();
    driver.pass(14_999);
    expect(driver.eventsOf("hiccup")).toEqual([]);
    driver.pass(1);
    expect(driver.eventsOf("hiccup")).toMatchObject([{ error: { kind: "connect-timeout" } }]);
    expect(driver.transmits.at(-1)).toEqual({ kind: "drop", attempt: 1 });
  });

  it("ignores late words of an old attempt", () => {
    const driver = connecting();
    driver.run((now) => driver.machine.connect(now, { ...LOGIN, name: "other" }));
    driver.run((now) => driver.machine.handleOpen(now, 1));
    expect(driver.machine.state).toBe("connecting");
    driver.join();
    driver.run((now) => driver.machine.handleClose(now, 1, 1006));
    expect(driver.machine.state).toBe("joined");
  });
});

describe("addresses", () => {
  it("PT-21: asks for the addresses of a name before it connects, and tries all at once", () => {
    const driver = connecting({ url: "wss://portal.example" });
    expect(driver.events).toEqual([{ kind: "resolve", host: "portal.example" }]);
    expect(driver.transmits).toEqual([]);
    const found = [ip("192.0.2.1"), ip("2001:db8::1")];
    driver.run((now) => driver.machine.handleAddresses(now, found));
    expect(driver.transmits).toMatchObject([{ kind: "open", addresses: found, port: 443 }]);
  });

  it("PT-21: keeps 8 addresses at most", () => {
    const driver = connecting({ url: "wss://portal.example" });
    const found = Array.from({ length: 9 }, (_, i) => ip(`192.0.2.${i}`));
    driver.run((now) => driver.machine.handleAddresses(now, found));
    expect((driver.transmits[0] as Open).addresses).toEqual(found.slice(0, 8));
  });

  it("PT-21: asks again 1 s after a name without addresses, without end and without back-off", () => {
    const driver = connecting({ url: "wss://portal.example" });
    for (let i = 1; i <= 60; i++) {
      driver.run((now) => driver.machine.handleAddresses(now, []));
      driver.pass(999);
      expect(driver.eventsOf("resolve")).toHaveLength(i);
      driver.pass(1);
      expect(driver.eventsOf("resolve")).toHaveLength(i + 1);
    }
    expect(driver.eventsOf("hiccup")).toEqual([]);
  });

  it("PT-21: resolves a name anew after all its addresses failed", () => {
    const driver = connecting({ url: "wss://portal.example" });
    driver.run((now) => driver.machine.handleAddresses(now, [ip("192.0.2.1")]));
    driver.fail(REFUSED);
    driver.pass(1000);
    expect(driver.eventsOf("resolve")).toHaveLength(2);
    expect(driver.transmits).toHaveLength(2);
  });

  it("PT-21: keeps the addresses of a name when something else failed", () => {
    const driver = connecting({ url: "wss://portal.example" });
    driver.run((now) => driver.machine.handleAddresses(now, [ip("192.0.2.1")]));
    driver.fail({ kind: "refused-upgrade", status: 503, body: "" });
    driver.pass(1000);
    expect(driver.eventsOf("resolve")).toHaveLength(1);
    expect(driver.transmits.at(-1)).toMatchObject({ kind: "open", attempt: 2 });
  });

  it("PT-21: an address in the URL never leaves the set", () => {
    const driver = connecting();
    driver.fail(REFUSED);
    driver.pass(1000);
    expect(driver.transmits.at(-1)).toMatchObject({ kind: "open", addresses: [ip("192.0.2.1")] });
    expect(driver.eventsOf("resolve")).toEqual([]);
  });
});

describe("joining", () => {
  it("PT-3, PT-8: joins with reference 0 as soon as the socket is open", () => {
    const driver = connecting();
    driver.open();
    expect(driver.transmits.at(-1)).toMatchObject({
      kind: "text",
      text: '{"topic":"client","event":"phx_join","payload":{},"ref":0}',
    });
    expect(driver.eventsOf("connected")).toEqual([]);
  });

  it("PT-4, PT-27: is connected when the empty reply to the join comes, not when the socket opens", () => {
    const driver = connecting();
    driver.join();
    expect(driver.eventsOf("connected")).toHaveLength(1);
    expect(driver.machine.state).toBe("joined");
  });

  it("PT-3: matches a reply whose reference is decimal text", () => {
    const driver = connecting();
    driver.open();
    driver.text({ topic: "client", event: "phx_reply", payload: { status: "ok", response: {} }, ref: "0" });
    expect(driver.machine.state).toBe("joined");
  });

  it.each([
    ["another reference", 1],
    ["no reference", null],
    ["text that is no number", "x"],
  ])("PT-3: does not take a reply with %s for the join's", (_, ref) => {
    const driver = connecting();
    driver.open();
    driver.text({ topic: "client", event: "phx_reply", payload: { status: "ok", response: {} }, ref });
    expect(driver.machine.state).toBe("joining");
  });

  it("PT-23: sends nothing but heartbeats and the join before the reply, then all in order", () => {
    const driver = connecting();
    driver.run((now) => driver.machine.send(now, CREATE_FLOW));
    driver.open();
    driver.run((now) => driver.machine.send(now, candidates(1)));
    expect(driver.sent("create_flow")).toEqual([]);
    driver.reply("phx_join");
    expect(driver.sent("create_flow")).toMatchObject([{ ref: 1 }]);
    expect(driver.sent("broadcast_ice_candidates")).toMatchObject([{ ref: 2 }]);
  });

  it("PT §3: waits 5 s for the reply to the join", () => {
    const driver = connecting();
    driver.open();
    driver.pass(4_999);
    expect(driver.eventsOf("hiccup")).toEqual([]);
    driver.pass(1);
    expect(driver.eventsOf("hiccup")).toMatchObject([{ error: { kind: "join-timeout" } }]);
  });

  it("PT-22: after a flap with the join outstanding, messages flow on the new connection", () => {
    const driver = connecting();
    driver.run((now) => driver.machine.send(now, CREATE_FLOW));
    driver.open();
    driver.run((now) => driver.machine.handleClose(now, 1, 1006));
    driver.pass(1000);
    driver.open();
    // The reference of the old join means nothing here; the new one has it again.
    expect(driver.sent("phx_join")).toMatchObject([{ ref: 0 }, { ref: 0 }]);
    driver.reply("phx_join");
    expect(driver.sent("create_flow")).toMatchObject([{ ref: 1 }]);
  });

  it("PT-28: an error reply to the join is fatal", () => {
    const driver = connecting();
    driver.open();
    driver.reply("phx_join", { status: "error", response: { reason: "disabled" } });
    expect(driver.eventsOf("fatal")).toEqual([
      { kind: "fatal", error: { kind: "login-failed", reason: "disabled" } },
    ]);
    expect(driver.machine.state).toBe("closed");
    expect(driver.machine.pollTimeout()).toBeUndefined();
  });

  it("PT-28: joins anew on the same connection after `unmatched topic`, and messages wait", () => {
    const driver = joined();
    driver.text({
      topic: "client",
      event: "phx_reply",
      payload: { status: "error", response: { reason: "unmatched topic" } },
      ref: 77,
    });
    expect(driver.sent("phx_join")).toHaveLength(2);
    driver.run((now) => driver.machine.send(now, CREATE_FLOW));
    expect(driver.sent("create_flow")).toEqual([]);
    driver.reply("phx_join");
    expect(driver.sent("create_flow")).toHaveLength(1);
    expect(driver.transmits.filter(({ kind }) => kind === "open")).toHaveLength(1);
  });

  it("PT-28: any other error reply changes nothing", () => {
    const driver = joined();
    driver.text({
      topic: "client",
      event: "phx_reply",
      payload: { status: "error", response: { reason: "unknown_message" } },
      ref: 77,
    });
    expect(driver.sent("phx_join")).toHaveLength(1);
    expect(driver.machine.state).toBe("joined");
  });
});

describe("heartbeats", () => {
  it("PT §3: are sent every 10 s, whatever else is sent", () => {
    const driver = joined();
    driver.pass(9_000);
    driver.run((now) => driver.machine.send(now, CREATE_FLOW));
    driver.pass(999);
    expect(driver.sent("heartbeat")).toEqual([]);
    driver.pass(1);
    expect(driver.sent("heartbeat")).toMatchObject([{ topic: "phoenix", payload: {} }]);
    driver.reply("heartbeat");
    driver.pass(10_000);
    expect(driver.sent("heartbeat")).toHaveLength(2);
  });

  it("PT §3: three may be unanswered, the fourth ends the connection", () => {
    const driver = joined();
    driver.pass(39_999);
    expect(driver.sent("heartbeat")).toHaveLength(3);
    expect(driver.machine.state).toBe("joined");
    driver.pass(1);
    expect(driver.eventsOf("hiccup")).toMatchObject([{ error: { kind: "heartbeats-unanswered" } }]);
    expect(driver.transmits.at(-1)).toEqual({ kind: "drop", attempt: 1 });
  });

  it("PT §3: an answered one makes room again", () => {
    const driver = joined();
    driver.pass(30_000);
    driver.reply("heartbeat");
    driver.pass(10_000);
    expect(driver.machine.state).toBe("joined");
    driver.pass(10_000);
    expect(driver.machine.state).toBe("waiting");
  });

  it("PT-24: are sent while a join is outstanding, too", () => {
    const driver = joined();
    driver.pass(7_000);
    driver.text({
      topic: "client",
      event: "phx_reply",
      payload: { status: "error", response: { reason: "unmatched topic" } },
      ref: 77,
    });
    driver.pass(3_000);
    expect(driver.sent("phx_join")).toHaveLength(2);
    expect(driver.sent("heartbeat")).toHaveLength(1);
  });

  it("counts the heartbeats of a sleep: a tick 40 s late connects anew at once", () => {
    const driver = joined();
    driver.jump(40_000);
    expect(driver.machine.state).toBe("waiting");
  });
});

describe("queues", () => {
  it("PT-24: hands out no texts while the socket is full, and all of them afterwards", () => {
    const driver = joined();
    driver.run((now) => driver.machine.handleWritable(now, 1, false));
    driver.run((now) => driver.machine.send(now, CREATE_FLOW));
    driver.pass(10_000);
    expect(driver.sent("create_flow")).toEqual([]);
    driver.run((now) => driver.machine.handleWritable(now, 1, true));
    // Heartbeats first, although they came later.
    expect(driver.transmits.slice(-2).map((t) => t.kind === "text" && t.frame.kind)).toEqual([
      "heartbeat",
      "message",
    ]);
  });

  it("PT-25: a message that the socket did not take goes back to the front, and the connection is broken", () => {
    const driver = joined();
    driver.run((now) => driver.machine.send(now, candidates(1)));
    const rejected = driver.transmits.at(-1);
    driver.run((now) => driver.machine.handleWritable(now, 1, false));
    driver.run((now) => driver.machine.send(now, candidates(2)));
    driver.run((now) => rejected && driver.machine.handleRejected(now, rejected));
    expect(driver.machine.state).toBe("waiting");
    driver.pass(1000);
    driver.join();
    const sent = driver.sent("broadcast_ice_candidates").map(({ payload }) => payload);
    expect(sent.slice(1)).toMatchObject([{ candidates: ["c1"] }, { candidates: ["c2"] }]);
  });

  it("PT-25: a join that the socket did not take does not become a message", () => {
    const driver = connecting();
    driver.open();
    const rejected = driver.transmits.at(-1);
    driver.run((now) => rejected && driver.machine.handleRejected(now, rejected));
    driver.pass(1000);
    driver.join();
    expect(driver.machine.state).toBe("joined");
    expect(driver.sent("phx_join")).toHaveLength(2);
  });

  it("PT-26: keeps 32 messages and drops the oldest, counted", () => {
    const driver = connecting();
    for (let i = 0; i < 33; i++) driver.run((now) => driver.machine.send(now, candidates(i)));
    expect(driver.machine.counters.droppedOverflow).toBe(1);
    driver.join();
    const sent = driver.sent("broadcast_ice_candidates");
    expect(sent).toHaveLength(32);
    expect(sent[0]).toMatchObject({ payload: { candidates: ["c1"] } });
  });

  it("PT-26: an equal message waits only once, but may be sent again later", () => {
    const driver = connecting();
    driver.run((now) => driver.machine.send(now, CREATE_FLOW));
    driver.run((now) => driver.machine.send(now, { ...CREATE_FLOW }));
    driver.join();
    expect(driver.sent("create_flow")).toHaveLength(1);
    driver.run((now) => driver.machine.send(now, CREATE_FLOW));
    expect(driver.sent("create_flow")).toHaveLength(2);
  });

  it.each([
    [15_000, 1, 0],
    [15_001, 0, 1],
  ])("PT-26: a message %i ms old is sent %i times and dropped %i times", (age, sent, dropped) => {
    const driver = joined();
    driver.run((now) => driver.machine.handleClose(now, 1, 1006));
    driver.run((now) => driver.machine.send(now, CREATE_FLOW));
    driver.now = instant(driver.now + age);
    driver.run((now) => driver.machine.handleTimeout(now));
    driver.join();
    expect(driver.sent("create_flow")).toHaveLength(sent);
    expect(driver.machine.counters.droppedTooOld).toBe(dropped);
  });
});

describe("frames", () => {
  it("PT-28: hands a message to the tunnel", () => {
    const driver = joined();
    driver.text({ topic: "client", event: "resource_deleted", payload: CREATE_FLOW.rid, ref: null });
    expect(driver.eventsOf("message")).toMatchObject([
      { message: { kind: "resource-deleted", rid: CREATE_FLOW.rid } },
    ]);
  });

  it.each([
    ["no JSON", "{"],
    ["no object", "[]"],
    ["null", "null"],
    ["no event", '{"topic":"client"}'],
    ["a topic that is no text", '{"topic":1,"event":"init"}'],
    ["a reference that is an object", '{"topic":"client","event":"x","ref":{}}'],
    ["30,000 levels", `${"[".repeat(30_000)}${"]".repeat(30_000)}`],
  ])("PT-6: skips a frame with %s", (_, text) => {
    const driver = joined();
    driver.run((now) => driver.machine.handleText(now, 1, text));
    expect(driver.machine.counters.badMessages).toBe(1);
    expect(driver.machine.state).toBe("joined");
  });

  it("PT-6: counts an unknown event and keeps the connection", () => {
    const driver = joined();
    for (const event of ["prepare_connection", "constructor", "__proto__"]) {
      driver.text({ topic: "client", event, payload: {} });
    }
    expect(driver.machine.counters.unknownEvents).toBe(3);
    expect(driver.machine.state).toBe("joined");
    expect(driver.eventsOf("message")).toEqual([]);
  });

  it("PT-6: skips a known event that lacks a member", () => {
    const driver = joined();
    driver.text({ topic: "client", event: "init", payload: { interface: { ipv4: "100.64.0.1" } } });
    expect(driver.machine.counters.badMessages).toBe(1);
    expect(driver.eventsOf("message")).toEqual([]);
  });

  it("PT-6: ignores binary frames, counted", () => {
    const driver = joined();
    driver.run((now) => driver.machine.handleBinary(now, 1));
    expect(driver.machine.counters.badMessages).toBe(1);
    expect(driver.machine.state).toBe("joined");
  });

  it.each(["phx_close", "phx_error"])("PT-28: %s on the own topic is transient", (event) => {
    const driver = joined();
    driver.text({ topic: "client", event, payload: {} });
    expect(driver.eventsOf("hiccup")).toMatchObject([{ error: { kind: "channel-closed", event } }]);
  });

  it("PT-28: phx_close on another topic changes nothing", () => {
    const driver = joined();
    driver.text({ topic: "phoenix", event: "phx_close", payload: {} });
    expect(driver.machine.state).toBe("joined");
  });

  it("PT-28: disconnect because the token expired is fatal, for another reason it is not", () => {
    const expired = joined();
    expired.text({ topic: "client", event: "disconnect", payload: { reason: "token_expired" } });
    expect(expired.eventsOf("fatal")).toMatchObject([{ error: { kind: "invalid-token" } }]);
    const other = joined();
    other.text({ topic: "client", event: "disconnect", payload: { reason: "maintenance" } });
    expect(other.eventsOf("hiccup")).toMatchObject([
      { error: { kind: "disconnected", reason: "maintenance" } },
    ]);
  });

  it("PT-28: after close code 4000 it waits 10 s and up to 10 s more", () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const driver = joined({ seed });
        driver.run((now) => driver.machine.handleClose(now, 1, 4000));
        const [hiccup] = driver.eventsOf("hiccup");
        expect(hiccup?.error).toEqual({ kind: "replaced" });
        expect(hiccup?.pauseMs).toBeGreaterThanOrEqual(10_000);
        expect(hiccup?.pauseMs).toBeLessThan(20_000);
      }),
      { numRuns: 100 },
    );
  });
});

describe("back-off", () => {
  it("PT §3: before the first join it tries every second and gives up 15 s after the first error", () => {
    const driver = connecting();
    for (let i = 0; i < 15; i++) {
      driver.fail(REFUSED);
      expect(driver.eventsOf("hiccup").at(-1)).toMatchObject({ pauseMs: 1000, maxElapsedMs: 15_000 });
      driver.pass(1000);
    }
    expect(driver.eventsOf("fatal")).toEqual([]);
    driver.fail(REFUSED);
    expect(driver.eventsOf("fatal")).toEqual([
      { kind: "fatal", error: { kind: "max-retries", lastError: REFUSED } },
    ]);
  });

  it("PT-27: sockets that open but never join do not reset the give-up time", () => {
    const driver = connecting();
    for (let i = 0; i < 4; i++) {
      driver.open();
      driver.pass(6_000);
    }
    // Join time-outs at 5, 11, 17 and 23 s; the last is 18 s after the first.
    expect(driver.eventsOf("fatal")).toMatchObject([{ error: { kind: "max-retries" } }]);
  });

  it("PT §3: after a join the pauses begin at 500 ms and grow by half, ± 50 %, to 60 s", () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const driver = joined({ seed });
        driver.run((now) => driver.machine.handleClose(now, 1, 1006));
        for (let i = 0; i < 14; i++) {
          const pauseMs = driver.eventsOf("hiccup").at(-1)?.pauseMs ?? 0;
          const mean = Math.min(60_000, 500 * 1.5 ** i);
          expect(pauseMs).toBeGreaterThanOrEqual(Math.floor(mean * 0.5));
          expect(pauseMs).toBeLessThanOrEqual(Math.ceil(mean * 1.5));
          driver.pass(pauseMs);
          driver.fail(REFUSED);
        }
        expect(driver.eventsOf("fatal")).toEqual([]);
      }),
      { numRuns: 50 },
    );
  });

  it("PT-27: a join resets the pauses", () => {
    const driver = joined();
    driver.run((now) => driver.machine.handleClose(now, 1, 1006));
    for (let i = 0; i < 8; i++) {
      driver.pass(driver.eventsOf("hiccup").at(-1)?.pauseMs ?? 0);
      driver.fail(REFUSED);
    }
    const grownMs = driver.eventsOf("hiccup").at(-1)?.pauseMs ?? 0;
    expect(grownMs).toBeGreaterThan(750);
    driver.pass(grownMs);
    driver.join();
    driver.run((now) => driver.machine.handleClose(now, driver.attempt, 1006));
    expect(driver.eventsOf("hiccup").at(-1)?.pauseMs).toBeLessThanOrEqual(750);
  });

  it("PT §3: a client never gives up after its first join, a gateway does after 24 h", () => {
    const day = 24 * 3_600_000;
    for (const [maxPartitionMs, ends] of [
      [undefined, false],
      [day, true],
    ] as const) {
      const driver = joined(maxPartitionMs === undefined ? {} : { maxPartitionMs });
      driver.run((now) => driver.machine.handleClose(now, 1, 1006));
      driver.now = instant(driver.now + day - 1);
      driver.run((now) => driver.machine.handleTimeout(now));
      driver.fail(REFUSED);
      expect(driver.eventsOf("fatal")).toEqual([]);
      driver.pass(90_001);
      driver.fail(REFUSED);
      expect(driver.eventsOf("fatal")).toHaveLength(ends ? 1 : 0);
    }
  });

  it("PT-20: connect() resets the give-up time", () => {
    const driver = connecting();
    driver.fail(REFUSED);
    driver.pass(900);
    driver.now = instant(driver.now + 14_100);
    driver.run((now) => driver.machine.connect(now, LOGIN));
    driver.fail(REFUSED);
    expect(driver.eventsOf("fatal")).toEqual([]);
  });

  it.each([
    ["7", 7000],
    ["0", 0],
    ["86400", 3_600_000],
    ["Tue, 27 Jan 2026 12:00:30 GMT", 30_000],
    ["Tue, 27 Jan 2026 11:00:00 GMT", 0],
    ["-1", 1000],
    ["1.5", 1000],
    ["", 1000],
    ["soon", 1000],
    ["Tue, 27 Foo 2026 12:00:30 GMT", 1000],
  ])("PT-30: Retry-After %j makes the pause %i ms", (retryAfter, pauseMs) => {
    const driver = connecting();
    driver.fail({ kind: "refused-upgrade", status: 503, retryAfter, body: "" });
    expect(driver.eventsOf("hiccup")).toMatchObject([{ pauseMs, error: { kind: "http", status: 503 } }]);
  });
});

describe("closing", () => {
  it("PT §3: closes with 1000 and is closed when the answer comes", () => {
    const driver = joined();
    driver.run((now) => driver.machine.close(now));
    expect(driver.transmits.at(-1)).toEqual({ kind: "close", attempt: 1, code: 1000 });
    expect(driver.machine.state).toBe("closing");
    driver.run((now) => driver.machine.handleClose(now, 1, 1000));
    expect(driver.eventsOf("closed")).toHaveLength(1);
    expect(driver.machine.pollTimeout()).toBeUndefined();
  });

  it("PT §3: waits 2 s for it", () => {
    const driver = joined();
    driver.run((now) => driver.machine.close(now));
    driver.pass(1_999);
    expect(driver.machine.state).toBe("closing");
    driver.pass(1);
    expect(driver.machine.state).toBe("closed");
    expect(driver.transmits.at(-1)).toEqual({ kind: "drop", attempt: 1 });
  });

  it.each([
    ["connecting", () => connecting()],
    ["resolving", () => connecting({ url: "ws://portal.example" })],
    [
      "waiting",
      () => {
        const driver = connecting();
        driver.fail(REFUSED);
        return driver;
      },
    ],
  ])("PT §3: is closed at once while %s", (state, make) => {
    const driver = make();
    expect(driver.machine.state).toBe(state);
    driver.run((now) => driver.machine.close(now));
    expect(driver.eventsOf("closed")).toHaveLength(1);
    expect(driver.machine.pollTimeout()).toBeUndefined();
  });
});

describe("the poll law", () => {
  /** Any input, chosen by a number, at any time. */
  const step = fc.tuple(fc.integer({ min: 0, max: 11 }), fc.integer({ min: 0, max: 20_000 }));

  it("style §7: after a tick the next wake lies ahead, and an early tick changes nothing", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const driver = createDriver({ maxPartitionMs: 60_000 });
        for (const [input, ms] of steps) {
          driver.now = instant(driver.now + ms);
          driver.run((now) => driver.machine.handleTimeout(now));
          const wake = driver.machine.pollTimeout();
          if (wake !== undefined) expect(wake).toBeGreaterThan(driver.now);
          const before = [driver.transmits.length, driver.events.length, driver.machine.state];
          driver.run((now) => driver.machine.handleTimeout(now));
          expect([driver.transmits.length, driver.events.length, driver.machine.state]).toEqual(before);
          expect(driver.machine.pollTimeout()).toBe(wake);
          INPUTS[input]?.(driver);
        }
      }),
      { numRuns: 400 },
    );
  });

  const INPUTS: readonly ((driver: Driver) => void)[] = [
    (driver) => driver.run((now) => driver.machine.connect(now, LOGIN)),
    (driver) => driver.run((now) => driver.machine.reconnect(now)),
    (driver) => driver.open(),
    (driver) => driver.open(),
    (driver) => driver.reply("phx_join"),
    (driver) => driver.reply("heartbeat"),
    (driver) => driver.fail(REFUSED),
    (driver) => driver.run((now) => driver.machine.handleClose(now, driver.attempt, 1006)),
    (driver) => driver.run((now) => driver.machine.send(now, candidates(driver.now))),
    (driver) => driver.run((now) => driver.machine.handleWritable(now, driver.attempt, driver.now % 2 === 0)),
    (driver) => driver.run((now) => driver.machine.close(now)),
    (driver) => {
      const last = driver.transmits.at(-1);
      if (last !== undefined) driver.run((now) => driver.machine.handleRejected(now, last));
    },
  ];

  it("style §7: while joined, one late tick says what many on time say", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 39_999 }), (ms) => {
        const [late, often] = [joined(), joined()];
        late.jump(ms);
        often.pass(ms);
        expect(late.transmits).toEqual(often.transmits);
        expect(late.machine.pollTimeout()).toBe(often.machine.pollTimeout());
      }),
      { numRuns: 100 },
    );
  });
});
