/** Flows that are told of: when they end, and what they come to (TN-91). */
import { describe, expect, it } from "vitest";
import { after, type Instant, instant, ip } from "../../../src/base/index.ts";
import type { FlowEnding, FlowRecord, FlowStamps, FlowUsage } from "../../../src/plane/index.ts";
import type { BookedFlow } from "../../../src/tunnel/flow-book.ts";
import { createFlowLog } from "../../../src/tunnel/flow-log.ts";
import type { Verdict } from "../../../src/tunnel/verdict.ts";

const START = instant(1_000_000);
const CID = "c1";
const RID = "r1";
const IDLE_MS = 120_000;
const DAY_MS = 86_400_000;
const FACTS = { resource: { name: "Office" }, subject: {} };
const NONE: FlowUsage = { out: stamps(0, 0), in: stamps(0, 0) };

function stamps(packets: number, bytes: number, last: Instant = instant(0)): FlowStamps {
  return { last, packets, bytes, hasFin: false, hasRst: false };
}

function withFin(of: FlowStamps): FlowStamps {
  return { ...of, hasFin: true };
}

function recordOf(port: number, real?: string): FlowRecord {
  return {
    protocol: 17,
    client: { address: ip("100.64.0.2"), port },
    remote: { address: ip("100.96.0.1"), port: 53 },
    ...(real !== undefined && { outside: { address: ip(real), port } }),
    out: "pass",
    in: "pass",
    slot: 1,
  };
}

function createLog() {
  const used = new Map<FlowRecord, FlowUsage>();
  /** What new records have been told of earlier ones. */
  const noted: [FlowRecord, "out" | "in"][] = [];
  const log = createFlowLog({
    usage: ({ record }) => used.get(record),
    note(_row, direction, { hasFin, hasRst }) {
      if (hasFin || hasRst) noted.push([_row.record, direction]);
    },
  });
  let id = 0;
  const row = (record: FlowRecord): BookedFlow<Verdict> => ({
    ...{ owner: CID, record, id: ++id },
    note: { kind: "pass", rid: RID },
  });
  const attach = (
    now: Instant,
    record: FlowRecord,
    { rid = RID, isAnew = false, isEnding = false } = {},
  ): void => {
    used.set(record, NONE);
    log.attach(now, { cid: CID, rid, row: row(record), facts: FACTS, isAnew, isEnding });
  };
  const detach = (now: Instant, record: FlowRecord, ending: FlowEnding): void => {
    const usage = used.get(record) ?? NONE;
    used.delete(record);
    log.detach(now, record, usage, ending);
  };
  const told = () => {
    const flows = [];
    for (let flow = log.poll(); flow !== undefined; flow = log.poll()) flows.push(flow);
    return flows.map(({ client, start, end, lastPacket, tx, rx, rid }) => {
      return { port: client.port, start, end, lastPacket, tx, rx, rid };
    });
  };
  /** As the gateway's loop does: at each time that is asked for. */
  const run = (until: Instant): void => {
    for (let at = log.pollTimeout(); at !== undefined && at <= until; at = log.pollTimeout())
      log.handleTimeout(at);
  };
  return { log, used, noted, attach, detach, told, run };
}

const at = (ms: number): Instant => after(START, ms);

describe("a flow of the log", () => {
  it("TN-91: is told when its record has seen both ends close, with what both directions carried", () => {
    const { log, used, attach, detach, told } = createLog();
    const record = recordOf(4000);
    attach(START, record);
    log.note(at(10), record, "out", 7);
    used.set(record, { out: stamps(3, 300, at(2000)), in: stamps(2, 5000, at(3000)) });
    detach(at(8000), record, "closed");
    expect(told()).toEqual([
      {
        ...{ port: 4000, rid: RID, start: START, end: at(3000), lastPacket: at(3000) },
        tx: { packets: 4, bytes: 307 },
        rx: { packets: 2, bytes: 5000 },
      },
    ]);
    expect(log.pollTimeout()).toBeUndefined();
  });

  it("TN-91: goes on by a new record under another policy, and is told once, with the sum", () => {
    const { log, used, attach, detach, told } = createLog();
    const [first, second] = [recordOf(4000), recordOf(4000)];
    attach(START, first);
    used.set(first, { out: stamps(3, 300), in: stamps(0, 0) });
    // The second is linked before the plane tells that the first is stale.
    attach(at(500), second);
    detach(at(1000), first, "stale");
    used.set(second, { out: stamps(2, 20, at(4000)), in: stamps(1, 9, at(4000)) });
    expect(told()).toEqual([]);
    detach(at(5000), second, "closed");
    expect(told()).toMatchObject([{ tx: { packets: 5, bytes: 320 }, rx: { packets: 1, bytes: 9 } }]);
    expect(log.pollTimeout()).toBeUndefined();
  });

  it.each([
    [
      "RST ended its record",
      "reset",
      { out: stamps(3, 300, at(4000)), in: { ...stamps(2, 9), hasRst: true } },
    ],
    [
      "its record has seen FIN both ways, and holds no more",
      "stale",
      { out: withFin(stamps(3, 300, at(4000))), in: withFin(stamps(2, 9)) },
    ],
  ] as const)("TN-91: is told when nothing came for 5 s, not before: %s", (_, ending, usage) => {
    const { used, attach, detach, told, run } = createLog();
    const record = recordOf(4000);
    attach(START, record);
    used.set(record, usage);
    detach(at(4500), record, ending);
    run(at(8000));
    expect(told()).toEqual([]);
    run(at(9000));
    expect(told()).toMatchObject([
      { end: at(4000), lastPacket: at(4000), tx: { packets: 3 }, rx: { packets: 2 } },
    ]);
  });

  it("TN-91: what its records have seen between them ends it: a new one is told of it", () => {
    const { log, used, noted, attach, detach, told } = createLog();
    const [first, second, third] = [recordOf(4000), recordOf(4000), recordOf(4000)];
    attach(START, first);
    used.set(first, { out: withFin(stamps(1, 0)), in: stamps(0, 0) });
    attach(at(500), second);
    expect(noted).toEqual([[second, "out"]]);
    used.set(second, { out: stamps(0, 0), in: withFin(stamps(1, 0)) });
    detach(at(1000), second, "stale");
    attach(at(1500), third);
    expect(noted.slice(1)).toEqual([
      [third, "out"],
      [third, "in"],
    ]);
    expect(told()).toEqual([]);
    detach(at(7000), third, "closed");
    expect(told()).toMatchObject([{ end: at(1500), tx: { packets: 1 }, rx: { packets: 1 } }]);
    expect(log.pollTimeout()).toBeUndefined();
  });

  it("TN-80, TN-91: what a record has counted that was displaced comes when the plane tells of it", () => {
    const { log, used, attach, told } = createLog();
    const [first, second] = [recordOf(4000), recordOf(4000)];
    attach(START, first);
    used.delete(first);
    attach(at(500), second);
    used.set(second, { out: stamps(1, 10), in: stamps(0, 0) });
    const displaced = { out: withFin(stamps(3, 300)), in: stamps(2, 20) };
    for (let i = 0; i < 2; i++) log.detach(at(1000), first, displaced, "displaced");
    log.endAll(at(2000));
    expect(told()).toMatchObject([{ tx: { packets: 4, bytes: 310 }, rx: { packets: 2, bytes: 20 } }]);
  });

  it("TN-78, TN-91: after FIN a SYN begins another flow; without, it is the same", () => {
    const { log, used, attach, told } = createLog();
    const [first, second, third] = [recordOf(4000), recordOf(4000), recordOf(4000)];
    attach(START, first);
    attach(at(500), second, { isAnew: true });
    expect(told()).toEqual([]);
    used.set(second, { out: withFin(stamps(1, 0)), in: stamps(0, 0) });
    attach(at(1000), third, { isAnew: true });
    expect(told()).toMatchObject([{ start: START, tx: { packets: 1 } }]);
    log.endAll(at(2000));
    expect(told()).toMatchObject([{ start: at(1000), tx: { packets: 0 } }]);
  });

  it("TN-91: without a new record it ends when it was idle for longer than 120 s, not before", () => {
    const { used, attach, detach, told, run } = createLog();
    const record = recordOf(4000);
    attach(START, record);
    used.set(record, { out: stamps(3, 300, at(30_000)), in: stamps(0, 0) });
    detach(at(31_000), record, "stale");
    run(at(30_000 + IDLE_MS - 1000));
    expect(told()).toEqual([]);
    run(at(30_000 + IDLE_MS));
    expect(told()).toMatchObject([{ lastPacket: at(30_000), end: at(30_000 + IDLE_MS) }]);
  });

  it("TN-91: one whose record is still there ends as well, and its record must go", () => {
    const { log, used, attach, told, run } = createLog();
    const record = recordOf(4000);
    attach(START, record);
    used.set(record, { out: stamps(3, 300, at(100_000)), in: stamps(0, 0) });
    run(at(100_000 + IDLE_MS - 1000));
    expect(log.pollIdle()).toBeUndefined();
    run(at(100_000 + IDLE_MS));
    expect(told()).toHaveLength(1);
    expect(log.pollIdle()?.record).toBe(record);
  });

  it("TN-91: one that runs for days is told each day, and the lines add up", () => {
    const { used, attach, detach, told, run } = createLog();
    const record = recordOf(4000);
    attach(START, record);
    for (let ms = 0; ms <= 2 * DAY_MS + 60_000; ms += 60_000) {
      used.set(record, { out: stamps(1 + ms / 60_000, 10 * (1 + ms / 60_000), at(ms)), in: stamps(0, 0) });
      run(at(ms));
    }
    detach(at(2 * DAY_MS + 60_000), record, "closed");
    const lines = told();
    expect(lines).toHaveLength(3);
    for (const [i, line] of lines.entries()) {
      expect(line.start - START).toBeGreaterThanOrEqual(i * DAY_MS);
      expect(line.start).toBe(i === 0 ? START : lines[i - 1]?.end);
    }
    expect(lines.reduce((sum, { tx }) => sum + tx.packets, 0)).toBe(2 * 1440 + 2);
    expect(lines.reduce((sum, { tx }) => sum + tx.bytes, 0)).toBe(10 * (2 * 1440 + 2));
  });

  it("TN-91: ends with access to its resource; those of other resources go on", () => {
    const { log, attach, told } = createLog();
    attach(START, recordOf(4000));
    attach(START, recordOf(4001), { rid: "r2" });
    log.end(at(1000), CID, RID);
    expect(told().map(({ port }) => port)).toEqual([4000]);
    log.end(at(2000), CID);
    expect(told().map(({ port }) => port)).toEqual([4001]);
  });

  it("TN-91: another resource or address is another flow; a refusal ends it", () => {
    const { log, attach, told } = createLog();
    attach(START, recordOf(4000, "198.51.100.7"));
    attach(at(1000), recordOf(4000, "198.51.100.8"));
    expect(told().map(({ end }) => end)).toEqual([at(1000)]);
    attach(at(2000), recordOf(4000, "198.51.100.8"), { rid: "r2" });
    expect(told().map(({ rid, end }) => [rid, end])).toEqual([[RID, at(2000)]]);
    log.refuse(at(3000), CID, recordOf(4000));
    expect(told().map(({ rid, end }) => [rid, end])).toEqual([["r2", at(3000)]]);
  });

  it("TN-91: one that begins with its end is none", () => {
    const { log, attach, told } = createLog();
    attach(START, recordOf(4000), { isEnding: true });
    log.endAll(START);
    expect(told()).toEqual([]);
  });

  it("TN-91: of those without a record the oldest end where there are too many", () => {
    const { log, attach, detach, told } = createLog();
    for (let port = 1; port <= 16_385; port++) {
      const record = recordOf(port);
      attach(START, record);
      detach(at(1), record, "stale");
    }
    expect(told().map(({ port }) => port)).toEqual([1]);
    log.endAll(at(2));
    expect(told()).toHaveLength(16_384);
  });
});

it("TN-91: flows of a full table that end at once are told without a standstill", () => {
  const { log, attach, told } = createLog();
  for (let port = 1; port <= 64_000; port++) attach(START, recordOf(port));
  log.end(at(1), CID);
  const startedAt = process.cpuUsage();
  expect(told()).toHaveLength(64_000);
  // Some milliseconds; with an array that is shifted, which moves what is left, seconds.
  expect(process.cpuUsage(startedAt).user / 1e6).toBeLessThan(0.7);
});
