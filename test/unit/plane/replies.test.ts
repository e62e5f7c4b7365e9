/** How many strangers are answered, by a worker that has a rest or none, and how their replies go out (PG-160). */
import { describe, expect, it } from "vitest";
import { CONSTANTS, OFFSETS } from "../../../bindings/memory/index.ts";
import { concatBytes, instant, type SocketAddress } from "../../../src/base/index.ts";
import { sealMessage } from "../../twin/plane/message.ts";
import { FD, type Received, runLoop } from "./kernel-script.ts";
import { A, B, createPair, NOW, sessionKeys, type testPlane } from "./pair.ts";
import { createStranger } from "./stranger.ts";

const { plane: PLANE, ingress: INGRESS } = OFFSETS;
const E = { EAGAIN: 11, ENOBUFS: 105 };
const LOCAL = { level: 0, type: 8, data: concatBytes(new Uint8Array(4), B.address, B.address) };
const LOCAL6 = { level: 41, type: 50, data: new Uint8Array(20).fill(1, 0, 16) };
/** The clock is read so often. */
const TICK = 16;
/** So many initiations have no need of a cookie (FREE_SHARE), once. */
const FREE = 10;

const { guard, stranger } = createStranger();
const INITIATION = stranger.initiation();
let strangers = 0;

/** Each from an address of its own. */
function flood(count: number, family: 4 | 6 = 4): Received[] {
  return Array.from({ length: count }, () => {
    strangers++;
    const bytes = [strangers >> 16, (strangers >> 8) & 255, strangers & 255];
    const from: SocketAddress =
      family === 4
        ? { address: Uint8Array.of(198, ...bytes), port: 4000 }
        : { address: Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, ...bytes, ...new Uint8Array(8)), port: 4000 };
    return { from, bytes: INITIATION, control: [family === 4 ? LOCAL : LOCAL6] };
  });
}

interface Burst {
  readonly strangers: number;
  /** Messages of a peer behind them. */
  readonly messages?: number;
  /** How long it lasts; then nothing waits until the next window begins. */
  readonly lastsMs?: number;
}

/** How many of each burst of initiations are answered, when there are so many more than 600 before. */
function answered(bursts: readonly Burst[], extra = 0): readonly number[] {
  const plane = createPair().b as ReturnType<typeof testPlane>;
  plane.execute({ kind: "set-guard", guard });
  const words = new Uint32Array(plane.memory.buffer);
  words[((words[(CONSTANTS.PLANE_ADDRESS + PLANE.ingress) >> 2] ?? 0) + INGRESS.replyExtra) >> 2] = extra;
  const { remote, sendKey } = sessionKeys("a");
  let counter = 0n;
  const data = (count = 0): Received[] =>
    Array.from({ length: count }, () => {
      const bytes = sealMessage(sendKey, remote, counter++, new Uint8Array());
      return { from: A, bytes, control: [LOCAL] };
    });
  const received = bursts.flatMap((burst) => [...flood(burst.strangers), ...data(burst.messages), E.EAGAIN]);
  const sent: number[] = [];
  let now: number = NOW;
  let perTick = 0;
  runLoop("ingress", plane, {
    receives4: received,
    waits: bursts.length,
    now: () => {
      now += perTick;
      return instant(Math.floor(now));
    },
    onPoll: (waits, all) => {
      sent[waits - 1] = all;
      now += 100;
      const next = bursts[waits];
      perTick = next?.lastsMs === undefined ? 0 : next.lastsMs / (next.strangers / TICK);
    },
  });
  return sent.map((all, i) => all - (sent[i - 1] ?? 0));
}

const repeated = (times: number, burst: Burst) => Array.from({ length: times }, () => burst);

describe("replies while next to no data comes (PG-160)", () => {
  it("grow by a quarter and 150 in each window in which all were asked for, and the worker came to an end", () => {
    expect(answered(repeated(4, { strangers: 1300 }))).toEqual([600, 750, 937, 1171]);
  });

  it("stay as they are when fewer are asked for, and fall by a quarter of that when fewer than half are", () => {
    const three = repeated(3, { strangers: 1300 });
    expect(answered([...three, { strangers: 1170 }, { strangers: 1300 }]).slice(3)).toEqual([1170, 1171]);
    expect(answered([...three, { strangers: 585 }, { strangers: 1300 }]).slice(3)).toEqual([585, 1171]);
    expect(answered([...three, { strangers: 584 }, { strangers: 1300 }]).slice(3)).toEqual([584, 1029]);
  });

  it("fall by a quarter of what they have grown by when something always waits", () => {
    // Two windows long: after the first, in which nothing came to an end, there are 429 more instead of 571.
    const bursts = [...repeated(3, { strangers: 1300 }), { strangers: 3200, lastsMs: 190 }];
    expect(answered(bursts).slice(3)).toEqual([1171 + 1029]);
  });

  it("are 600 again behind a window that had more than 50 batches of data", () => {
    const behind = (messages: number) =>
      answered([{ strangers: 700 }, { strangers: 800, messages }, { strangers: 1300 }])[2];
    expect(behind(50)).toBe(937);
    expect(behind(51)).toBe(600);
  });

  it("are 6,000 at most", () => {
    // The loop begins behind a window without an end: three quarters of it are left.
    expect(answered([{ strangers: 4900 }, { strangers: 6100 }], 5604)).toEqual([4803, 6000]);
  });
});

describe("replies on their way (WG-33, PF-80)", () => {
  function sent(receives: { receives4?: Received[]; receives6?: Received[] }, sends: readonly number[] = []) {
    const plane = createPair().b as ReturnType<typeof testPlane>;
    plane.execute({ kind: "set-guard", guard });
    const run = runLoop("ingress", plane, { ...receives, sends });
    const { counters, sendErrnos } = plane.counters().ingress;
    return { ...run, counters, sendErrnos };
  }

  it("go 16 at a time, and the rest before the worker turns to the other socket", () => {
    expect(sent({ receives4: flood(FREE + 16) }).sendsAtOnce).toEqual([16]);
    expect(sent({ receives4: flood(FREE + 15) }).sendsAtOnce).toEqual([15]);
    // 32 receives of one socket in a row, of which the first ten bring no reply.
    expect(sent({ receives4: flood(FREE + 40) }).sendsAtOnce).toEqual([16, 6, 16, 2]);
  });

  it("go out by the socket of their family, each to its own address", () => {
    const receives4 = flood(FREE + 30);
    const receives6 = flood(5, 6);
    const run = sent({ receives4, receives6 });
    expect(run.sent.map(({ fd }) => fd).filter((fd) => fd === FD.udp6)).toHaveLength(5);
    const wanted = [...receives4.slice(FREE, 32), ...receives6, ...receives4.slice(32)];
    expect(run.sent.map(({ to }) => to)).toMatchObject(wanted.map(({ from }) => from));
  });

  it("behind one that the kernel refuses go on, and each refusal is counted", () => {
    const run = sent({ receives4: flood(FREE + 6) }, [0, 0, E.EAGAIN, E.ENOBUFS, 0, E.EAGAIN]);
    expect(run.sent).toHaveLength(3);
    expect(run.counters.cookies_sent).toBe(3);
    expect(run.sendErrnos).toEqual({ [E.EAGAIN]: 2, [E.ENOBUFS]: 1 });
  });
});
