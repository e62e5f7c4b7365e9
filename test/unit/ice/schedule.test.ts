import { describe, expect, it } from "vitest";
import { instant } from "../../../src/base/index.ts";
import { DEFAULT_TIMINGS, type IceTimings, IDLE_TIMINGS } from "../../../src/ice/index.ts";
import { createLoneAgent, type LoneAgent, START } from "./lone-agent.ts";

const PEER_ADDRESS = "198.51.100.2:52625";

/** An agent with one pair, whose first check has just been sent. */
function onePair(timings: IceTimings): LoneAgent {
  const lone = createLoneAgent("controlling");
  lone.setTimings(timings);
  lone.addHost("192.0.2.1");
  lone.addRemote("host", PEER_ADDRESS);
  return lone;
}

/** Answers every check until `until`; returns when the first unanswered one goes out. */
function answerUntil(lone: LoneAgent, until: number): number {
  while (lone.now < until) {
    lone.answer(lone.lastTo(PEER_ADDRESS));
    lone.runTo(lone.agent.pollTimeout() ?? until);
  }
  return lone.now;
}

describe("SN-50: the schedule of checks", () => {
  it("default, never answered: 250, 750, 1750, 3250, then every 1500; 12 in all; removed at 15 250", () => {
    const lone = onePair(DEFAULT_TIMINGS);
    lone.runTo(START + 15_249);
    const extra = [100, 200, 350, 450];
    expect(lone.timesTo(PEER_ADDRESS).filter((time) => !extra.includes(time))).toEqual([
      0, 250, 750, 1750, 3250, 4750, 6250, 7750, 9250, 10_750, 12_250, 13_750,
    ]);
    expect(lone.agent.pairCount()).toBe(1);
    lone.runTo(START + 15_250);
    expect(lone.agent.pairCount()).toBe(0);
    expect(lone.timesTo(PEER_ADDRESS), "SN-144").toHaveLength(12 + extra.length);
    expect(lone.states()).toEqual(["checking", "disconnected"]);
  });

  it("idle, never answered: every 25 000; 4 in all; removed at 100 000", () => {
    const lone = onePair(IDLE_TIMINGS);
    lone.runTo(START + 99_999);
    expect(lone.timesTo(PEER_ADDRESS)).toEqual([0, 100, 200, 300, 400, 25_000, 50_000, 75_000]);
    expect(lone.agent.pairCount()).toBe(1);
    lone.runTo(START + 100_000);
    expect(lone.agent.pairCount()).toBe(0);
  });

  it("default, succeeded, then silent: 1500, 2000, 3000, 4500, then every 1500; removed at 16 500", () => {
    const lone = onePair(DEFAULT_TIMINGS);
    const silentSince = answerUntil(lone, START + 30_000);
    lone.runTo(silentSince + 16_499);
    expect(lone.timesTo(PEER_ADDRESS, silentSince)).toEqual([
      0, 1500, 2000, 3000, 4500, 6000, 7500, 9000, 10_500, 12_000, 13_500, 15_000,
    ]);
    expect(lone.agent.pairCount()).toBe(1);
    lone.runTo(silentSince + 16_500);
    expect(lone.agent.pairCount()).toBe(0);
  });

  it("idle, succeeded, then silent: every 25 000; removed at 100 000", () => {
    const lone = onePair(IDLE_TIMINGS);
    const silentSince = answerUntil(lone, START + 300_000);
    lone.runTo(silentSince + 99_999);
    expect(lone.timesTo(PEER_ADDRESS, silentSince)).toEqual([0, 25_000, 50_000, 75_000]);
    expect(lone.agent.pairCount()).toBe(1);
    lone.runTo(silentSince + 100_000);
    expect(lone.agent.pairCount()).toBe(0);
  });

  it.each([
    ["default", DEFAULT_TIMINGS, 1500],
    ["idle", IDLE_TIMINGS, 25_000],
  ])("%s: steady interval of an answered pair", (_name, timings, intervalMs) => {
    const lone = onePair(timings);
    answerUntil(lone, START + 200_000);
    const times = lone.timesTo(PEER_ADDRESS).slice(-4);
    expect(times.map((time, i) => time - (times[i - 1] ?? time - intervalMs))).toEqual(
      Array(4).fill(intervalMs),
    );
  });

  it("worst case from path death to removal: 18 000, just after an answered check", () => {
    const lone = onePair(DEFAULT_TIMINGS);
    answerUntil(lone, START + 30_000);
    lone.answer(lone.lastTo(PEER_ADDRESS));
    const died = lone.now;
    lone.runTo(died + 17_999);
    expect(lone.agent.pairCount()).toBe(1);
    lone.runTo(died + 18_000);
    expect(lone.agent.pairCount()).toBe(0);
  });

  it.each([0, 1, 2, 3])(
    "path died while idle, %i checks missed, then woken: removal 12 000 to 18 000 later",
    (missed) => {
      const lone = onePair(DEFAULT_TIMINGS);
      answerUntil(lone, START + 30_000);
      lone.setTimings(IDLE_TIMINGS);
      answerUntil(lone, START + 200_000);
      lone.answer(lone.lastTo(PEER_ADDRESS));
      lone.runTo(lone.now + 25_000 * missed + 10_000);
      const woken = lone.now;
      lone.setTimings(DEFAULT_TIMINGS);
      lone.runTo(woken + 11_999);
      expect(lone.agent.pairCount()).toBe(1);
      lone.runTo(woken + 18_000);
      expect(lone.agent.pairCount()).toBe(0);
    },
  );

  it("SN-49: default timings send a check at once if the last is 1.5 s old, and not before", () => {
    for (const [ageMs, sent] of [
      [1499, 0],
      [1500, 1],
    ] as const) {
      const lone = onePair(IDLE_TIMINGS);
      answerUntil(lone, START + 200_000);
      lone.answer(lone.lastTo(PEER_ADDRESS));
      lone.now = instant(lone.now + ageMs);
      const before = lone.checks.length;
      lone.setTimings(DEFAULT_TIMINGS);
      expect(lone.checks.length - before).toBe(sent);
    }
  });

  it("SN-122: after an hour of sleep there is one check per pair, and nothing fails by counting", () => {
    const lone = onePair(DEFAULT_TIMINGS);
    answerUntil(lone, START + 30_000);
    lone.answer(lone.lastTo(PEER_ADDRESS));
    const before = lone.checks.length;
    lone.now = instant(lone.now + 3_600_000);
    lone.tick();
    lone.tick();
    expect(lone.checks.length - before).toBe(1);
    expect(lone.agent.pairCount()).toBe(1);
    expect(lone.states().at(-1)).toBe("completed");
  });

  it("SN-45: a nomination that waits jumps the queue", () => {
    const lone = createLoneAgent("controlling");
    lone.addHost("192.0.2.1");
    lone.addRemote("host", PEER_ADDRESS);
    lone.runTo(START + 20);
    lone.answer(lone.checks[0]);
    expect(lone.timesTo(PEER_ADDRESS)).toEqual([0, 20]);
    expect(lone.checks.map((check) => check.message.isNominated)).toEqual([false, true]);
  });

  it("SN-48: an answer to a check that was forgotten is not matched", () => {
    const lone = onePair(DEFAULT_TIMINGS);
    const first = lone.checks[0];
    answerUntil(lone, START + 60_000);
    const kept = [...lone.transactions];
    expect(kept).toHaveLength(12);
    const states = lone.states().length;
    lone.answer(first);
    expect(lone.states()).toHaveLength(states);
    expect(new Set(lone.checks.map((check) => check.message.frame.transactionId.join())).size).toBe(
      lone.checks.length,
    );
  });
});

describe("SN-144: extra checks while nothing has been answered", () => {
  const OTHER = "198.51.100.3:52625";

  it("100 ms after the last check of their pair, four per pair, one every 50 ms in all", () => {
    const lone = onePair(DEFAULT_TIMINGS);
    lone.addRemote("host", OTHER, 900);
    lone.runTo(START + 700);
    expect(lone.timesTo(PEER_ADDRESS)).toEqual([0, 100, 200, 250, 350, 450]);
    expect(lone.timesTo(OTHER)).toEqual([0, 150, 250, 400, 500, 600]);
  });

  it("none any more once a pair has been answered, whichever", () => {
    const lone = onePair(DEFAULT_TIMINGS);
    lone.addRemote("host", OTHER, 900);
    lone.runTo(START + 110);
    lone.answer(lone.checks[0]);
    lone.runTo(START + 700);
    expect(lone.timesTo(OTHER)).toEqual([0, 250]);
  });

  it("an answer to an extra check counts like any other", () => {
    const lone = onePair(DEFAULT_TIMINGS);
    lone.runTo(START + 100);
    lone.answer(lone.lastTo(PEER_ADDRESS));
    expect(lone.selections()).toEqual([PEER_ADDRESS]);
    expect(lone.lastTo(PEER_ADDRESS)?.message.isNominated).toBe(true);
  });

  it("a late tick sends one, and the others follow", () => {
    const lone = createLoneAgent("controlling");
    lone.addHost("192.0.2.1");
    for (let i = 1; i <= 9; i++) lone.addRemote("host", `198.51.100.${i}:1`, 1000 - i);
    lone.now = instant(START + 200);
    lone.tick();
    expect(lone.checks).toHaveLength(9 + 1);
    lone.runTo(START + 249);
    expect(lone.checks).toHaveLength(9 + 1);
  });
});
