/**
 * `postern relay` on real sockets (RL §23 item 5, item 8): a client and its peers on one machine, which the
 * kernel gives trains to send and to receive.
 *
 *     client 192.0.2.1 ──▶ relay 198.51.100.7:3478 ─ allocation port ─▶ peers 203.0.113.9, 2001:db8:9::9
 */

import { afterEach, beforeEach, expect, it, vi } from "vitest";
import {
  openKernel,
  openUdpSockets,
  type ReceivedDatagram,
  receiveDatagram,
  type SendControl,
  sendDatagram,
  type UdpSockets,
} from "../../bindings/linux/index.ts";
import { concatBytes, type IpAddress, ip, type SocketAddress } from "../../src/base/index.ts";
import {
  METHOD_ALLOCATE,
  METHOD_CHANNEL_BIND,
  METHOD_CREATE_PERMISSION,
  METHOD_REFRESH,
  type TurnFields,
  type TurnMessage,
} from "../../src/turn/index.ts";
import { type RelayHost, startRelayHost } from "../lib/relay-host.ts";
import { describeWith } from "../lib/requirements.ts";
import { codeOf, encodeRequest, keyFor, messageOf, portOf, saltOf, UDP } from "../unit/relay/relay-world.ts";

const WITHIN_MS = 10_000;
const RELAY: SocketAddress = { address: ip("198.51.100.7"), port: 3478 };
const CLIENT = ip("192.0.2.1");
const PEER4 = ip("203.0.113.9");
const PEER6 = ip("2001:db8:9::9");
const ADDRESSES = [
  "192.0.2.1/32",
  "198.51.100.7/32",
  "203.0.113.9/32",
  "2001:db8::7/128",
  "2001:db8:9::9/128",
];
/** One of each row of RL-57's table, and those that are worth most to whoever asks. */
const REFUSED_PEERS = [
  "0.0.0.0",
  "0.1.2.3",
  "127.0.0.1",
  "169.254.169.254",
  "224.0.0.251",
  "240.0.0.1",
  "255.255.255.255",
  "10.0.0.1",
  "172.16.0.1",
  "192.168.0.1",
  "100.64.0.1",
  "198.18.0.1",
  "::",
  "::1",
  "::10.0.0.1",
  "::ffff:127.0.0.1",
  "64:ff9b::a00:1",
  "fe80::1",
  "ff02::1",
  "fd00:ec2::254",
  "192.88.99.1",
  "2001:db8:bad::1",
];
/** What the operator of this relay refuses besides. */
const DENIED_PEERS = "192.88.99.0/24,2001:db8:bad::/48";
const USERNAME = `4000000000:${saltOf("system")}`;

describeWith(["netns", "ipv6", "build"], "postern relay", () => {
  const kernel = openKernel();
  let made: RelayHost;
  let client: UdpSockets;
  let peer: UdpSockets;
  let nonce: string;
  let allocation: number;

  beforeEach(async () => {
    const args = ["--public-ip4", "198.51.100.7", "--public-ip6", "2001:db8::7"];
    made = await startRelayHost("test", ADDRESSES, [
      ...args,
      "--private-peers",
      "deny",
      "--denied-peers",
      DENIED_PEERS,
    ]);
    const { host } = made;
    const options = {
      port: { kind: "any" },
      gro: true,
      sendBufferBytes: 4 << 20,
      receiveBufferBytes: 8 << 20,
    } as const;
    client = host.enter(() => openUdpSockets(kernel, options));
    peer = host.enter(() => openUdpSockets(kernel, options));
    const first = await ask(METHOD_ALLOCATE, UDP, {});
    nonce = new TextDecoder().decode(first.fields.nonce);
    allocation = portOf(await ask(METHOD_ALLOCATE, { ...UDP, additionalFamily: 2 }));
    await bind(0x4000, { address: PEER4, port: peer.v4?.port ?? 0 });
    await bind(0x4001, { address: PEER6, port: peer.v6?.port ?? 0 });
  }, 60_000);

  afterEach(async () => {
    client.close();
    peer.close();
    await made?.close();
  });

  function fdOf(sockets: UdpSockets, family: 4 | 6): number {
    return (family === 4 ? sockets.v4 : sockets.v6)?.fd ?? -1;
  }

  function toRelay(bytes: Uint8Array, control: SendControl = {}): void {
    expect(
      sendDatagram(kernel, fdOf(client, 4), { to: RELAY, bytes, source: CLIENT, ...control }),
    ).toMatchObject({
      kind: "sent",
    });
  }

  /** A peer's answer, from the address that was bound. */
  function toAllocation(family: 4 | 6, bytes: Uint8Array, control: SendControl = {}): void {
    const to = { address: family === 4 ? RELAY.address : ip("2001:db8::7"), port: allocation };
    const source: IpAddress = family === 4 ? PEER4 : PEER6;
    expect(sendDatagram(kernel, fdOf(peer, family), { to, bytes, source, ...control })).toMatchObject({
      kind: "sent",
    });
  }

  /** What has come when so many bytes are there. */
  async function received(fd: number, bytes: number): Promise<readonly ReceivedDatagram[]> {
    const all: ReceivedDatagram[] = [];
    await vi.waitFor(
      () => {
        for (let next = receiveDatagram(kernel, fd); next !== undefined; next = receiveDatagram(kernel, fd))
          all.push(next);
        expect(all.reduce((sum, one) => sum + one.bytes.length, 0)).toBeGreaterThanOrEqual(bytes);
      },
      { timeout: WITHIN_MS, interval: 5 },
    );
    return all;
  }

  async function ask(
    method: number,
    fields: TurnFields,
    credentials: object = { username: USERNAME, key: keyFor(USERNAME), nonce },
  ): Promise<TurnMessage> {
    toRelay(encodeRequest(method, fields, credentials));
    const [answer] = await received(fdOf(client, 4), 20);
    return messageOf(answer?.bytes ?? new Uint8Array());
  }

  async function bind(channelNumber: number, peerAddress: SocketAddress): Promise<void> {
    expect(codeOf(await ask(METHOD_CHANNEL_BIND, { channelNumber, peerAddress }))).toBe("success");
  }

  /** Each datagram of what was received, cut at the kernel's strides. */
  function datagramsOf(all: readonly ReceivedDatagram[]): readonly Uint8Array[] {
    return all.flatMap(({ bytes, control }) => {
      const stride = control.segmentBytes ?? Math.max(1, bytes.length);
      return Array.from({ length: Math.ceil(bytes.length / stride) }, (_, i) =>
        bytes.subarray(i * stride, (i + 1) * stride),
      );
    });
  }

  it("RL-42, RL-44, RL-52: trains with a short tail reach peers of both families as trains", async () => {
    const lengths = [...Array.from({ length: 40 }, () => 1200), 300];
    for (const [channel, family] of [
      [0x4000, 4],
      [0x4001, 6],
    ] as const) {
      const data = lengths.map((length, i) => filled(length, i));
      toRelay(concatBytes(...data.map((one) => channelData(channel, one))), { segmentBytes: 1204 });
      const all = await received(fdOf(peer, family), sum(lengths));
      expect(datagramsOf(all)).toEqual(data);
      expect(all[0]?.control.segmentBytes).toBe(1200);
      expect(all[0]?.from.port).toBe(allocation);
    }
  });

  it("RL-43, RL-52: trains of a peer reach the client with a header in front of each datagram", async () => {
    const lengths = [...Array.from({ length: 44 }, () => 1400), 17];
    for (const [channel, family] of [
      [0x4000, 4],
      [0x4001, 6],
    ] as const) {
      const data = lengths.map((length, i) => filled(length, i));
      toAllocation(family, concatBytes(...data), { segmentBytes: 1400 });
      const all = await received(fdOf(client, 4), sum(lengths) + 4 * lengths.length);
      expect(datagramsOf(all)).toEqual(data.map((one) => channelData(channel, one)));
      expect(all[0]?.control.segmentBytes).toBe(1404);
      expect(all[0]?.from).toEqual(RELAY);
    }
  });

  it("RL-52: channels that are mixed in one train find their peers", async () => {
    const data = Array.from({ length: 30 }, (_, i) => filled(900, i));
    const mixed = data.map((one, i) => channelData(i % 3 === 0 ? 0x4001 : 0x4000, one));
    toRelay(concatBytes(...mixed), { segmentBytes: 904 });
    const [of4, of6] = [20 * 900, 10 * 900];
    expect(datagramsOf(await received(fdOf(peer, 4), of4))).toEqual(data.filter((_, i) => i % 3 !== 0));
    expect(datagramsOf(await received(fdOf(peer, 6), of6))).toEqual(data.filter((_, i) => i % 3 === 0));
  });

  it.each([1, 65_000])("RL-42, RL-43: a payload of %i bytes passes both ways", async (length) => {
    const data = filled(length, 7);
    toRelay(channelData(0x4000, data));
    expect(datagramsOf(await received(fdOf(peer, 4), length))).toEqual([data]);
    toAllocation(4, data);
    expect(datagramsOf(await received(fdOf(client, 4), length + 4))).toEqual([channelData(0x4000, data)]);
  });

  it("RL-47: ECN passes both ways, DSCP does not", async () => {
    const data = filled(100, 1);
    toRelay(channelData(0x4000, data), { trafficClass: 0xb8 | 1 });
    expect((await received(fdOf(peer, 4), 100))[0]?.control.trafficClass).toBe(1);
    toAllocation(6, data, { trafficClass: 3 });
    expect((await received(fdOf(client, 4), 104))[0]?.control.trafficClass).toBe(3);
  });

  it("RL-57: refuses every peer of the table, as a channel and as a permission, and serves on", async () => {
    const verdicts: unknown[] = [];
    for (const [i, address] of REFUSED_PEERS.entries()) {
      const peerAddress = { address: ip(address), port: 7 };
      verdicts.push(
        codeOf(await ask(METHOD_CHANNEL_BIND, { channelNumber: 0x4010 + i, peerAddress })),
        codeOf(await ask(METHOD_CREATE_PERMISSION, { peerAddress })),
      );
    }
    expect(verdicts).toEqual(REFUSED_PEERS.flatMap(() => [403, 403]));
    // Of itself a relay sends to its allocations only; a permission names no port.
    const own = { channelNumber: 0x4040, peerAddress: RELAY };
    expect(codeOf(await ask(METHOD_CHANNEL_BIND, own))).toBe(403);
    const data = filled(100, 3);
    toRelay(channelData(0x4000, data));
    expect(datagramsOf(await received(fdOf(peer, 4), 100))).toEqual([data]);
  });

  it("RL-73, PG-17: SIGTERM drains: nothing new, what is there goes on, and the end comes with the last", async () => {
    made.relay.signal("SIGTERM");
    await made.relay.waitForLine(/ draining /, { withinMs: WITHIN_MS, stream: "stderr" });
    const data = filled(100, 2);
    toRelay(channelData(0x4000, data));
    expect(datagramsOf(await received(fdOf(peer, 4), 100))).toEqual([data]);
    expect(codeOf(await ask(METHOD_REFRESH, { lifetimeSeconds: 0 }))).toBe("success");
    expect(await made.relay.wait(WITHIN_MS)).toEqual({ status: 0, signal: undefined });
  });

  it("RL-73, PG-15: a second signal ends it at once", async () => {
    made.relay.signal("SIGTERM");
    await made.relay.waitForLine(/ draining /, { withinMs: WITHIN_MS, stream: "stderr" });
    made.relay.signal("SIGTERM");
    expect(await made.relay.wait(WITHIN_MS)).toEqual({ status: 143, signal: undefined });
  });
});

function channelData(channel: number, data: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(channel >> 8, channel & 0xff, data.length >> 8, data.length & 0xff), data);
}

function filled(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff);
}

function sum(lengths: readonly number[]): number {
  return lengths.reduce((total, length) => total + length, 0);
}
