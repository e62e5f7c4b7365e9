import { describe, expect, it } from "vitest";
import { CONSTANTS, OFFSETS, REASONS, type Reason } from "../../../bindings/memory/index.ts";
import { concatBytes, instant, ip } from "../../../src/base/index.ts";
import { E, ROUTED, SUPER } from "./egress-cases.ts";
import { FD, type KernelScript, runLoop } from "./kernel-script.ts";
import { counting, udp } from "./packets.ts";
import { B, createPair, directPath, NOW, plainFrame, SLOT, type testPlane } from "./pair.ts";

const FRAME = plainFrame(udp(counting(100), ROUTED));
/** 1,040 bytes, without DF. */
const LONG = plainFrame(udp(counting(1012), { ...ROUTED, fragmentField: 0 }));
const V6 = { address: ip("2001:db8::2"), port: 7 };
const SOURCE4 = ip("192.0.2.1");
const SOURCE6 = ip("2001:db8::1");

type TestPlane = ReturnType<typeof testPlane>;

function planeA(path = directPath(B)): TestPlane {
  const { a } = createPair();
  a.execute({ kind: "set-path", slot: SLOT, path });
  // The pair is made of test planes.
  return a as TestPlane;
}

function run(script: KernelScript, plane: TestPlane = planeA()) {
  const result = runLoop("egress", plane, script);
  const { egress } = plane.counters();
  // What the paths passed was sent, or dropped under a reason of the loop.
  let dropped = 0;
  for (const [reason, packets] of Object.entries(egress.drops)) {
    if (REASONS[reason as Reason].stage === "loop") dropped += packets;
  }
  expect(egress.counters.segments_out + dropped).toBe(egress.counters.packets_passed);
  return { ...result, ...egress };
}

describe("the egress loop", () => {
  it("sends when the device has nothing more, waits for it and for control, and stops", () => {
    const { sent, polls, ended, counters } = run({ frames: [FRAME, FRAME], waits: 3 });
    expect(sent.map(({ fd, to, bytes }) => ({ fd, to, length: bytes.length }))).toEqual([
      { fd: FD.udp4, to: B, length: 2 * 160 },
    ]);
    expect(polls[0]).toEqual({ fd: FD.tun, events: 1, count: 3 });
    expect(ended).toBe(CONSTANTS.ENDED_STOPPED);
    expect(counters).toMatchObject({ reads: 2, writes: 1, segments_out: 2, polls: 3 });
  });

  it("PG-114: counts each send by its datagrams, as it went", () => {
    const whole = run({ frames: [SUPER] }).batches;
    expect({ counts: whole.counts, sum: whole.sum }).toEqual({ counts: [0, 0, 1, 0, 0, 0, 0, 0], sum: 4 });
    const apart = run({ frames: [SUPER], sends: [E.EIO] }).batches;
    expect({ counts: apart.counts, sum: apart.sum }).toEqual({ counts: [4, 0, 0, 0, 0, 0, 0, 0], sum: 4 });
    expect(whole.bounds).toEqual([1, 2, 4, 8, 16, 32, 64]);
  });

  it.each([
    [0, 0],
    [1, 3],
    [2, 4],
    [4, 4],
    [5, 5],
    [4_194, 9],
    [4_195, 10],
  ])("PG-114: a sleep of %i ms counts in bucket %i, the time before the loop in none", (ms, bucket) => {
    let now = NOW;
    const onPoll = () => {
      now = instant(now + ms);
    };
    const { waits } = run({ frames: [FRAME], now: () => now, onPoll });
    expect(waits.counts).toEqual(Array.from({ length: 11 }, (_, i) => (i === bucket ? 1 : 0)));
    expect(waits.sum).toBe(1000 * ms);
    expect(waits.bounds.slice(0, 3)).toEqual([16, 64, 256]);
  });

  it("PF-36: names the segment size exactly when there are several datagrams", () => {
    expect(run({ frames: [FRAME] }).sent[0]?.control).toEqual([]);
    const { sent } = run({ frames: [SUPER] });
    expect(sent).toHaveLength(1);
    expect(sent[0]?.bytes.length).toBe(3 * 1072 + 128);
    expect(sent[0]?.control).toEqual([{ level: 17, type: 103, data: new Uint8Array([0x30, 0x04]) }]);
  });

  it("PG-45: carries ECN and a fixed source in control messages, per family", () => {
    const marked = plainFrame(udp(counting(100), { ...ROUTED, tos: 2 }));
    const v4 = run({ frames: [marked] }, planeA(directPath(B, { source: SOURCE4 })));
    expect(v4.sent[0]?.control).toEqual([
      { level: 0, type: 1, data: new Uint8Array([2, 0, 0, 0]) },
      { level: 0, type: 8, data: concatBytes(new Uint8Array(4), SOURCE4, new Uint8Array(4)) },
    ]);
    const v6 = run({ frames: [marked] }, planeA(directPath(V6, { source: SOURCE6 })));
    expect(v6.sent[0]).toMatchObject({ fd: FD.udp6, to: V6 });
    expect(v6.sent[0]?.control).toEqual([
      { level: 41, type: 67, data: new Uint8Array([2, 0, 0, 0]) },
      { level: 41, type: 50, data: concatBytes(SOURCE6, new Uint8Array(4)) },
    ]);
  });

  it.each([
    [15, []],
    // Behind its second send and the third; then nothing comes, it waits, and one frame is not many.
    [16, [2, 3]],
  ])("PF-74: makes way behind a send instead of waiting after %i frames in 8 ms", (frames, expected) => {
    let now = NOW;
    const { yields, counters } = run({
      frames: [
        ...[FRAME, E.EAGAIN],
        ...[...Array(frames).fill(FRAME), E.EAGAIN],
        ...[FRAME, E.EAGAIN, E.EAGAIN],
        ...[FRAME, E.EAGAIN],
      ],
      now: () => now,
      waits: 5,
      onPoll: () => {
        now = instant(now + 8);
      },
    });
    expect({ yields, reads: counters.reads }).toEqual({ yields: expected, reads: frames + 3 });
  });

  it("sends what control injects while it waits, at its next turn", () => {
    const plane = planeA();
    const { sent } = run(
      {
        waits: 3,
        onPoll: (waits) => {
          if (waits === 1) plane.execute({ kind: "inject", slot: SLOT, packets: [FRAME.subarray(10)] });
        },
      },
      plane,
    );
    expect(sent).toHaveLength(1);
  });

  it("WG-46: what is injected while a frame is being read goes before the frame", () => {
    const plane = planeA();
    const { sent } = run(
      {
        frames: [plainFrame(udp(counting(200), ROUTED))],
        onRead: (reads) => {
          if (reads === 1) plane.execute({ kind: "inject", slot: SLOT, packets: [FRAME.subarray(10)] });
        },
      },
      plane,
    );
    // 160 bytes are the injected packet's: a longer datagram cannot follow in the same send.
    expect(sent.map(({ bytes }) => bytes.length)).toEqual([160, 272]);
  });

  it("D-13: does not wait when something was injected after it looked and before it parked", () => {
    const plane = planeA();
    const { sent, polls } = run(
      {
        onRead: (reads) => {
          if (reads === 1) plane.execute({ kind: "inject", slot: SLOT, packets: [FRAME.subarray(10)] });
        },
      },
      plane,
    );
    // It is sent before the one wait that ends the script; a wait before it would have ended it first.
    expect(sent).toHaveLength(1);
    expect(polls).toHaveLength(1);
  });
});

describe("errors of sends (PG-46)", () => {
  it("EAGAIN: waits for room and sends the same bytes again", () => {
    const { sent, polls, drops, counters } = run({ frames: [FRAME], sends: [E.EAGAIN, E.EAGAIN], waits: 3 });
    expect(polls.slice(0, 2)).toEqual([
      { fd: FD.udp4, events: 4, count: 3 },
      { fd: FD.udp4, events: 4, count: 3 },
    ]);
    expect(sent).toHaveLength(1);
    expect(drops).toEqual({});
    expect(counters.udp_send_again).toBe(2);
  });

  it("EAGAIN: gives up when it is stopped meanwhile", () => {
    const { sent, drops } = run({ frames: [FRAME], sends: Array(9).fill(E.EAGAIN) });
    expect(sent).toEqual([]);
    expect(drops).toEqual({ udp_send_failed: 1 });
  });

  it("WG-44: EAGAIN: gives up what control waits for, without a wait for room, and goes on", () => {
    const plane = planeA();
    const words = new Uint32Array(plane.memory.buffer);
    const hurried = (CONSTANTS.PLANE_ADDRESS + OFFSETS.plane.isHurried) >> 2;
    const { sent, polls, drops } = run(
      {
        frames: [FRAME, E.EAGAIN, FRAME, E.EAGAIN, FRAME, E.EAGAIN],
        sends: [E.EAGAIN, E.EAGAIN, 0],
        waits: 4,
        // From its wait for room on, and while the second frame is sent.
        onPoll: (waits) => void Atomics.store(words, hurried, waits <= 2 ? 1 : 0),
      },
      plane,
    );
    expect(polls.map(({ fd }) => fd)).toEqual([FD.udp4, FD.tun, FD.tun, FD.tun]);
    expect(drops).toEqual({ udp_send_failed: 2 });
    expect(sent).toHaveLength(1);
  });

  it.each([
    [24, 1, {}],
    [25, 0, { udp_send_enobufs_drop: 1 }],
  ])("ENOBUFS: %i refusals in a row", (refusals, sends, expected) => {
    const { sent, drops, sendErrnos } = run({ frames: [FRAME], sends: Array(refusals).fill(E.ENOBUFS) });
    expect(sent).toHaveLength(sends);
    expect(drops).toEqual(expected);
    expect(sendErrnos).toEqual({ [E.ENOBUFS]: refusals });
  });

  it("PG-46: of 24 retries for want of buffers the first twenty yield, the others wait 1, 2, 4 and 8 ms", () => {
    const { timeouts } = run({ frames: [FRAME], sends: Array(25).fill(E.ENOBUFS) });
    expect(timeouts.slice(0, 24)).toEqual([...Array(20).fill(0), 1, 2, 4, 8]);
    // What follows is no retry any more: the loop waits for frames.
    expect(timeouts[24]).not.toBe(16);
  });

  it("PG-46: waits for room in the socket use up no retry for want of buffers, of which the first is counted", () => {
    const sends = [...Array(30).fill(E.EAGAIN), E.EINTR, ...Array(24).fill(E.ENOBUFS)];
    const { sent, drops, counters } = run({ frames: [FRAME], sends, waits: 40 });
    expect(sent).toHaveLength(1);
    expect(drops).toEqual({});
    expect(counters).toMatchObject({ udp_send_again: 30, udp_send_enobufs: 1 });
  });

  it("PG-118: without enobufs_retry the first refusal for want of buffers is the last, and is counted", () => {
    const { a } = createPair({ retriesEnobufs: false });
    // The pair is made of test planes.
    const { sent, drops, counters } = run({ frames: [FRAME], sends: [E.ENOBUFS] }, a as TestPlane);
    expect(sent).toEqual([]);
    expect(drops).toEqual({ udp_send_enobufs_drop: 1 });
    expect(counters.udp_send_enobufs).toBe(1);
  });

  it("PG-46: EIO on several segments: off for good, and each sent by itself", () => {
    const { sent, drops, counters } = run({ frames: [SUPER, SUPER], sends: [E.EIO] });
    expect(sent.map(({ bytes }) => bytes.length)).toEqual([1072, 1072, 1072, 128, 1072, 1072, 1072, 128]);
    expect(sent.flatMap(({ control }) => control)).toEqual([]);
    expect(drops).toEqual({});
    expect(counters).toMatchObject({ gso_disabled: 1, segments_out: 8, super_frames_out: 0 });
  });

  it("PG-43, TN-108: what is longer than the path goes without DF, one by one, and the next with it again", () => {
    const plane = planeA(directPath(B, { mtu: 1000 }));
    const frames = [LONG, LONG, E.EAGAIN, FRAME];
    const { sent, options, counters } = run({ frames, waits: 2 }, plane);
    expect(sent.map(({ bytes }) => bytes.length)).toEqual([1072, 1072, 160]);
    expect(sent.flatMap(({ control }) => control)).toEqual([]);
    const discovery = { fd: FD.udp4, level: 0, name: 10 };
    expect(options).toEqual([
      { ...discovery, value: 0, sent: 0 },
      { ...discovery, value: 1, sent: 2 },
    ]);
    expect(counters.gso_disabled).toBe(0);
  });

  it("PG-43: what just fits, and what goes over IPv6, leaves the socket as it is", () => {
    const fits = run({ frames: [LONG, LONG] }, planeA(directPath(B, { mtu: 1040 })));
    expect([fits.options, fits.sent.length]).toEqual([[], 1]);
    const relayed = { kind: "relayed", channel: 0x4001, headRoom: 4 } as const;
    expect(run({ frames: [LONG] }, planeA(directPath(B, { ...relayed, mtu: 1040 }))).options).toEqual([]);
    expect(run({ frames: [LONG] }, planeA(directPath(V6, { mtu: 1000 }))).options).toEqual([]);
  });

  it.each([E.EMSGSIZE, E.EINVAL])(
    "PG-46: errno %i on several segments: each goes by itself, the next send in segments again, control hears",
    (error) => {
      const plane = planeA();
      const { sent, drops, counters } = run({ frames: [SUPER, SUPER], sends: [error] }, plane);
      expect(sent.map(({ bytes }) => bytes.length)).toEqual([1072, 1072, 1072, 128, 3344]);
      expect(drops).toEqual({});
      expect(counters).toMatchObject({ gso_disabled: 0, segments_out: 8, super_frames_out: 1 });
      expect(plane.takeEvents(10)).toEqual([{ kind: "too-long", slot: SLOT }]);
    },
  );

  it("PG-46: the second time EINVAL means that segmentation is off, EMSGSIZE never does, and nobody hears", () => {
    const again = (error: number) => {
      const plane = planeA();
      const frames = [SUPER, SUPER, SUPER];
      const { counters } = run({ frames, sends: [error, 0, 0, 0, 0, error] }, plane);
      return { disabled: counters.gso_disabled, events: plane.takeEvents(10).length };
    };
    expect(again(E.EINVAL)).toEqual({ disabled: 1, events: 1 });
    expect(again(E.EMSGSIZE)).toEqual({ disabled: 0, events: 1 });
  });

  it("PG-46: with each publication of the path control hears once more", () => {
    const plane = planeA();
    run({ frames: [SUPER], sends: [E.EMSGSIZE] }, plane);
    plane.execute({ kind: "set-path", slot: SLOT, path: directPath(B) });
    run({ frames: [SUPER], sends: [E.EMSGSIZE] }, plane);
    expect(plane.takeEvents(10)).toHaveLength(2);
  });

  it("one refused datagram of a split send does not take the others along", () => {
    const { sent, drops } = run({ frames: [SUPER], sends: [E.EIO, 0, E.EMSGSIZE] });
    expect(sent).toHaveLength(3);
    expect(drops).toEqual({ udp_send_too_long: 1 });
  });

  it.each([E.ENETUNREACH, E.EINVAL, E.EADDRNOTAVAIL])(
    "PF-41a: errno %i with a fixed source: forgotten, sent again, and not tried again on this path",
    (error) => {
      const plane = planeA(directPath(B, { source: SOURCE4 }));
      const { sent, drops, counters } = run({ frames: [SUPER, FRAME], sends: [error] }, plane);
      expect(sent.map(({ control }) => control.map(({ type }) => type))).toEqual([[103], []]);
      expect(drops).toEqual({});
      expect(counters).toMatchObject({ udp_source_refused: 1, gso_disabled: 0 });
      plane.execute({ kind: "set-path", slot: SLOT, path: directPath(B, { source: SOURCE4 }) });
      const again = run({ frames: [FRAME] }, plane);
      expect(again.sent[0]?.control).toHaveLength(1);
    },
  );

  it.each([
    [E.EMSGSIZE, "udp_send_too_long"],
    [E.ENETUNREACH, "udp_send_unreachable"],
    [E.EHOSTUNREACH, "udp_send_unreachable"],
    [E.EHOSTDOWN, "udp_send_unreachable"],
    [E.EADDRNOTAVAIL, "udp_send_unreachable"],
    [E.EINVAL, "udp_send_unreachable"],
    [E.ECONNREFUSED, "udp_send_unreachable"],
    [E.EPERM, "udp_send_blocked"],
    [E.EACCES, "udp_send_blocked"],
    [E.ENOMEM, "udp_send_failed"],
  ])("errno %i: the datagram is dropped as %s, and the loop goes on", (error, reason) => {
    const { sent, drops, sendErrnos, ended } = run({ frames: [FRAME, SUPER], sends: [error] });
    expect(sent).toHaveLength(1);
    expect(drops).toEqual({ [reason]: 1 });
    expect(sendErrnos).toEqual({ [error]: 1 });
    expect(ended).toBe(CONSTANTS.ENDED_STOPPED);
  });

  it.each([E.EBADF, E.ENOTSOCK])("errno %i: the sockets must be bound again", (error) => {
    const { ended, drops } = run({ frames: [FRAME], sends: [error] });
    expect(ended).toBe(CONSTANTS.ENDED_SOCKET);
    expect(drops).toEqual({ udp_send_failed: 1 });
  });

  it("EINTR: again at once, counted nowhere", () => {
    const { sent, sendErrnos } = run({ frames: [FRAME], sends: [E.EINTR, E.EINTR] });
    expect(sent).toHaveLength(1);
    expect(sendErrnos).toEqual({});
  });

  it("a family without socket is unreachable", () => {
    const { drops, sent } = run({ frames: [FRAME], isIpv6Missing: true }, planeA(directPath(V6)));
    expect(sent).toEqual([]);
    expect(drops).toEqual({ udp_send_unreachable: 1 });
  });
});

describe("errors of the TUN device (PG-38)", () => {
  it.each([[E.EBADFD], [0]])("answer %i to a read: the device is gone", (error) => {
    const { ended } = run({ frames: [FRAME, error] });
    expect(ended).toBe(CONSTANTS.ENDED_TUN_REMOVED);
  });

  it("EIO: the interface is down; it is read again after a pause", () => {
    const { sent, tunErrnos, polls } = run({ frames: [E.EIO, E.EINTR, FRAME] });
    expect(sent).toHaveLength(1);
    expect(tunErrnos).toEqual({ [E.EIO]: 1 });
    expect(polls[0]).toMatchObject({ count: 0 });
  });
});
