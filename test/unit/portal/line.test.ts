import { describe, expect, it, vi } from "vitest";
import { instant } from "../../../src/base/index.ts";
import { clientChannel } from "../../../src/portal/protocol/index.ts";
import fc from "../../lib/property.ts";
import { CREATE_FLOW, candidates, connecting, joined } from "./connection-driver.ts";

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

  it("PT-34: a check sends one at once; answered within 5 s it changes nothing", () => {
    const driver = joined();
    driver.pass(3_000);
    driver.run((now) => driver.machine.check(now));
    expect(driver.sent("heartbeat")).toHaveLength(1);
    driver.pass(4_999);
    driver.reply("heartbeat");
    driver.pass(1);
    expect(driver.machine.state).toBe("joined");
    driver.pass(2_000);
    expect(driver.sent("heartbeat"), "PT §3: the others keep their times").toHaveLength(2);
  });

  it("PT-34: a check without an answer in 5 s ends the connection, whatever else comes", () => {
    const driver = joined();
    driver.run((now) => driver.machine.check(now));
    driver.pass(4_999);
    driver.text({ topic: "phoenix", event: "phx_reply", payload: { status: "ok", response: {} }, ref: 77 });
    expect(driver.machine.state).toBe("joined");
    driver.pass(1);
    expect(driver.eventsOf("hiccup")).toMatchObject([{ error: { kind: "heartbeats-unanswered" } }]);
  });

  it("PT-34: before the join is answered, or while it waits, a check changes nothing", () => {
    const driver = connecting();
    driver.run((now) => driver.machine.check(now));
    driver.join();
    expect(driver.machine.state).toBe("joined");
    driver.pass(9_000);
    expect(driver.machine.state).toBe("joined");
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

  it("PG-18: a defect in reading a message ends the connection, which is made anew", () => {
    const driver = joined();
    const spy = vi.spyOn(clientChannel, "parseMessage").mockImplementationOnce(() => {
      throw new Error("defect");
    });
    driver.text({ topic: "client", event: "init", payload: {} });
    spy.mockRestore();
    expect(driver.machine.counters.inputErrors).toBe(1);
    expect(driver.machine.state).toBe("waiting");
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
