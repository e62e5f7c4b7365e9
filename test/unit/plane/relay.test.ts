/** The relay's workers, one rule after the other; what they do with anything at all is in `test/fuzz/relay.test.ts`. */
import { describe, expect, it } from "vitest";
import { concatBytes, copyOf, ip, parseSocketAddress, type SocketAddress } from "../../../src/base/index.ts";
import type { RelayBinding } from "../../../src/plane/index.ts";
import { droppedByPath } from "./law.ts";
import { counting } from "./packets.ts";
import { type Arrival, createRelayBench, FD, fdOf, type RelayBench } from "./relay-kernel.ts";

function at(text: string): SocketAddress {
  const parsed = parseSocketAddress(text);
  if (!parsed.ok) throw new Error(text);
  return parsed.value;
}

const CLIENT = at("192.0.2.1:51820");
const PEER = at("203.0.113.9:40000");
const PORT = 50_000;
const CHANNEL = 0x4000;
const BINDING: RelayBinding = { client: CLIENT, channel: CHANNEL, port: PORT, peer: PEER, isHairpin: false };

function channelData(data: Uint8Array, channel = CHANNEL, length = data.length): Uint8Array {
  return concatBytes(Uint8Array.of(channel >> 8, channel & 0xff, length >> 8, length & 0xff), data);
}

/** How a check of a size begins (SN-151). */
function sizeCheck(length: number): Uint8Array {
  const bytes = counting(length);
  bytes.set([0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
  return bytes;
}

function bench(...bindings: readonly RelayBinding[]): RelayBench {
  const made = createRelayBench();
  for (const binding of bindings.length === 0 ? [BINDING] : bindings) made.publish(binding);
  return made;
}

/** A train of datagrams of `length` bytes, the last shorter. */
function train(length: number, lengths: readonly number[], make: (data: Uint8Array) => Uint8Array): Arrival {
  return { from: CLIENT, bytes: concatBytes(...lengths.map((n) => make(counting(n)))), stride: length };
}

describe("from clients to peers", () => {
  it("RL-42: channel data goes from the allocation's socket to the peer, without its header", () => {
    const data = counting(100);
    expect(bench().fromClients({ from: CLIENT, bytes: channelData(data) })).toEqual([
      {
        fd: fdOf(PORT, 4),
        to: PEER,
        bytes: data,
        segment: undefined,
        ecn: 0,
        source: undefined,
        isWhole: false,
      },
    ]);
  });

  it.each<readonly [string, readonly boolean[], Uint8Array]>([
    ["STUN of 512 bytes goes with DF", [false, true, false], sizeCheck(512)],
    ["STUN of one byte less does not", [false, false], sizeCheck(511)],
    ["nor what has another cookie", [false, false], sizeCheck(512).fill(0, 4, 8)],
    ["nor what begins like WireGuard", [false, false], sizeCheck(512).fill(4, 0, 1)],
  ])("RL-50: of what goes to a peer, %s", (_, whole, data) => {
    const all = [counting(1200), data, counting(1200)];
    const sent = bench().fromClients(...all.map((one) => ({ from: CLIENT, bytes: channelData(one) })));
    expect(sent.map(({ isWhole }) => isWhole)).toEqual(whole);
    expect(concatBytes(...sent.map(({ bytes }) => bytes))).toEqual(concatBytes(...all));
  });

  it("RL-50: a check of a size that stays inside, and one towards a client, go with DF; what follows does not", () => {
    const own = at("198.51.100.7:50001");
    const other: RelayBinding = {
      ...{ client: at("[2001:db8::1]:5"), channel: 0x4007, port: 50_001, isHairpin: true },
      peer: at("198.51.100.7:50000"),
    };
    const made = bench({ ...BINDING, peer: own, isHairpin: true }, other, { ...BINDING, channel: 0x4001 });
    const [check, full] = [sizeCheck(1200), counting(1200)];
    const inside = [check, full].map((data) => ({ from: CLIENT, bytes: channelData(data) }));
    expect(made.fromClients(...inside)).toMatchObject([
      { fd: FD.listen6, isWhole: true },
      { fd: FD.listen6, isWhole: false },
    ]);
    expect(made.fromPeers(PORT, ...[check, full].map((bytes) => ({ from: PEER, bytes })))).toMatchObject([
      { fd: FD.listen4, to: CLIENT, isWhole: true },
      { fd: FD.listen4, to: CLIENT, isWhole: false },
    ]);
  });

  it.each([1, 2, 3])("RL-4: %i bytes of padding are cut off", (padding) => {
    const bytes = concatBytes(channelData(counting(97)), new Uint8Array(padding));
    expect(
      bench()
        .fromClients({ from: CLIENT, bytes })
        .map((sent) => sent.bytes),
    ).toEqual([counting(97)]);
  });

  it("RL-4: empty data is relayed, each by itself", () => {
    const empty = { from: CLIENT, bytes: channelData(new Uint8Array()) };
    const sent = bench().fromClients(empty, empty);
    expect(sent).toHaveLength(2);
    expect(sent).toMatchObject([{ bytes: new Uint8Array(), segment: undefined }, {}]);
  });

  it("RL-52: a train becomes one send in segments, whose last may be shorter", () => {
    const made = bench();
    const lengths = [...Array.from({ length: 20 }, () => 1200), 300];
    const sent = made.fromClients(train(1204, lengths, channelData));
    expect(sent).toHaveLength(1);
    expect(sent[0]).toMatchObject({ segment: 1200, fd: fdOf(PORT, 4) });
    expect(sent[0]?.bytes).toEqual(concatBytes(...lengths.map((n) => counting(n))));
    expect(made.client().counters).toMatchObject({
      packets_in: 21,
      packets_passed: 21,
      writes: 1,
      segments_out: 21,
    });
  });

  it("RL-52: single datagrams that came one after the other go as one send", () => {
    const made = bench();
    const one = { from: CLIENT, bytes: channelData(counting(1200)) };
    expect(made.fromClients(one, one, one)).toMatchObject([{ segment: 1200 }]);
  });

  it("RL-52: 64 datagrams are the most of a send", () => {
    const made = bench();
    const lengths = Array.from({ length: 65 }, () => 100);
    const sent = made.fromClients(train(104, lengths, channelData));
    expect(sent.map(({ bytes }) => bytes.length)).toEqual([6400, 100]);
  });

  it("RL-52: channels that are mixed in a train keep their order and their peers", () => {
    const other = at("203.0.113.10:1");
    const made = bench(BINDING, { ...BINDING, channel: 0x4001, peer: other });
    const bytes = concatBytes(
      channelData(counting(500)),
      channelData(counting(500)),
      channelData(counting(500), 0x4001),
      channelData(counting(500)),
    );
    const sent = made.fromClients({ from: CLIENT, bytes, stride: 504 });
    expect(sent.map(({ to, segment }) => [to, segment])).toEqual([
      [PEER, 500],
      [other, undefined],
      [PEER, undefined],
    ]);
  });

  it("RL-47: ECN of the datagram is set on what is sent, and keeps others apart", () => {
    const made = bench();
    const one = { from: CLIENT, bytes: channelData(counting(10)) };
    const sent = made.fromClients(one, { ...one, ecn: 3 }, { ...one, ecn: 0xb9 });
    expect(sent.map(({ ecn }) => ecn)).toEqual([0, 3, 1]);
  });

  it("RL-44: families of client and peer are independent", () => {
    const client = at("[2001:db8::1]:5");
    const peer = at("[2001:db8:9::9]:6");
    const made = bench(
      { ...BINDING, client },
      { ...BINDING, channel: 0x4001, peer },
      { ...BINDING, client, channel: 0x4001, peer },
    );
    const from6 = (channel: number) => ({ from: client, bytes: channelData(counting(5), channel) });
    expect(made.fromClients(from6(0x4000), from6(0x4001))).toMatchObject([
      { fd: fdOf(PORT, 4), to: PEER },
      { fd: fdOf(PORT, 6), to: peer },
    ]);
    expect(made.fromClients({ from: CLIENT, bytes: channelData(counting(5), 0x4001) })).toMatchObject([
      { fd: fdOf(PORT, 6), to: peer },
    ]);
  });

  it("RL-12, RL-55: STUN goes to control with source and local address", () => {
    const made = bench();
    const bytes = counting(20).fill(0, 0, 1);
    const local = ip("198.51.100.7");
    expect(made.fromClients({ from: CLIENT, bytes, local })).toEqual([]);
    expect(made.punts()).toEqual([
      { kind: "stun", bytes, from: CLIENT, local: { address: local, port: 3478 } },
    ]);
  });
});

describe("from peers to clients", () => {
  it("RL-43: a peer's datagram goes to the client with a header, from the address that it asked", () => {
    const local = ip("198.51.100.8");
    const made = bench({ ...BINDING, local });
    expect(made.fromPeers(PORT, { from: PEER, bytes: counting(100) })).toEqual([
      {
        fd: FD.listen4,
        to: CLIENT,
        bytes: channelData(counting(100)),
        segment: undefined,
        ecn: 0,
        source: local,
        isWhole: false,
      },
    ]);
  });

  it("RL-52: a train becomes one send with a header in front of each datagram", () => {
    const lengths = [...Array.from({ length: 30 }, () => 1000), 17];
    const bytes = concatBytes(...lengths.map((n) => counting(n)));
    const sent = bench().fromPeers(PORT, { from: PEER, bytes, stride: 1000, ecn: 2 });
    expect(sent).toMatchObject([{ segment: 1004, ecn: 2 }]);
    expect(sent[0]?.bytes).toEqual(concatBytes(...lengths.map((n) => channelData(counting(n)))));
  });

  it("RL-52: what the headers make too long for one send goes in two", () => {
    const bytes = concatBytes(...Array.from({ length: 45 }, () => counting(1452)));
    const sent = bench().fromPeers(PORT, { from: PEER, bytes, stride: 1452 });
    expect(sent.map((one) => one.bytes.length)).toEqual([44 * 1456, 1456]);
  });

  it.each([0, 1, 65_503])("RL-43: %i bytes are relayed", (length) => {
    const sent = bench().fromPeers(PORT, { from: PEER, bytes: counting(length) });
    expect(sent.map(({ bytes }) => bytes)).toEqual([channelData(counting(length))]);
  });

  it("RL-31: exact address and port are the only permission", () => {
    const made = bench();
    const strangers = ["203.0.113.9:40001", "203.0.113.8:40000", "[2001:db8::1]:40000"].map(at);
    expect(made.fromPeers(PORT, ...strangers.map((from) => ({ from, bytes: counting(3) })))).toEqual([]);
    expect(made.fromPeers(PORT + 1, { from: PEER, bytes: counting(3) })).toEqual([]);
    expect(made.peer().drops).toEqual({ relay_no_binding: 4 });
  });

  it("RL-53: a socket has four receives, then the next has its turn", () => {
    const other = { ...BINDING, channel: 0x4001, port: PORT + 1 };
    const made = bench(BINDING, other);
    // Trains: a receive takes four of them.
    const bytes = concatBytes(...Array.from({ length: 40 }, () => counting(1452)));
    const busy = Array.from({ length: 100 }, () => ({ from: PEER, bytes, stride: 1452 }));
    made.queues.set(fdOf(PORT, 4), busy);
    const sent = made.fromPeers(PORT + 1, { from: PEER, bytes: counting(9) });
    const place = sent.findIndex(({ bytes: of }) => of.length === 13);
    expect(place).toBeGreaterThan(0);
    expect(place).toBeLessThan(sent.length - 1);
  });
});

describe("inside", () => {
  const own = ip("198.51.100.7");
  const otherClient = at("[2001:db8::2]:7");
  const there: RelayBinding = { ...BINDING, peer: { address: own, port: 50_001 }, isHairpin: true };
  const back: RelayBinding = {
    client: otherClient,
    channel: 0x4005,
    port: 50_001,
    peer: { address: own, port: PORT },
    isHairpin: true,
  };

  it("RL-45: data for another allocation port goes to its client, with that one's channel", () => {
    const sent = bench(there, back).fromClients({
      from: CLIENT,
      bytes: concatBytes(channelData(counting(9)), Uint8Array.of(0, 0)),
    });
    expect(sent).toEqual([
      {
        fd: FD.listen6,
        to: otherClient,
        bytes: channelData(counting(9), 0x4005),
        segment: undefined,
        ecn: 0,
        source: undefined,
        isWhole: false,
      },
    ]);
  });

  it("RL-45, RL-52: a train stays a train", () => {
    const made = bench(there, back);
    const sent = made.fromClients(train(504, [500, 500, 500, 20], channelData));
    expect(sent).toMatchObject([{ segment: 504 }]);
    expect(sent[0]?.bytes).toEqual(
      concatBytes(...[500, 500, 500, 20].map((n) => channelData(counting(n), 0x4005))),
    );
    expect(made.table.usage(there)?.toPeer).toEqual({ packets: 4, bytes: 1520 });
    expect(made.table.usage(back)?.toClient).toEqual({ packets: 4, bytes: 1520 });
  });

  it("RL-45: nothing comes in where it has not been bound", () => {
    const made = bench(there);
    expect(made.fromClients({ from: CLIENT, bytes: channelData(counting(9)) })).toEqual([]);
    expect(made.client().drops).toEqual({ relay_no_binding: 1 });
  });
});

describe("every reason to drop", () => {
  it.each([
    [
      "relay_unknown",
      [
        new Uint8Array(),
        Uint8Array.of(0x04),
        Uint8Array.of(0x3f, 1),
        Uint8Array.of(0x80),
        Uint8Array.of(0xff),
      ],
    ],
    ["relay_malformed", [new Uint8Array(1501)]],
    [
      "relay_channel_length",
      [
        Uint8Array.of(0x40),
        Uint8Array.of(0x40, 0, 0),
        channelData(counting(4), CHANNEL, 5),
        channelData(counting(4), CHANNEL, 0),
      ],
    ],
    ["relay_no_channel", [channelData(counting(4), 0x4001), channelData(counting(4), 0x7fff)]],
  ])("RL-12, RL-14, RL-4, RL-42: %s", (reason, datagrams) => {
    const made = bench();
    expect(made.fromClients(...datagrams.map((bytes) => ({ from: CLIENT, bytes })))).toEqual([]);
    expect(made.client().drops).toEqual({ [reason]: datagrams.length });
    expect(made.client().counters.packets_in).toBe(datagrams.length);
  });

  it("RL-43: relay_too_long, of what leaves no room for a header", () => {
    const made = bench();
    expect(made.fromPeers(PORT, { from: PEER, bytes: new Uint8Array(65_504) })).toEqual([]);
    expect(made.peer().drops).toEqual({ relay_too_long: 1 });
  });

  it("RL-55: relay_punt_full, when control does not take its messages", () => {
    const made = bench();
    const stun = { from: CLIENT, bytes: new Uint8Array(20) };
    made.fromClients(...Array.from({ length: 1030 }, () => stun));
    expect(made.client()).toMatchObject({
      drops: { relay_punt_full: 6 },
      counters: { packets_punted: 1024 },
    });
    expect(droppedByPath(made.client())).toBe(6);
  });
});

describe("when the kernel refuses", () => {
  const [EINTR, EIO, EAGAIN, EINVAL, EMSGSIZE, ENOBUFS, ENETUNREACH] = [4, 5, 11, 22, 90, 105, 101];
  const single = { from: CLIENT, bytes: channelData(counting(100)) };
  const cut = train(104, [100, 100, 40], channelData);

  it("RL-46: a full socket is waited for once, 5 ms at most", () => {
    const made = bench();
    made.sendErrors.push(EAGAIN);
    expect(made.fromClients(single)).toHaveLength(1);
    const forRoom = made.waits.filter(({ fd }) => fd !== FD.listen4);
    expect(forRoom).toEqual([{ fd: fdOf(PORT, 4), timeoutMs: 5 }]);
    made.sendErrors.push(EAGAIN, EAGAIN);
    expect(made.fromClients(single, { ...single, ecn: 1 })).toEqual([]);
    expect(made.client().drops).toEqual({ relay_send_full: 2 });
  });

  it("RL-46: so are full buffers of the device", () => {
    const made = bench();
    made.sendErrors.push(ENOBUFS);
    expect(made.fromClients(single)).toHaveLength(1);
    made.sendErrors.push(ENOBUFS, ENOBUFS);
    expect(made.fromClients(single)).toEqual([]);
    expect(made.client().counters.udp_send_enobufs).toBe(2);
  });

  it("RL-46: other errors cost what they hit, and nothing else", () => {
    const made = bench();
    made.sendErrors.push(EINTR, ENETUNREACH);
    expect(made.fromClients(single, { ...single, ecn: 1 })).toMatchObject([{ ecn: 1 }]);
    made.sendErrors.push(EMSGSIZE);
    made.fromClients(single);
    expect(made.client().drops).toEqual({ relay_send_error: 1, relay_send_too_long: 1 });
  });

  it("RL-46: what was sent in part goes on with the rest", () => {
    const made = bench();
    made.sendErrors.push(1001, EAGAIN);
    const sent = made.fromClients(single, { ...single, ecn: 1 }, { ...single, ecn: 2 });
    expect(sent.map(({ ecn }) => ecn)).toEqual([0, 1, 2]);
  });

  it.each([EINVAL, EMSGSIZE])("RL-52: segments refused with %i go one by one, this time", (errno) => {
    const made = bench();
    made.sendErrors.push(errno);
    const sent = made.fromClients(cut);
    expect(sent.map(({ bytes, segment }) => [bytes.length, segment])).toEqual([
      [100, undefined],
      [100, undefined],
      [40, undefined],
    ]);
    expect(made.fromClients(cut)).toHaveLength(1);
  });

  it("RL-52: segments that a device cannot make are not asked for again for 10 s", () => {
    const made = bench();
    made.sendErrors.push(EIO);
    expect(made.fromClients(cut)).toHaveLength(3);
    made.now += 9_999;
    expect(made.fromClients(cut)).toHaveLength(3);
    made.now += 1;
    expect(made.fromClients(cut)).toHaveLength(1);
    expect(made.client().counters.gso_disabled).toBe(1);
  });

  it("RL-52: headers stay with their datagrams when a send is cut up", () => {
    const made = bench();
    made.sendErrors.push(EIO);
    const bytes = concatBytes(counting(50), counting(50), counting(7));
    const sent = made.fromPeers(PORT, { from: PEER, bytes, stride: 50, ecn: 1 });
    expect(sent.map((one) => one.bytes)).toEqual([50, 50, 7].map((n) => channelData(counting(n))));
    expect(sent.map(({ ecn }) => ecn)).toEqual([1, 1, 1]);
  });
});

describe("what is counted", () => {
  it("RL-56: packets, bytes and time of last use, by binding and direction", () => {
    const made = bench();
    made.now = 5000;
    made.fromClients(train(104, [100, 100, 40], channelData));
    made.now = 6000;
    made.fromPeers(PORT, { from: PEER, bytes: counting(7) });
    expect(made.table.usage(BINDING)).toEqual({
      toPeer: { packets: 3, bytes: 240 },
      toClient: { packets: 1, bytes: 7 },
      lastUsed: 6000,
    });
  });

  it("RL-56: the time of last use passes for workers that never wait, too", () => {
    const made = bench();
    made.receiveMs = 1;
    const ofPeer = Array.from({ length: 64 * 100 }, () => ({ from: PEER, bytes: counting(1) }));
    made.fromPeers(PORT, ...ofPeer);
    expect(made.table.usage(BINDING)?.lastUsed).toBeGreaterThan(1050);
    made.now = 2000;
    made.fromClients(...ofPeer.map(({ bytes }) => ({ from: CLIENT, bytes: channelData(bytes) })));
    expect(made.table.usage(BINDING)?.lastUsed).toBeGreaterThan(2050);
  });

  it("RL-50: datagrams that the kernel lost for want of room are counted once", () => {
    const made = bench();
    const stun = { from: CLIENT, bytes: new Uint8Array(20) };
    made.fromClients({ ...stun, overflow: 5 }, { ...stun, overflow: 5 }, { ...stun, overflow: 7 });
    expect(made.client().counters.udp_overflow).toBe(7);
  });
});

describe("bindings come and go", () => {
  it("RL-49: a binding that was removed is known to neither side, its row serves another", () => {
    const made = bench();
    made.table.remove(BINDING);
    expect(made.fromClients({ from: CLIENT, bytes: channelData(counting(1)) })).toEqual([]);
    expect(made.fromPeers(PORT, { from: PEER, bytes: counting(1) })).toEqual([]);
    for (let i = 0; i < 5000; i++) {
      const next = { ...BINDING, channel: 0x4000 + (i % 3000), peer: { ...PEER, port: 1 + (i % 3000) } };
      made.publish(next);
      if (i % 500 === 0) expect(made.table.size).toBeLessThanOrEqual(1000);
      made.table.remove(next);
    }
    expect(made.table.size).toBe(0);
    made.publish(BINDING);
    expect(made.table.usage(BINDING)).toMatchObject({
      toPeer: { packets: 0, bytes: 0 },
      lastUsed: undefined,
    });
    expect(made.fromPeers(PORT, { from: PEER, bytes: copyOf(counting(1)) })).toHaveLength(1);
  });

  it("RL-28: publishing a channel again replaces what was published before", () => {
    const made = bench();
    made.publish({ ...BINDING, local: ip("198.51.100.9") });
    expect(made.table.size).toBe(1);
    expect(made.fromPeers(PORT, { from: PEER, bytes: counting(1) })).toMatchObject([
      { source: ip("198.51.100.9") },
    ]);
  });
});
