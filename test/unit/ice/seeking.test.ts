/** A relayed connection that looks for a direct path (SN-146). */
import { describe, expect, it } from "vitest";
import { DEFAULT_TIMINGS, IDLE_TIMINGS } from "../../../src/ice/index.ts";
import { agentWithHost, type LoneAgent } from "./lone-agent.ts";

const DIRECT = "198.51.100.2:40000";
const RELAYED = "203.0.113.9:50000";
/** SN-50: checks of a pair that never answers. */
const ROUND = [0, 250, 750, 1750, 3250, 4750, 6250, 7750, 9250, 10750, 12250, 13750];

/** Both candidates of the peer are checked; only the one at the relay is answered, for as long as it is asked. */
function relayedAgent(role: "controlling" | "controlled" = "controlling"): LoneAgent {
  const lone = agentWithHost(role);
  lone.addRemote("host", DIRECT);
  lone.addRemote("relay", RELAYED, 10);
  if (role === "controlled") lone.check(RELAYED, { isNominated: true });
  answerRelay(lone, 100);
  return lone;
}

/** Lets time pass while the relayed path answers. */
function answerRelay(lone: LoneAgent, ms: number): void {
  const until = lone.now + ms;
  while (lone.now < until) {
    const count = lone.checks.filter(({ to }) => to === RELAYED).length;
    lone.runTo(Math.min(until, lone.now + 50));
    for (const check of lone.checks.filter(({ to }) => to === RELAYED).slice(Math.max(0, count - 1))) {
      lone.answer(check);
    }
  }
}

describe("a relayed connection", () => {
  it.each(["controlling", "controlled"] as const)(
    "SN-146: checks direct pairs anew every 30 s, as the schedule has it (%s)",
    (role) => {
      const lone = relayedAgent(role);
      answerRelay(lone, 29_850);
      const since = lone.now;
      expect(lone.selections().at(-1)).toBe(RELAYED);
      answerRelay(lone, 70_000);
      const times = lone.timesTo(DIRECT, since);
      const [first = 0] = times;
      expect(first).toBeLessThanOrEqual(60);
      const rounds = [0, 30_000, 60_000].flatMap((start) => ROUND.map((at) => first + start + at));
      expect(times).toEqual(rounds.filter((at) => at <= 70_000));
      expect(lone.states().at(-1), "a pair on trial is no prospect").toBe("completed");
    },
  );

  it("SN-146: the first answer of a direct pair makes it the path, and nothing is looked for any more", () => {
    const lone = relayedAgent();
    answerRelay(lone, 30_000);
    lone.answer(lone.lastTo(DIRECT));
    expect(lone.selections().at(-1)).toBe(DIRECT);
    expect(lone.agent.pairs().map(({ state }) => state)).toContain("selected");
    const others = lone.agent.pairCount();
    answerRelay(lone, 2_000);
    expect(lone.agent.pairCount()).toBe(others);
  });

  it("SN-146: idle it stays quiet, and looks at once when it is used again", () => {
    const lone = relayedAgent();
    answerRelay(lone, 20_000);
    lone.setTimings(IDLE_TIMINGS);
    const idleSince = lone.now;
    answerRelay(lone, 60_000);
    expect(lone.timesTo(DIRECT, idleSince + 1)).toEqual([]);
    const wokenAt = lone.now;
    lone.setTimings(DEFAULT_TIMINGS);
    expect(lone.timesTo(DIRECT, wokenAt)).toEqual([0]);
  });
});
