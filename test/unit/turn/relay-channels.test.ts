import { describe, expect, it } from "vitest";
import { ip, type SocketAddress } from "../../../src/base/index.ts";
import {
  createLoneRelayClient,
  LOCAL6,
  type LoneRelayClient,
  NONCE,
  OTHER_PEER,
  PEER,
  RELAYED4,
  SERVER6,
  type Sent,
  texts,
} from "./lone-relay-client.ts";

const MINUTE = 60_000;
const PEER6: SocketAddress = { address: ip("2001:db8:2::9"), port: 40_000 };

function active(): LoneRelayClient {
  const lone = createLoneRelayClient().activate();
  lone.keepAnswering();
  return lone;
}

function bind(lone: LoneRelayClient, peer: SocketAddress): number | undefined {
  lone.run((machine, now) => machine.bindChannel(now, peer));
  return lone.machine.channelTo(lone.now, peer);
}

function bound(lone: LoneRelayClient, peer: SocketAddress): number {
  const number = bind(lone, peer);
  if (number === undefined) throw new Error("not bound");
  lone.succeed(lone.last("bind"), {});
  return number;
}

function peer(n: number): SocketAddress {
  return { address: ip(`203.0.113.${1 + (n % 250)}`), port: 1_000 + Math.floor(n / 250) };
}

function binds(lone: LoneRelayClient): readonly Sent[] {
  return lone.sent.filter(({ method }) => method === "bind");
}

function use(lone: LoneRelayClient, channel: number): void {
  lone.run((machine, now) => machine.noteChannelDataSent(now, channel));
}

/** Refreshes are answered, so that the allocation lives for ever. */
function passRefreshed(lone: LoneRelayClient, ms: number): void {
  for (let left = ms; left > 0; left -= 1_000) {
    const before = lone.count("refresh");
    lone.pass(Math.min(1_000, left));
    if (lone.count("refresh") > before) lone.succeed(lone.last("refresh"), { lifetimeSeconds: 3_600 });
  }
}

describe("channels of a relay client", () => {
  it("RL-99, RL-85: a bind names peer and number, once however often it is asked for", () => {
    const lone = active();
    expect(bind(lone, PEER)).toBe(0x4000);
    bind(lone, PEER);
    expect(binds(lone).map(({ message }) => message.fields)).toMatchObject([
      { peerAddress: PEER, channelNumber: 0x4000 },
    ]);
    lone.succeed(lone.last("bind"), {});
    bind(lone, PEER);
    expect(binds(lone)).toHaveLength(1);
    expect(bind(lone, OTHER_PEER)).toBe(0x4001);
  });

  it("RL-101: a channel in flight is used like a bound one, from the packet on that caused it", () => {
    const lone = active();
    expect(lone.machine.channelTo(lone.now, PEER)).toBeUndefined();
    expect(bind(lone, PEER)).toBe(0x4000);
    expect(binds(lone)).toHaveLength(1);
  });

  it("RL-103: data is accepted on a channel in flight, not on an unknown one", () => {
    const lone = active();
    bind(lone, PEER);
    expect(lone.machine.peerOf(lone.now, 0x4000)).toEqual(PEER);
    expect(lone.machine.peerOf(lone.now, 0x4001)).toBeUndefined();
  });

  it("RL-99: peers wait for the allocation, each once, and then are bound", () => {
    const lone = createLoneRelayClient();
    for (const address of [PEER, OTHER_PEER, PEER]) bind(lone, address);
    expect(lone.machine.channelTo(lone.now, PEER)).toBeUndefined();
    lone.activate();
    expect(binds(lone).map(({ message }) => message.fields.peerAddress)).toEqual([PEER, OTHER_PEER]);
  });

  it("RL-99: a hundred peers may wait; the oldest makes room", () => {
    const lone = createLoneRelayClient();
    for (let n = 0; n < 101; n++) bind(lone, peer(n));
    lone.activate();
    expect(binds(lone)).toHaveLength(100);
    expect(binds(lone)[0]?.message.fields.peerAddress).toEqual(peer(1));
  });

  it("RL-99, RL-104: nothing is bound in a family that the allocation lacks", () => {
    const lone = createLoneRelayClient();
    lone.succeed(lone.last("binding"), { mappedAddress: LOCAL6 });
    lone.succeed(lone.last("allocate"), { relayedAddresses: [RELAYED4], lifetimeSeconds: 600 });
    expect(bind(lone, PEER6)).toBeUndefined();
    expect(binds(lone)).toHaveLength(0);
    expect(bind(lone, PEER)).toBe(0x4000);
    expect(lone.last("bind").to).toEqual(SERVER6);
  });

  it("RL-99: nothing is bound while suspended or freed, and nothing waits then", () => {
    const lone = createLoneRelayClient();
    lone.succeed(lone.last("binding"), { mappedAddress: LOCAL6 });
    bind(lone, PEER);
    lone.refuse(lone.last("allocate"), 508);
    bind(lone, PEER);
    lone.pass(30_000);
    lone.succeed(lone.last("allocate"), { relayedAddresses: [RELAYED4], lifetimeSeconds: 600 });
    expect(binds(lone)).toHaveLength(0);
  });

  it("RL-102: a channel that is used is bound again after five minutes, an unused one is not", () => {
    const lone = active();
    const channel = bound(lone, PEER);
    bound(lone, OTHER_PEER);
    lone.pass(1);
    use(lone, channel);
    passRefreshed(lone, 5 * MINUTE - 2);
    expect(binds(lone)).toHaveLength(2);
    lone.pass(1);
    expect(binds(lone)).toHaveLength(3);
    expect(lone.last("bind").message.fields).toMatchObject({ peerAddress: PEER, channelNumber: channel });
    lone.succeed(lone.last("bind"), {});
    passRefreshed(lone, 5 * MINUTE - 1);
    expect(lone.machine.channelTo(lone.now, OTHER_PEER)).toBe(0x4001);
    lone.pass(1);
    expect(lone.machine.channelTo(lone.now, OTHER_PEER)).toBeUndefined();
    expect(lone.machine.channelTo(lone.now, PEER)).toBe(channel);
  });

  it("RL-102: each channel is bound again five minutes after its own bind", () => {
    const lone = active();
    const first = bound(lone, PEER);
    passRefreshed(lone, MINUTE);
    const second = bound(lone, OTHER_PEER);
    use(lone, first);
    use(lone, second);
    passRefreshed(lone, 4 * MINUTE);
    expect(binds(lone)).toHaveLength(3);
    lone.succeed(lone.last("bind"), {});
    passRefreshed(lone, MINUTE - 1);
    expect(binds(lone)).toHaveLength(3);
    lone.pass(1);
    expect(lone.last("bind").message.fields.channelNumber).toBe(second);
  });

  it("RL-102: received data counts like sent data, and late use binds at once", () => {
    const lone = active();
    const channel = bound(lone, PEER);
    passRefreshed(lone, 9 * MINUTE);
    expect(binds(lone)).toHaveLength(1);
    lone.run((machine, now) => machine.peerOf(now, channel));
    expect(binds(lone)).toHaveLength(2);
    lone.run((machine, now) => machine.peerOf(now, channel));
    expect(binds(lone)).toHaveLength(2);
  });

  it("RL-102: it counts as expired ten minutes after its bind was last sent, confirmed or not", () => {
    const lone = active();
    const number = bind(lone, PEER);
    lone.pass(1_000);
    lone.succeed(lone.last("bind"), {});
    passRefreshed(lone, 10 * MINUTE - 1);
    expect(lone.machine.channelTo(lone.now, PEER)).toBe(number);
    expect(lone.machine.peerOf(lone.now, 0x4000)).toEqual(PEER);
  });

  it("RL-100: while it cools down a peer gets its number again, afterwards another", () => {
    const lone = active();
    bound(lone, PEER);
    passRefreshed(lone, 15 * MINUTE - 1);
    expect(lone.machine.channelTo(lone.now, PEER)).toBeUndefined();
    expect(lone.machine.peerOf(lone.now, 0x4000)).toBeUndefined();
    expect(bind(lone, PEER)).toBe(0x4000);
    lone.succeed(lone.last("bind"), {});
    passRefreshed(lone, 15 * MINUTE);
    expect(bind(lone, PEER)).toBe(0x4001);
  });

  it("RL-100: numbers go from 0x4000 to 0x4FFF; a rested one is taken only after all others", () => {
    const lone = active();
    for (let n = 0; n < 4_095; n++) bound(lone, peer(n));
    passRefreshed(lone, 15 * MINUTE);
    expect(bound(lone, PEER)).toBe(0x4fff);
    expect(bound(lone, OTHER_PEER)).toBe(0x4000);
  });

  it("RL-100: without a free number nothing is bound, and a warning comes once a minute", () => {
    const lone = active();
    for (let n = 0; n < 4_096; n++) bound(lone, peer(n));
    expect(bind(lone, PEER)).toBeUndefined();
    expect(bind(lone, OTHER_PEER)).toBeUndefined();
    expect(lone.warnings).toEqual(["no free channel"]);
    lone.pass(MINUTE);
    bind(lone, PEER);
    expect(lone.warnings).toHaveLength(2);
    expect(lone.count("bind")).toBe(4_096);
  });

  it.each([400, 403, 443, 486, 508])(
    "RL-97: %i to a ChannelBind: the peer is left alone for 60 s",
    (code) => {
      const lone = active();
      bind(lone, PEER);
      lone.events.length = 0;
      lone.refuse(lone.last("bind"), code);
      expect(texts(lone.events)).toEqual(["channel-failed 203.0.113.9:40000"]);
      expect(bind(lone, PEER)).toBeUndefined();
      lone.pass(59_999);
      expect(bind(lone, PEER)).toBeUndefined();
      lone.pass(1);
      expect(bind(lone, PEER)).toBe(0x4001);
    },
  );

  it("RL-98: with the allocation all channels are gone", () => {
    const lone = active();
    const channel = bound(lone, PEER);
    lone.run((machine, now) => machine.refresh(now));
    lone.refuse(lone.last("refresh"), 437);
    expect(lone.machine.channelTo(lone.now, PEER)).toBeUndefined();
    expect(lone.machine.peerOf(lone.now, channel)).toBeUndefined();
  });

  it("RL-102: one bind per number is in flight; what a challenge repeats has the same number", () => {
    const lone = active();
    bind(lone, PEER);
    lone.refuse(lone.last("bind"), 438, NONCE);
    expect(binds(lone).map(({ message }) => message.fields.channelNumber)).toEqual([0x4000, 0x4000]);
    bind(lone, PEER);
    expect(binds(lone)).toHaveLength(2);
    lone.succeed(lone.last("bind"), {});
    expect(lone.machine.channelTo(lone.now, PEER)).toBe(0x4000);
  });
});
