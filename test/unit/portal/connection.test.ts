import { describe, expect, it } from "vitest";
import { ip } from "../../../src/base/index.ts";
import {
  CREATE_FLOW,
  candidates,
  connecting,
  createDriver,
  joined,
  LOGIN,
  type Open,
  REFUSED,
} from "./connection-driver.ts";

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
