import { describe, expect, it } from "vitest";
import { CONSTANTS, REASONS, type Reason } from "../../../bindings/memory/index.ts";
import { concatBytes, instant, ip, type SocketAddress } from "../../../src/base/index.ts";
import { sealMessage } from "../../twin/plane/message.ts";
import { type ControlMessage, FD, type KernelScript, type Received, runLoop } from "./kernel-script.ts";
import { counting, tcp, udp } from "./packets.ts";
import { A, B, createPair, NET_A, NET_B, NOW, SLOT, sessionKeys, type testPlane } from "./pair.ts";
import { createStranger, STRANGER } from "./stranger.ts";

const E = { EINTR: 4, EIO: 5, EBADF: 9, EAGAIN: 11, ENOMEM: 12, EINVAL: 22, EBADFD: 77, ECONNREFUSED: 111 };
const V6 = { address: ip("2001:db8::1"), port: 51820 };
const LOCAL6 = ip("2001:db8::2");

/** The control messages of a receive, as the kernel writes them. */
const CONTROL = {
  info4: { level: 0, type: 8, data: concatBytes(new Uint8Array([2, 0, 0, 0]), B.address, ip("192.0.2.255")) },
  info6: { level: 41, type: 50, data: concatBytes(LOCAL6, new Uint8Array([2, 0, 0, 0])) },
  tos: (value: number) => ({ level: 0, type: 1, data: new Uint8Array([value]) }),
  tclass: (value: number) => ({ level: 41, type: 67, data: new Uint8Array([value, 0, 0, 0]) }),
  gro: (bytes: number) => ({ level: 17, type: 104, data: new Uint8Array(Uint32Array.of(bytes).buffer) }),
  overflow: (count: number) => ({ level: 1, type: 40, data: new Uint8Array(Uint32Array.of(count).buffer) }),
  /** SO_TIMESTAMP: something that nobody asked for. */
  other: { level: 1, type: 29, data: new Uint8Array(16) },
} satisfies Record<string, ControlMessage | ((value: number) => ControlMessage)>;

type TestPlane = ReturnType<typeof testPlane>;

function planeB(): TestPlane {
  // The pair is made of test planes.
  return createPair().b as TestPlane;
}

function message(counter: number, length = 40, tos = 0): Uint8Array<ArrayBuffer> {
  const { remote, sendKey } = sessionKeys("a");
  const packet = udp(counting(length), {
    family: 4,
    source: NET_A.v4,
    destination: NET_B.v4,
    tos,
    ports: [counter + 1, 9],
  });
  return sealMessage(sendKey, remote, BigInt(counter), packet);
}

function received(
  bytes: Uint8Array,
  control: readonly ControlMessage[] = [CONTROL.info4],
  from: SocketAddress = A,
): Received {
  return { from, bytes, control };
}

function run(script: KernelScript, plane: TestPlane = planeB()) {
  const result = runLoop("ingress", plane, script);
  const { ingress } = plane.counters();
  let dropped = 0;
  for (const [reason, packets] of Object.entries(ingress.drops)) {
    if (REASONS[reason as Reason].stage === "loop") dropped += packets;
  }
  const { packets_passed, keepalives, segments_out } = ingress.counters;
  expect(segments_out + dropped).toBe(packets_passed - keepalives);
  return { ...result, ...ingress, plane };
}

const ports = (frames: readonly Uint8Array[]) => frames.map((frame) => frame[31]);

describe("the ingress loop", () => {
  it("writes frames in order, waits for both sockets and control, and stops", () => {
    const { written, polls, ended } = run({ receives4: [received(message(0)), received(message(1))] });
    expect(ports(written)).toEqual([1, 2]);
    expect(polls).toEqual([{ fd: FD.udp4, events: 1, count: 3 }]);
    expect(ended).toBe(CONSTANTS.ENDED_STOPPED);
  });

  it("PF-58: keeps the frame under construction until the sockets are empty", () => {
    const { remote, sendKey } = sessionKeys("a");
    const flow = { family: 4, source: NET_A.v4, destination: NET_B.v4 } as const;
    const receives4 = [0, 1, 2].map((i) =>
      received(sealMessage(sendKey, remote, BigInt(i), udp(counting(100), flow))),
    );
    const { written, counters } = run({ receives4 });
    expect(written).toHaveLength(1);
    expect(counters).toMatchObject({ segments_out: 3, super_frames_out: 1, reads: 3 });
  });

  it("PF-73: yields behind each super-frame of datagrams, and only there", () => {
    const { remote, sendKey } = sessionKeys("a");
    const flow = { family: 4, source: NET_A.v4, destination: NET_B.v4 } as const;
    const datagrams = (port: number, lengths: readonly number[]) =>
      lengths.map((length) => udp(counting(length), { ...flow, ports: [port, 9] }));
    const packets = [...datagrams(1, [100, 100]), ...datagrams(2, [100]), ...datagrams(3, [100, 50])];
    const receives4 = packets.map((packet, i) => received(sealMessage(sendKey, remote, BigInt(i), packet)));
    const { written, yields } = run({ receives4 });
    expect(written).toHaveLength(3);
    expect(yields).toEqual([1, 3]);
    const stream = [0, 1].map((i) => tcp(counting(100), { ...flow, sequence: i * 100 }));
    const bulk = run({
      receives4: stream.map((packet, i) => received(sealMessage(sendKey, remote, BigInt(i), packet))),
    });
    expect(bulk.counters.super_frames_out).toBe(1);
    expect(bulk.yields).toEqual([]);
  });

  /** Receives so many messages fast, and then what is given; the clock goes on by a period at each wait. */
  function afterFast(receives: number, then: KernelScript["receives4"] = []) {
    let now = NOW;
    return run({
      receives4: [
        ...[received(message(0)), E.EAGAIN],
        ...Array.from({ length: receives }, (_, i) => received(message(i + 1))),
        ...[E.EAGAIN, ...then],
      ],
      isIpv6Missing: true,
      now: () => now,
      waits: 5,
      onPoll: () => {
        now = instant(now + 8);
      },
    });
  }

  it.each([
    [15, []],
    // Behind the last of them and one more; then nothing comes, and it waits.
    [16, [17, 18]],
  ])("PF-79: makes way behind frames instead of waiting after %i receives in 8 ms", (receives, expected) => {
    const { yields, written } = afterFast(receives, [received(message(90)), E.EAGAIN]);
    expect({ yields, frames: written.length }).toEqual({ yields: expected, frames: receives + 2 });
  });

  it("PF-79: hands four frames to the device at once while datagrams come fast, all of them before it waits", () => {
    const many = (first: number, length: number) =>
      Array.from({ length }, (_, i) => received(message(first + i)));
    const fast = afterFast(16, [...many(50, 7), E.EAGAIN]);
    expect(ports(fast.written).slice(17)).toEqual([51, 52, 53, 54, 55, 56, 57]);
    expect(fast.writtenBehind.slice(17)).toEqual([22, 22, 22, 22, 24, 24, 24]);
    const slow = afterFast(15, [...many(50, 7), E.EAGAIN]);
    expect(slow.writtenBehind.slice(16)).toEqual([18, 19, 20, 21, 22, 23, 23]);
  });

  it("PG-50: the other family gets its turn after 32 receives of one", () => {
    const many = Array.from({ length: 40 }, (_, i) => received(message(i)));
    const { written } = run({ receives4: many, receives6: [received(message(99), [CONTROL.info6], V6)] });
    expect(ports(written).indexOf(100)).toBe(32);
    expect(written).toHaveLength(41);
  });

  it("serves one family when the other has no socket", () => {
    const { written } = run({ receives4: [received(message(0))], isIpv6Missing: true });
    expect(written).toHaveLength(1);
  });
});

describe("control messages of receives (PF-36, PG-43)", () => {
  it("reads stride, local address and ECN, in any order and among others", () => {
    const run4 = concatBytes(message(0, 40, 1), message(1, 40, 1), message(2, 40, 1));
    const stride = CONTROL.gro(run4.length / 3);
    for (const control of [
      [CONTROL.info4, CONTROL.tos(0x03), stride],
      [stride, CONTROL.other, CONTROL.tos(0x23), CONTROL.info4],
    ]) {
      const { written, plane } = run({ receives4: [received(run4, control), received(new Uint8Array([9]))] });
      expect(ports(written)).toEqual([1, 2, 3]);
      expect(written.map((frame) => frame[11])).toEqual([3, 3, 3]);
      expect(plane.takeEvents(10).at(-1)).toMatchObject({
        kind: "other",
        from: A,
        local: { address: B.address },
      });
    }
  });

  it("reads those of IPv6", () => {
    const control = [CONTROL.tclass(3), CONTROL.info6];
    const { written, plane } = run({
      receives6: [received(message(0, 40, 2), control, V6), received(new Uint8Array([9]), control, V6)],
    });
    expect(written[0]?.[11]).toBe(3);
    const other = plane.takeEvents(10).find(({ kind }) => kind === "other");
    expect(other).toMatchObject({ from: V6, local: { address: LOCAL6 } });
  });

  it.each([
    ["without local address", [CONTROL.tos(0)], 1],
    ["with a stride beyond its bytes", [CONTROL.info4, CONTROL.gro(5000)], 1],
    ["with control data that end in the middle", [{ ...CONTROL.info4, data: new Uint8Array(3) }], 1],
  ])("PG-48: drops a receive %s", (_, control, times) => {
    const { written, drops } = run({ receives4: [received(message(0), control)] });
    expect(written).toEqual([]);
    expect(drops).toEqual({ udp_bad_meta: times });
  });

  it("counts what the kernel dropped for want of room, per socket", () => {
    const { counters } = run({
      receives4: [7, 7, 9].map((count, i) => received(message(i), [CONTROL.info4, CONTROL.overflow(count)])),
      receives6: [received(message(3), [CONTROL.info6, CONTROL.overflow(4)], V6)],
    });
    expect(counters.udp_overflow).toBe(9 + 4);
  });

  it("an empty datagram is ignored", () => {
    const { counters, drops } = run({ receives4: [received(new Uint8Array())] });
    expect(counters.packets_in).toBe(0);
    expect(drops).toEqual({});
  });
});

describe("errors of receives (PG-47)", () => {
  it("are counted by errno, and the loop goes on", () => {
    const { written, counters, receiveErrnos, ended } = run({
      receives4: [E.ECONNREFUSED, received(message(0)), E.ENOMEM, E.EINTR, received(message(1))],
    });
    expect(written).toHaveLength(2);
    expect(receiveErrnos).toEqual({ [E.ECONNREFUSED]: 1, [E.ENOMEM]: 1 });
    expect(counters.udp_receive_errors).toBe(2);
    expect(ended).toBe(CONSTANTS.ENDED_STOPPED);
  });

  it.each([
    [100, CONSTANTS.ENDED_STOPPED],
    [101, CONSTANTS.ENDED_SOCKET],
  ])("%i in a row within a second", (errors, expected) => {
    expect(run({ receives4: Array(errors).fill(E.ENOMEM) }).ended).toBe(expected);
  });

  it("a datagram in between begins the count anew", () => {
    const bad = Array(60).fill(E.ENOMEM);
    const { ended } = run({ receives4: [...bad, received(message(0)), ...bad] });
    expect(ended).toBe(CONSTANTS.ENDED_STOPPED);
  });

  it("EBADF: the sockets must be bound again", () => {
    expect(run({ receives4: [E.EBADF] }).ended).toBe(CONSTANTS.ENDED_SOCKET);
  });
});

describe("errors of TUN writes (PG-38, PF-34)", () => {
  const receives4 = [received(message(0)), received(message(1))];

  it.each([
    [E.EIO, "tun_write_down"],
    [E.EINVAL, "tun_write_refused"],
    [E.ENOMEM, "tun_write_refused"],
  ])("errno %i: dropped as %s, and the loop goes on", (error, reason) => {
    const { written, drops, tunErrnos } = run({ receives4, writes: [error] });
    expect(written).toHaveLength(1);
    expect(drops).toEqual({ [reason]: 1 });
    expect(tunErrnos).toEqual({ [error]: 1 });
  });

  it("EBADFD: the device is gone", () => {
    expect(run({ receives4, writes: [E.EBADFD] }).ended).toBe(CONSTANTS.ENDED_TUN_REMOVED);
  });

  it("EAGAIN: waits for room, three times", () => {
    const { written, polls } = run({ receives4, writes: [E.EAGAIN, E.EAGAIN], waits: 3 });
    expect(polls[0]).toEqual({ fd: FD.tun, events: 4, count: 3 });
    expect(written).toHaveLength(2);
    expect(run({ receives4, writes: Array(4).fill(E.EAGAIN), waits: 9 }).drops).toEqual({
      tun_write_refused: 1,
    });
    // What was interrupted was no wait.
    const interrupted = [...Array(4).fill(E.EINTR), E.EAGAIN];
    expect(run({ receives4, writes: interrupted, waits: 9 }).drops).toEqual({});
  });
});

describe("receives by their datagrams (PG-114)", () => {
  it.each([
    [1, 0],
    [2, 1],
    [3, 2],
    [4, 2],
    [5, 3],
    [64, 6],
    [65, 7],
  ])("a train of %i counts in bucket %i", (datagrams, bucket) => {
    const train = received(new Uint8Array(32 * datagrams - 1), [CONTROL.info4, CONTROL.gro(32)]);
    const { batches } = run({ receives4: [train] });
    expect(batches.counts).toEqual(Array.from({ length: 8 }, (_, i) => (i === bucket ? 1 : 0)));
    expect(batches.sum).toBe(datagrams);
  });
});

describe("time (D-14)", () => {
  it("is what the clock says, in milliseconds", () => {
    const now = instant(NOW + 12_345);
    const { plane } = run({ receives4: [received(message(0))], now });
    expect(plane.records.activity(SLOT).recvData).toBe(now);
  });
});

describe("cookie replies (WG-33)", () => {
  const FREE = 10;

  function asked(family: 4 | 6, sends: readonly number[] = []) {
    const plane = planeB();
    const { guard, stranger } = createStranger();
    plane.execute({ kind: "set-guard", guard });
    const from = family === 4 ? STRANGER : { address: ip("2001:db8:7::1"), port: 4000 };
    const control = family === 4 ? [CONTROL.info4] : [CONTROL.info6];
    const receives = Array.from({ length: FREE + 1 }, () => received(stranger.initiation(), control, from));
    return {
      from,
      ...run(family === 4 ? { receives4: receives, sends } : { receives6: receives, sends }, plane),
    };
  }

  it("go to where the initiation came from, from the address that was asked (IPv4)", () => {
    const { sent, counters, from } = asked(4);
    expect(sent).toMatchObject([{ fd: FD.udp4, to: from, control: [{ level: 0, type: 8 }] }]);
    expect(sent[0]?.bytes).toHaveLength(64);
    expect(sent[0]?.control[0]?.data.subarray(4, 8)).toEqual(Uint8Array.from(B.address));
    expect(counters.cookies_sent).toBe(1);
  });

  it("go to where the initiation came from, from the address that was asked (IPv6)", () => {
    const { sent, from } = asked(6);
    expect(sent).toMatchObject([{ fd: FD.udp6, to: from, control: [{ level: 41, type: 50 }] }]);
    expect(sent[0]?.control[0]?.data.subarray(0, 16)).toEqual(Uint8Array.from(LOCAL6));
  });

  it("one that the kernel refuses is given up, and counted by its errno", () => {
    const { counters, sendErrnos } = asked(4, [E.EAGAIN]);
    expect(counters.cookies_sent).toBe(0);
    expect(sendErrnos).toEqual({ [E.EAGAIN]: 1 });
  });
});
