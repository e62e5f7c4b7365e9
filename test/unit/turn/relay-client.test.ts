import { describe, expect, it } from "vitest";
import { instant, ip } from "../../../src/base/index.ts";
import { encodeFrame, toXorAddress } from "../../../src/stun/index.ts";
import { parseTurn } from "../../../src/turn/index.ts";
import {
  CREDENTIALS,
  createLoneRelayClient,
  KEY,
  LOCAL4,
  LOCAL6,
  type LoneRelayClient,
  MAPPED4,
  NONCE,
  PEER,
  RELAYED4,
  RELAYED6,
  SERVER4,
  SERVER6,
  START,
  texts,
} from "./lone-relay-client.ts";

const MINUTE = 60_000;
const utf8 = (text: string) => new TextEncoder().encode(text);

function active(): LoneRelayClient {
  return createLoneRelayClient().activate();
}

describe("requests of a relay client", () => {
  it("RL-82: are sent at 0, 1, 2.5 and 4.75 s, byte by byte the same, and given up at 8.125 s", () => {
    const lone = createLoneRelayClient({ servers: { v4: SERVER4 } });
    lone.pass(8_124);
    expect(lone.times("binding")).toEqual([0, 1_000, 2_500, 4_750]);
    expect(new Set(lone.sent.map(({ hex }) => hex)).size).toBe(1);
    expect(lone.machine.state()).toBe("probing");
    lone.pass(1);
    expect(lone.machine.state()).toBe("freed");
    expect(lone.machine.freeReason()).toBe("no-response");
    expect(lone.machine.pollTimeout()).toBeUndefined();
  });

  it("RL-82, SN-122: a late tick sends once, and the next time counts from then", () => {
    const lone = createLoneRelayClient({ servers: { v4: SERVER4 } });
    lone.jump(3_600_000);
    expect(lone.count("binding")).toBe(2);
    lone.pass(1_499);
    expect(lone.count("binding")).toBe(2);
    lone.pass(1);
    expect(lone.count("binding")).toBe(3);
  });

  it("RL-82: a request that was authenticated again has a new id and a fresh schedule", () => {
    const lone = createLoneRelayClient();
    lone.succeed(lone.last("binding"), { mappedAddress: MAPPED4 });
    lone.pass(2_600);
    lone.refuse(lone.last("allocate"), 401, NONCE);
    const since = lone.now;
    lone.pass(4_800);
    expect(lone.times("allocate", since)).toEqual([0, 1_000, 2_500, 4_750]);
    expect(new Set(lone.sent.filter(({ method }) => method === "allocate").map(({ hex }) => hex)).size).toBe(
      2,
    );
  });

  it("RL-85: Binding, Allocate, Refresh and ChannelBind carry what they shall, and nothing else", () => {
    const lone = active();
    const [binding] = lone.sent;
    expect(binding?.message.fields).toEqual({ software: "postern/test" });
    expect(lone.last("allocate").message.fields).toEqual({
      requestedTransport: 17,
      additionalFamily: 2,
      software: "postern/test",
      username: utf8(CREDENTIALS.username),
      realm: utf8("firezone"),
    });
    lone.run((machine, now) => machine.refresh(now));
    expect(Object.keys(lone.last("refresh").message.fields)).toEqual(["software", "username", "realm"]);
    lone.run((machine, now) => machine.close(now));
    expect(Object.keys(lone.last("refresh").message.fields)).toEqual([
      "lifetimeSeconds",
      "software",
      "username",
      "realm",
    ]);
    expect(lone.sent.every(({ message }) => message.frame.fingerprintOffset === undefined)).toBe(true);
  });

  it("RL-84: the round trip is smoothed over answers to requests that were sent once", () => {
    const lone = createLoneRelayClient();
    expect(lone.machine.rttMs()).toBeUndefined();
    lone.pass(40);
    lone.succeed(lone.last("binding"), { mappedAddress: MAPPED4 });
    expect(lone.machine.rttMs()).toBe(40);
    lone.pass(120);
    lone.refuse(lone.last("allocate"), 438, NONCE);
    expect(lone.machine.rttMs()).toBe((7 * 40 + 120) / 8);
    lone.pass(1_500);
    lone.succeed(lone.last("allocate"), { relayedAddresses: [RELAYED4], lifetimeSeconds: 600 });
    expect(lone.machine.rttMs()).toBe((7 * 40 + 120) / 8);
  });
});

describe("the active socket", () => {
  it("RL-80: the family that answers first wins; the other one only adds candidates", () => {
    const lone = createLoneRelayClient();
    expect(lone.sent.map(({ to }) => to)).toEqual([SERVER4, SERVER6]);
    const [v4, v6] = lone.sent;
    if (v4 === undefined || v6 === undefined) throw new Error("two requests");
    lone.succeed(v6, { mappedAddress: LOCAL6 });
    expect(lone.machine.activeSocket()).toEqual(SERVER6);
    expect(lone.last("allocate").to).toEqual(SERVER6);
    lone.succeed(v4, { mappedAddress: MAPPED4 });
    expect(lone.machine.activeSocket()).toEqual(SERVER6);
    expect(lone.count("allocate")).toBe(1);
    expect(texts(lone.events)).toEqual([
      "added host [2001:db8:1::1]:52625",
      "added host 192.0.2.1:52625",
      "added srflx 203.0.113.1:1024",
    ]);
  });

  it("RL-83: silence of the other family's probe changes nothing, silence of the socket in use ends it", () => {
    const lone = active();
    lone.pass(8_125);
    expect(lone.times("binding")).toEqual([0, 0, 1_000, 2_500, 4_750]);
    expect(lone.machine.state()).toBe("active");
    lone.pass(25_000 - 8_125 + 8_124);
    expect(lone.machine.state()).toBe("active");
    lone.pass(1);
    expect(lone.machine.freeReason()).toBe("no-response");
    expect(texts(lone.events).slice(-2)).toEqual([
      "invalidated relay 198.51.100.7:50000",
      "invalidated relay [2001:db8::7]:50000",
    ]);
  });

  it("RL-83: a relay that stops answering while allocating is freed", () => {
    const lone = createLoneRelayClient();
    lone.succeed(lone.last("binding"), { mappedAddress: LOCAL6 });
    lone.pass(8_125);
    expect(lone.machine.freeReason()).toBe("no-response");
  });

  it("RL-81: the reason is shown only after the events were taken", () => {
    const { machine } = createLoneRelayClient().activate();
    machine.handleTimeout(instant(START + 25_000));
    for (const ms of [1_000, 2_500, 4_750, 8_125]) machine.handleTimeout(instant(START + 25_000 + ms));
    expect(machine.state()).toBe("freed");
    expect(machine.freeReason()).toBeUndefined();
    expect(machine.pollEvent()).toMatchObject({ kind: "invalidated" });
    expect(machine.freeReason()).toBeUndefined();
    machine.pollEvent();
    expect(machine.freeReason()).toBe("no-response");
  });
});

describe("candidates", () => {
  it("RL-107: host and reflexive from Binding, relayed from Allocate, one each per family", () => {
    const lone = active();
    expect(texts(lone.events)).toEqual([
      "added host 192.0.2.1:52625",
      "added srflx 203.0.113.1:1024",
      "added relay 198.51.100.7:50000",
      "added relay [2001:db8::7]:50000",
    ]);
    expect(lone.machine.candidates().map(({ kind, base }) => [kind, base])).toEqual([
      ["host", LOCAL4],
      ["srflx", LOCAL4],
      ["relay", RELAYED4],
      ["relay", RELAYED6],
    ]);
    expect(lone.machine.relayed(4)).toEqual(RELAYED4);
    expect(lone.machine.relayed(16)).toEqual(RELAYED6);
    expect(lone.machine.ownsRelayed(RELAYED6)).toBe(true);
    expect(lone.machine.ownsRelayed({ ...RELAYED4, port: 1 })).toBe(false);
  });

  it("RL-107: no reflexive candidate without a NAT, none of an address that is no candidate", () => {
    const lone = createLoneRelayClient();
    lone.succeed(lone.last("binding"), { mappedAddress: LOCAL6 });
    expect(texts(lone.events)).toEqual(["added host [2001:db8:1::1]:52625"]);
    const [v4] = lone.sent;
    if (v4 === undefined) throw new Error("no request");
    lone.succeed(v4, { mappedAddress: { address: ip("224.0.0.1"), port: 9 } });
    expect(texts(lone.events)).toEqual(["added host [2001:db8:1::1]:52625", "added host 192.0.2.1:52625"]);
  });

  it("RL-107: a relayed loopback address is none, except in tests", () => {
    const relayed = [{ address: ip("127.0.0.1"), port: 50_000 }];
    for (const acceptsLoopback of [false, true]) {
      const lone = createLoneRelayClient({ acceptsLoopback });
      lone.succeed(lone.last("binding"), { mappedAddress: LOCAL6 });
      lone.succeed(lone.last("allocate"), { relayedAddresses: relayed, lifetimeSeconds: 600 });
      expect(lone.machine.state()).toBe(acceptsLoopback ? "active" : "suspended");
    }
  });

  it("RL-108: a changed reflexive address is added, and the old one is not withdrawn", () => {
    const lone = active();
    lone.pass(25_000);
    lone.events.length = 0;
    const moved = { address: ip("203.0.113.77"), port: 9 };
    const local = { address: ip("192.0.2.200"), port: 52625 };
    lone.succeed(lone.last("binding"), { mappedAddress: moved }, { local });
    expect(texts(lone.events)).toEqual(["added host 192.0.2.200:52625", "added srflx 203.0.113.77:9"]);
    lone.pass(25_000);
    lone.events.length = 0;
    lone.succeed(lone.last("binding"), { mappedAddress: moved }, { local });
    expect(lone.events).toEqual([]);
  });
});

describe("the life of an allocation", () => {
  it("RL-87: is refreshed at half its life, once, and then again from the answer", () => {
    const lone = active();
    lone.keepAnswering();
    lone.pass(5 * MINUTE - 1);
    expect(lone.count("refresh")).toBe(0);
    lone.pass(1);
    expect(lone.count("refresh")).toBe(1);
    lone.succeed(lone.last("refresh"), { lifetimeSeconds: 1_200 });
    lone.pass(10 * MINUTE - 1);
    expect(lone.count("refresh")).toBe(1);
    lone.pass(1);
    expect(lone.count("refresh")).toBe(2);
  });

  it("RL-87: a refused Refresh is tried again at three quarters, and never again before the end", () => {
    const lone = active();
    lone.keepAnswering();
    lone.pass(5 * MINUTE);
    lone.refuse(lone.last("refresh"), 500);
    lone.pass(2.5 * MINUTE - 1);
    expect(lone.count("refresh")).toBe(1);
    lone.pass(1);
    expect(lone.count("refresh")).toBe(2);
    lone.refuse(lone.last("refresh"), 500);
    lone.pass(2.5 * MINUTE - 1);
    expect(lone.count("refresh")).toBe(2);
    expect(lone.count("allocate")).toBe(1);
    lone.events.length = 0;
    lone.pass(1);
    expect(lone.count("allocate")).toBe(2);
    expect(texts(lone.events)[0]).toBe("invalidated relay 198.51.100.7:50000");
  });

  it("RL-86: less than a minute counts as a minute; no lifetime or address is an error", () => {
    const lone = createLoneRelayClient();
    lone.succeed(lone.last("binding"), { mappedAddress: LOCAL6 });
    lone.succeed(lone.last("allocate"), { relayedAddresses: [RELAYED4], lifetimeSeconds: 1 });
    lone.pass(29_999);
    expect(lone.count("refresh")).toBe(0);
    lone.pass(1);
    expect(lone.count("refresh")).toBe(1);
    for (const fields of [{ relayedAddresses: [RELAYED4] }, { lifetimeSeconds: 600 }]) {
      const bad = createLoneRelayClient();
      bad.succeed(bad.last("binding"), { mappedAddress: LOCAL6 });
      bad.succeed(bad.last("allocate"), fields);
      expect(bad.machine.state()).toBe("suspended");
    }
  });

  it("RL-3: an answer with an unknown mandatory attribute is an error", () => {
    const lone = createLoneRelayClient();
    lone.succeed(lone.last("binding"), { mappedAddress: LOCAL6 });
    const { method, transactionId } = lone.last("allocate").message.frame;
    const answer = (type: number) => {
      const into = new Uint8Array(200);
      const attributes = [
        { type: 0x0016, value: toXorAddress(RELAYED4, transactionId) },
        { type: 0x000d, value: Uint8Array.of(0, 0, 2, 88) },
        { type, value: new Uint8Array(0) },
      ];
      const content = { method, class: "success", transactionId, attributes } as const;
      const message = parseTurn(into.slice(0, encodeFrame(into, content, { key: KEY })));
      if (!message.ok) throw new Error(message.reason);
      lone.run((client, now) =>
        client.handleStun(now, { from: SERVER6, local: LOCAL6, message: message.value }),
      );
      return lone.machine.state();
    };
    expect(answer(0x7000)).toBe("suspended");
  });

  it("RL-88: a Binding every 25 s, unless data was sent and anything received since", () => {
    const client = active();
    client.run((machine, now) => machine.bindChannel(now, PEER));
    client.pass(10);
    client.succeed(client.last("bind"), {});
    const bindings = client.count("binding");
    client.pass(24_989);
    expect(client.count("binding")).toBe(bindings + 3);
    client.pass(1);
    // Something was received, nothing sent: asked.
    expect(client.count("binding")).toBe(bindings + 4);
    client.succeed(client.last("binding"), { mappedAddress: MAPPED4 });
    client.pass(1_000);
    client.run((machine, now) => machine.noteChannelDataSent(now, 0x4000));
    client.run((machine, now) => machine.peerOf(now, 0x4000));
    client.pass(24_000);
    expect(client.count("binding")).toBe(bindings + 4);
    client.run((machine, now) => machine.noteChannelDataSent(now, 0x4000));
    client.pass(25_000);
    expect(client.count("binding")).toBe(bindings + 5);
  });

  it("RL-208: asked whether it is alive, it sends one Binding request, unless one is in flight", () => {
    const client = active();
    client.pass(10_000);
    const bindings = client.count("binding");
    client.run((machine, now) => machine.checkAlive(now));
    client.run((machine, now) => machine.checkAlive(now));
    expect(client.count("binding")).toBe(bindings + 1);
    const asked = client.machine.silentSince();
    client.pass(500);
    expect(client.machine.silentSince()).toBe(asked);
    client.succeed(client.last("binding"), { mappedAddress: MAPPED4 });
    expect(client.machine.silentSince()).toBeUndefined();
  });

  it("RL-89: refresh on demand is one request; without answer within 1 s the relay is gone", () => {
    const lone = active();
    lone.pass(10_000);
    lone.run((machine, now) => machine.refresh(now));
    lone.run((machine, now) => machine.refresh(now));
    lone.pass(999);
    expect(lone.count("refresh")).toBe(1);
    expect(lone.machine.state()).toBe("active");
    lone.pass(1);
    expect(lone.count("refresh")).toBe(1);
    expect(lone.machine.freeReason()).toBe("no-response");
  });

  it("RL-89, RL-82: a nonce that is stale gives it one more second", () => {
    const lone = active();
    lone.run((machine, now) => machine.refresh(now));
    lone.pass(900);
    lone.refuse(lone.last("refresh"), 438, NONCE);
    lone.pass(999);
    expect(lone.count("refresh")).toBe(2);
    expect(lone.machine.state()).toBe("active");
    lone.succeed(lone.last("refresh"), { lifetimeSeconds: 600 });
    lone.pass(10_000);
    expect(lone.machine.state()).toBe("active");
  });

  it("RL-89: takes the place of a Refresh in flight; nothing happens while allocating", () => {
    const lone = active();
    lone.keepAnswering();
    lone.pass(5 * MINUTE);
    lone.run((machine, now) => machine.refresh(now));
    expect(lone.count("refresh")).toBe(2);
    lone.pass(1_000);
    expect(lone.count("refresh")).toBe(2);
    const allocating = createLoneRelayClient();
    allocating.succeed(allocating.last("binding"), { mappedAddress: LOCAL6 });
    const before = allocating.sent.length;
    allocating.run((machine, now) => machine.refresh(now));
    expect(allocating.sent.length).toBe(before);
  });

  it("RL-121: verifying asks what the relay sees of us and knows of the allocation; silence says nothing", () => {
    const lone = active();
    const [bindings, refreshes] = [lone.count("binding"), lone.count("refresh")];
    lone.run((machine, now) => machine.verify(now));
    lone.run((machine, now) => machine.verify(now));
    expect([lone.count("binding") - bindings, lone.count("refresh") - refreshes]).toEqual([1, 1]);
    lone.pass(9_000);
    expect(lone.count("refresh") - refreshes).toBe(4);
    expect(lone.machine.state()).toBe("active");
    // Asked again, it does not know the socket that we have now.
    lone.run((machine, now) => machine.verify(now));
    const allocations = lone.count("allocate");
    lone.refuse(lone.last("refresh"), 437);
    expect(lone.machine.state()).toBe("allocating");
    expect(lone.count("allocate")).toBe(allocations + 1);
  });

  it("RL-81: a suspended relay is asked again after 30 s, doubling to 300 s", () => {
    const lone = createLoneRelayClient();
    lone.succeed(lone.last("binding"), { mappedAddress: LOCAL6 });
    const waits: number[] = [];
    for (let i = 0; i < 6; i++) {
      lone.refuse(lone.last("allocate"), 508);
      expect(lone.machine.state()).toBe("suspended");
      const since = lone.now;
      while (lone.machine.state() === "suspended") lone.pass(1_000);
      waits.push(lone.now - since);
    }
    expect(waits).toEqual([30_000, 60_000, 120_000, 240_000, 300_000, 300_000]);
    lone.succeed(lone.last("allocate"), { relayedAddresses: [RELAYED4], lifetimeSeconds: 600 });
    expect(lone.machine.state()).toBe("active");
  });

  it("RL-89: a suspended relay is asked at once on demand", () => {
    const lone = createLoneRelayClient();
    lone.succeed(lone.last("binding"), { mappedAddress: LOCAL6 });
    lone.refuse(lone.last("allocate"), 508);
    const before = lone.sent.length;
    lone.run((machine, now) => machine.refresh(now));
    expect(lone.sent.slice(before).map(({ method }) => method)).toEqual(["binding", "binding", "allocate"]);
  });

  it("RL-113: close withdraws the candidates and sends one deleting Refresh", () => {
    const lone = active();
    lone.events.length = 0;
    lone.run((machine, now) => machine.close(now));
    expect(texts(lone.events)).toEqual([
      "invalidated relay 198.51.100.7:50000",
      "invalidated relay [2001:db8::7]:50000",
    ]);
    expect(lone.last("refresh").message.fields.lifetimeSeconds).toBe(0);
    expect(lone.machine.pollTimeout()).toBeUndefined();
    lone.pass(MINUTE);
    expect(lone.count("refresh")).toBe(1);
  });

  it("RL-113: close sends the deletion behind an Allocate that the relay has not answered yet", () => {
    const lone = createLoneRelayClient();
    lone.succeed(lone.last("binding"), { mappedAddress: MAPPED4 });
    lone.refuse(lone.last("allocate"), 401, NONCE);
    const before = lone.sent.length;
    lone.run((machine, now) => machine.close(now));
    const [deletion, ...more] = lone.sent.slice(before);
    expect(more).toEqual([]);
    expect(deletion).toMatchObject({ method: "refresh", to: lone.last("allocate").to });
    expect(deletion?.message.fields).toMatchObject({ lifetimeSeconds: 0, nonce: NONCE.nonce });
    expect(lone.machine.pollTimeout()).toBeUndefined();
  });

  it("RL-113: close deletes nothing where no Allocate with a nonce is on its way", () => {
    const lone = createLoneRelayClient();
    lone.succeed(lone.last("binding"), { mappedAddress: MAPPED4 });
    lone.run((machine, now) => machine.close(now));
    const probing = createLoneRelayClient();
    probing.run((machine, now) => machine.close(now));
    const suspended = createLoneRelayClient();
    suspended.succeed(suspended.last("binding"), { mappedAddress: MAPPED4 });
    suspended.refuse(suspended.last("allocate"), 508);
    suspended.run((machine, now) => machine.close(now));
    expect([lone, probing, suspended].map((one) => one.count("refresh"))).toEqual([0, 0, 0]);
  });

  it("RL-116: restart forgets everything but the credentials and asks both sockets anew", () => {
    const lone = createLoneRelayClient();
    lone.succeed(lone.last("binding"), { mappedAddress: LOCAL6 });
    lone.refuse(lone.last("allocate"), 401, NONCE);
    lone.succeed(lone.last("allocate"), { relayedAddresses: [RELAYED4], lifetimeSeconds: 600 });
    lone.events.length = 0;
    const before = lone.sent.length;
    lone.run((machine, now) => machine.restart(now));
    expect(texts(lone.events)).toEqual(["invalidated relay 198.51.100.7:50000"]);
    expect(lone.sent.slice(before).map(({ to }) => to)).toEqual([SERVER4, SERVER6]);
    expect([lone.machine.activeSocket(), lone.machine.rttMs(), lone.machine.candidates()]).toEqual([
      undefined,
      undefined,
      [],
    ]);
    lone.succeed(lone.last("binding"), { mappedAddress: LOCAL6 });
    expect(lone.last("allocate").message.fields).toMatchObject({ username: utf8(CREDENTIALS.username) });
    expect(lone.last("allocate").message.fields.nonce).toBeUndefined();
  });

  it("RL-116, RL-80: the first answer after a restart decides the socket anew", () => {
    const lone = active();
    expect(lone.machine.activeSocket()).toEqual(SERVER4);
    lone.run((machine, now) => machine.restart(now));
    lone.succeed(lone.last("binding"), { mappedAddress: LOCAL6 });
    expect(lone.machine.activeSocket()).toEqual(SERVER6);
    expect(lone.last("allocate").to).toEqual(SERVER6);
    lone.succeed(lone.last("allocate"), { relayedAddresses: [RELAYED4], lifetimeSeconds: 600 });
    expect(lone.count("refresh")).toBe(0);
  });
});
