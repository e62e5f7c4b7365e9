/**
 * System calls that fail, by script (TS-64): each error of the tables PG-38, PG-46 and PG-47 at the first, the
 * second and the 1,000th call of a loop. Nothing is lost but what the table gives up, and that is counted;
 * what is sent and written keeps its order; a loop ends for those errors only that say so.
 */
import { describe, expect, it } from "vitest";
import { CONSTANTS, REASONS, type Reason } from "../../../bindings/memory/index.ts";
import { concatBytes, instant } from "../../../src/base/index.ts";
import type { Fault } from "../../lib/fault-script.mjs";
import { sealMessage } from "../../twin/plane/message.ts";
import { E, ROUTED, SUPER } from "./egress-cases.ts";
import { type KernelScript, type Received, runLoop, type Sent } from "./kernel-script.ts";
import { expectLaw } from "./law.ts";
import { counting, udp } from "./packets.ts";
import { A, B, createPair, NOW, plainFrame, sessionKeys, type testPlane } from "./pair.ts";

type Name = keyof typeof E;

/** What says that there is nothing, or to try again, is no error. */
const QUIET: ReadonlySet<Name> = new Set(["EINTR", "EAGAIN"]);
/** At which call. */
const NTH = [1, 2, 1000] as const;
/** A few more calls than that. */
const TIMES = 1003;

const SUPER_DATAGRAMS = 4;
/** Neighbours with different ECN bits do not share a send. */
const SINGLES = [0, 2].map((tos) => plainFrame(udp(counting(100), { ...ROUTED, tos })));

/** What an error costs: datagrams or frames under which reason, and whether the loop ends. */
interface Cost {
  readonly reason?: Reason;
  readonly ended?: number;
  /** One fault in a run. */
  readonly isAlone?: boolean;
}

const NOTHING: Cost = {};
/** The datagrams go one by one; a second fault would strike one of them. */
const SPLIT: Cost = { isAlone: true };
const UNREACHABLE: Cost = { reason: "udp_send_unreachable" };
const FAILED: Cost = { reason: "udp_send_failed" };
const BROKEN: Cost = { ...FAILED, ended: CONSTANTS.ENDED_SOCKET };

/** PG-46, of a send in segments. */
const SENDS_IN_SEGMENTS: Readonly<Partial<Record<Name, Cost>>> = {
  EINTR: NOTHING,
  EAGAIN: NOTHING,
  ENOBUFS: NOTHING,
  EIO: SPLIT,
  EINVAL: SPLIT,
  EMSGSIZE: SPLIT,
  ENETUNREACH: UNREACHABLE,
  EHOSTUNREACH: UNREACHABLE,
  EHOSTDOWN: UNREACHABLE,
  ENETDOWN: UNREACHABLE,
  EADDRNOTAVAIL: UNREACHABLE,
  ECONNREFUSED: UNREACHABLE,
  EPERM: { reason: "udp_send_blocked" },
  EACCES: { reason: "udp_send_blocked" },
  ENOMEM: FAILED,
  EFAULT: FAILED,
  EBADF: BROKEN,
  ENOTSOCK: BROKEN,
};
/** PG-46, of a single datagram. */
const SENDS: typeof SENDS_IN_SEGMENTS = {
  ...SENDS_IN_SEGMENTS,
  EIO: FAILED,
  EINVAL: UNREACHABLE,
  EMSGSIZE: { reason: "udp_send_too_long" },
};

/** Errors that a loop survives fail at all three places of one run, others in a run of their own. */
function eachFault(table: Readonly<Partial<Record<Name, Cost>>>) {
  // The keys of the table are names.
  const names = Object.keys(table) as Name[];
  return names.flatMap((name) => {
    const cost = table[name] ?? NOTHING;
    const isAlone = cost.ended !== undefined || cost.isAlone === true;
    const runs: readonly (readonly number[])[] = isAlone ? NTH.map((nth) => [nth]) : [NTH];
    return runs.map((places) => [name, places, cost] as [Name, readonly number[], Cost]);
  });
}

function faultsOf(call: string, places: readonly number[], name: Name): readonly Fault[] {
  return places.map((nth) => ({ call, nth, errno: E[name] }));
}

function dropsByLoop(drops: Readonly<Partial<Record<Reason, number>>>): number {
  // The keys of a table of reasons.
  const reasons = Object.keys(drops) as Reason[];
  return reasons
    .filter((reason) => REASONS[reason].stage === "loop")
    .reduce((sum, reason) => sum + (drops[reason] ?? 0), 0);
}

type TestPlane = ReturnType<typeof testPlane>;

/** Counters of the datagrams that were sent, in their order. */
function countersOf(sent: readonly Sent[]): readonly number[] {
  return sent.flatMap(({ bytes, control }) => {
    const segment = control.find(({ level, type }) => level === 17 && type === 103);
    const stride =
      segment === undefined ? bytes.length : new DataView(segment.data.buffer).getUint16(0, true);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const counters: number[] = [];
    for (let at = 0; at < bytes.length; at += stride) counters.push(Number(view.getBigUint64(at + 8, true)));
    return counters;
  });
}

function runEgress(script: KernelScript) {
  // The pair is made of test planes.
  const plane = createPair().a as TestPlane;
  const run = runLoop("egress", plane, { waits: 3, ...script });
  const { egress } = plane.counters();
  expectLaw(plane);
  expect(egress.counters.segments_out + dropsByLoop(egress.drops)).toBe(egress.counters.packets_passed);
  return { ...run, ...egress, sentCounters: countersOf(run.sent) };
}

/** All numbers below `end`, but for groups of `each` that begin behind so many groups, counted from 1. */
function numbersBut(end: number, groups: readonly number[] = [], each = 1): readonly number[] {
  return Array.from({ length: end }, (_, i) => i).filter((i) => !groups.includes(Math.floor(i / each) + 1));
}

describe("TS-64: sends that fail", () => {
  it.each(eachFault(SENDS_IN_SEGMENTS))(
    "PG-46: %s of sends in segments, at calls %j",
    (name, places, cost) => {
      const { reason, ended = CONSTANTS.ENDED_STOPPED } = cost;
      const frames = Array(TIMES).fill(SUPER);
      const run = runEgress({ frames, faults: faultsOf("sendmsg", places, name), waits: 5 });
      expect(run.ended).toBe(ended);
      expect(run.drops).toEqual(reason === undefined ? {} : { [reason]: SUPER_DATAGRAMS * places.length });
      expect(run.sendErrnos).toEqual(name === "EINTR" ? {} : { [E[name]]: places.length });
      // The frame that was read meanwhile still goes, if it can.
      const sends = cost.ended === undefined ? TIMES : (places[0] ?? 0) + 1;
      const lost = reason === undefined ? [] : places;
      expect(run.sentCounters).toEqual(numbersBut(SUPER_DATAGRAMS * sends, lost, SUPER_DATAGRAMS));
    },
  );

  it.each(eachFault(SENDS))("PG-46: %s of single datagrams, at calls %j", (name, places, cost) => {
    const { reason, ended = CONSTANTS.ENDED_STOPPED } = cost;
    const frames = Array.from({ length: TIMES }, (_, i) => SINGLES[i % 2] ?? 0);
    const run = runEgress({ frames, faults: faultsOf("sendmsg", places, name), waits: 5 });
    expect(run.ended).toBe(ended);
    if (cost.ended === undefined) {
      expect(run.drops).toEqual(reason === undefined ? {} : { [reason]: places.length });
      expect(run.sentCounters).toEqual(numbersBut(TIMES, reason === undefined ? [] : places));
      return;
    }
    // What was sealed behind it still goes, if it can.
    const before = (places[0] ?? 0) - 1;
    expect(run.drops).toEqual({ udp_send_failed: 1 });
    expect(run.sentCounters).toEqual(numbersBut(before + 2, places));
  });

  it("PG-46: EIO is tried in segments never again, EMSGSIZE each time", () => {
    const superFrames = (errno: number) =>
      runEgress({ frames: Array(10).fill(SUPER), faults: [{ call: "sendmsg", nth: 3, errno }] }).counters
        .super_frames_out;
    expect([superFrames(E.EIO), superFrames(E.EMSGSIZE)]).toEqual([2, 9]);
  });

  it.each(["EPERM", "ENOMEM", "EBADF"] as const)(
    "PG-43: %s of the option that lets a path cut datagrams up costs none",
    (name) => {
      const { a } = createPair();
      a.execute({
        kind: "set-path",
        slot: 3,
        path: {
          kind: "direct",
          destination: B,
          headRoom: 0,
          isIdle: false,
          isBroken: false,
          generation: 1,
          mtu: 1000,
        },
      });
      const long = plainFrame(udp(counting(1012), { ...ROUTED, fragmentField: 0 }));
      const frames = Array(600).fill(long);
      // The pair is made of test planes.
      const { sent } = runLoop("egress", a as TestPlane, {
        frames,
        faults: faultsOf("setsockopt", NTH, name),
      });
      expect(countersOf(sent)).toEqual(numbersBut(600));
    },
  );
});

describe("TS-64: reads of the TUN device that fail", () => {
  const goneWith: Cost = { ended: CONSTANTS.ENDED_TUN_REMOVED };
  const table: Readonly<Partial<Record<Name, Cost>>> = {
    EINTR: NOTHING,
    EAGAIN: NOTHING,
    EIO: NOTHING,
    EINVAL: NOTHING,
    ENOBUFS: NOTHING,
    ENOMEM: NOTHING,
    EFAULT: NOTHING,
    EBADF: goneWith,
    EBADFD: goneWith,
  };
  it.each(eachFault(table))("PG-38: %s at calls %j: what was read is sent", (name, places, { ended }) => {
    const faults = faultsOf("read", places, name);
    const run = runEgress({ frames: Array(TIMES).fill(SUPER), faults, waits: 5 });
    expect(run.ended).toBe(ended ?? CONSTANTS.ENDED_STOPPED);
    expect(run.drops).toEqual({});
    const sends = ended === undefined ? TIMES : (places[0] ?? 0) - 1;
    expect(run.sentCounters).toEqual(numbersBut(SUPER_DATAGRAMS * sends));
    expect(run.tunErrnos).toEqual(QUIET.has(name) ? {} : { [E[name]]: places.length });
  });

  it("PG-38: while the interface is down, what was read before has gone out", () => {
    const sentAtPause: number[] = [];
    const { sent } = runEgress({
      frames: [...SINGLES.slice(0, 1), E.EIO, E.EIO],
      onPoll: (_, sends) => sentAtPause.push(sends),
    });
    expect(sent).toHaveLength(1);
    expect(sentAtPause[0]).toBe(1);
  });
});

/** Calls around the packets: their failure holds up nothing. */
const AROUND = ["poll", "wake", "clock_gettime", "sched_yield"] as const;

describe("TS-64: waits, wakes and the clock", () => {
  const cases = AROUND.flatMap((call) =>
    (["EINTR", "EINVAL", "ENOMEM", "EAGAIN", "EBADF"] as const).map((name) => [call, name] as const),
  );
  it.each(cases)("%s fails with %s: everything is sent and written", (call, name) => {
    const faults = faultsOf(call, NTH, name);
    const frames = Array.from({ length: TIMES }, () => [SINGLES[0] ?? 0, E.EAGAIN]).flat();
    const out = runEgress({ frames, faults, waits: TIMES + 5, isWoken: true });
    expect(out.sentCounters).toEqual(numbersBut(TIMES));
    const receives4 = RECEIVES.flatMap((one) => [one, E.EAGAIN]);
    const back = runIngress({ receives4, faults, waits: TIMES + 5, isWoken: true });
    expect(back.numbers).toEqual(numbersBut(TIMES));
  });
});

const INFO4 = { level: 0, type: 8, data: concatBytes(new Uint8Array([2, 0, 0, 0]), B.address, B.address) };
const { remote, sendKey } = sessionKeys("a");

/** One datagram each; the port is its number, so that each is a frame of its own. */
const RECEIVES: readonly Received[] = Array.from({ length: TIMES }, (_, i) => {
  const packet = udp(counting(40), { ...ROUTED, ports: [i, 9] });
  return { from: A, bytes: sealMessage(sendKey, remote, BigInt(i), packet), control: [INFO4] };
});

function runIngress(script: KernelScript) {
  // The pair is made of test planes.
  const plane = createPair().b as TestPlane;
  const run = runLoop("ingress", plane, script);
  const { ingress } = plane.counters();
  expectLaw(plane);
  expect(ingress.counters.segments_out + dropsByLoop(ingress.drops)).toBe(ingress.counters.packets_passed);
  const numbers = run.written.map((frame) => new DataView(frame.buffer, frame.byteOffset).getUint16(30));
  return { ...run, ...ingress, numbers };
}

describe("TS-64: receives that fail", () => {
  const broken: Cost = { ended: CONSTANTS.ENDED_SOCKET };
  const table: Readonly<Partial<Record<Name, Cost>>> = {
    EINTR: NOTHING,
    EAGAIN: NOTHING,
    ECONNREFUSED: NOTHING,
    ENETUNREACH: NOTHING,
    EHOSTUNREACH: NOTHING,
    EHOSTDOWN: NOTHING,
    ENETDOWN: NOTHING,
    EMSGSIZE: NOTHING,
    ENOMEM: NOTHING,
    ENOBUFS: NOTHING,
    EINVAL: NOTHING,
    EIO: NOTHING,
    EFAULT: NOTHING,
    EBADF: broken,
    ENOTSOCK: broken,
  };
  it.each(eachFault(table))("PG-47: %s at calls %j", (name, places, { ended }) => {
    const faults = faultsOf("recvmsg", places, name);
    const run = runIngress({ receives4: RECEIVES, faults, isIpv6Missing: true, waits: 5 });
    expect(run.ended).toBe(ended ?? CONSTANTS.ENDED_STOPPED);
    expect(run.drops).toEqual({});
    expect(run.numbers).toEqual(numbersBut(ended === undefined ? TIMES : (places[0] ?? 0) - 1));
    expect(run.receiveErrnos).toEqual(QUIET.has(name) ? {} : { [E[name]]: places.length });
  });

  it.each([
    [0, CONSTANTS.ENDED_SOCKET],
    [5000, CONSTANTS.ENDED_SOCKET],
  ])(
    "PG-47: a socket that fails all the time is broken, also when it failed once %i ms before",
    (before, ended) => {
      let now = NOW;
      const receives4 = [E.ENOMEM, E.EAGAIN, ...Array(400).fill(E.ENOMEM)];
      const run = runIngress({
        receives4,
        isIpv6Missing: true,
        waits: 5,
        now: () => now,
        onPoll: () => {
          now = instant(now + before);
        },
      });
      expect(run.ended).toBe(ended);
    },
  );

  it("PG-47: a hundred and one errors over more than a second do not break it", () => {
    let now = NOW;
    const receives4 = Array.from({ length: 300 }, () => [E.ENOMEM, E.EAGAIN]).flat();
    const run = runIngress({
      receives4,
      isIpv6Missing: true,
      waits: 301,
      now: () => now,
      onPoll: () => {
        now = instant(now + 20);
      },
    });
    expect(run.ended).toBe(CONSTANTS.ENDED_STOPPED);
  });

  const TRAIN = concatBytes(...RECEIVES.slice(0, 3).map(({ bytes }) => bytes));
  const STRIDE = TRAIN.length / 3;
  const gro = (stride: number) => ({
    level: 17,
    type: 104,
    data: new Uint8Array(Uint32Array.of(stride).buffer),
  });
  it.each([
    ["a last datagram cut off", TRAIN.subarray(0, -1), [INFO4, gro(STRIDE)], 2, { wg_bad_tag: 1 }],
    [
      "a last datagram of a few bytes",
      TRAIN.subarray(0, 2 * STRIDE + 5),
      [INFO4, gro(STRIDE)],
      2,
      { wg_malformed: 1 },
    ],
    ["no stride", TRAIN, [INFO4], 0, { wg_bad_tag: 1 }],
    ["nothing said of it", TRAIN, [], 0, { udp_bad_meta: 1 }],
    ["a stride of one byte", TRAIN.subarray(0, 40), [INFO4, gro(1)], 0, undefined],
  ])(
    "PG-48: a train that came with %s: the rest of it passes, what is cut is counted",
    (_, bytes, control, frames, drops) => {
      const run = runIngress({ receives4: [{ from: A, bytes, control }] });
      expect(run.written).toHaveLength(frames);
      if (drops !== undefined) expect(run.drops).toEqual(drops);
    },
  );
});

describe("TS-64: writes to the TUN device that fail", () => {
  const refused: Cost = { reason: "tun_write_refused" };
  const gone: Cost = { ...refused, ended: CONSTANTS.ENDED_TUN_REMOVED };
  const table: Readonly<Partial<Record<Name, Cost>>> = {
    EINTR: NOTHING,
    EAGAIN: NOTHING,
    EIO: { reason: "tun_write_down" },
    EINVAL: refused,
    ENOBUFS: refused,
    ENOMEM: refused,
    EFAULT: refused,
    EBADF: gone,
    EBADFD: gone,
  };
  it.each(eachFault(table))("PG-38: %s at calls %j", (name, places, { reason, ended }) => {
    const faults = faultsOf("write", places, name);
    const run = runIngress({ receives4: RECEIVES, faults, isIpv6Missing: true, waits: 5 });
    expect(run.ended).toBe(ended ?? CONSTANTS.ENDED_STOPPED);
    expect(run.tunErrnos).toEqual(QUIET.has(name) ? {} : { [E[name]]: places.length });
    expect(run.drops).toEqual(reason === undefined ? {} : { [reason]: places.length });
    const last = (places[0] ?? 0) + 1;
    const all = ended === undefined ? TIMES : last;
    expect(run.numbers).toEqual(
      numbersBut(all, reason === undefined ? [] : places).slice(0, run.numbers.length),
    );
    expect(run.numbers.length).toBeGreaterThanOrEqual(ended === undefined ? TIMES - places.length : last - 2);
  });
});
