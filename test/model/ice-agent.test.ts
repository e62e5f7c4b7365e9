import { describe, expect, it } from "vitest";
import { instant, toHex } from "../../src/base/index.ts";
import { DEFAULT_TIMINGS, IDLE_TIMINGS, MAX_OPTIMISTIC, MAX_PAIRS } from "../../src/ice/index.ts";
import fc from "../lib/property.ts";
import { createLoneAgent, type LoneAgent } from "../unit/ice/lone-agent.ts";

const LOCALS = ["192.0.2.1", "192.0.2.2", "2001:db8::1"];
const REMOTES = ["198.51.100.1:1", "198.51.100.2:52625", "[2001:db8::2]:1", "203.0.113.1:40000"];
const KINDS = ["host", "srflx", "relay"];

type Step =
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "local"; readonly i: number }
  | { readonly kind: "remote" | "remove"; readonly i: number; readonly j: number }
  | { readonly kind: "check"; readonly i: number; readonly j: number; readonly isNominated: boolean }
  | { readonly kind: "answer"; readonly back: number }
  | { readonly kind: "timings"; readonly isIdle: boolean };

const index = fc.nat({ max: 3 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 9000 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("local" as const), i: index }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom("remote" as const, "remove" as const), i: index, j: index }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("check" as const),
      i: index,
      j: index,
      isNominated: fc.boolean(),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("answer" as const), back: fc.nat({ max: 5 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("timings" as const), isIdle: fc.boolean() }) },
);
const script = fc.array(step, { minLength: 5, maxLength: 40 });

function apply(lone: LoneAgent, step: Exclude<Step, { kind: "wait" }>): void {
  switch (step.kind) {
    case "local":
      lone.addHost(LOCALS[step.i % LOCALS.length] ?? "");
      return;
    case "remote":
      lone.addRemote(KINDS[step.j % KINDS.length] ?? "", REMOTES[step.i] ?? "", 1000 * (step.j + 1));
      return;
    case "remove":
      lone.removeRemote(KINDS[step.j % KINDS.length] ?? "", REMOTES[step.i] ?? "");
      return;
    case "check":
      lone.check(REMOTES[step.i] ?? "", {
        local: `${LOCALS[step.j % 2]}:52625`,
        isNominated: step.isNominated,
      });
      return;
    case "answer": {
      const check = lone.checks.at(-1 - step.back);
      if (check !== undefined) lone.answer(check);
      return;
    }
    case "timings":
      lone.setTimings(step.isIdle ? IDLE_TIMINGS : DEFAULT_TIMINGS);
  }
}

/** Time passes: only at the agent's deadlines, or with a tick every few milliseconds as well. */
function pass(lone: LoneAgent, ms: number, tickMs: number | undefined): void {
  const until = lone.now + ms;
  while (tickMs !== undefined && lone.now + tickMs < until) {
    lone.runTo(lone.now + tickMs);
    lone.tick();
  }
  lone.runTo(until);
}

function transcript(
  role: "controlling" | "controlled",
  steps: readonly Step[],
  tickMs?: number,
): readonly string[] {
  const lone = createLoneAgent(role, 7);
  for (const step of steps) {
    if (step.kind === "wait") pass(lone, step.ms, tickMs);
    else apply(lone, step);
    const due = lone.agent.pollTimeout();
    expect(due === undefined || due > lone.now).toBe(true);
    expect(lone.agent.pairCount()).toBeLessThanOrEqual(MAX_PAIRS);
    expect(lone.agent.remoteCount()).toBeLessThanOrEqual(REMOTES.length * 4 + MAX_OPTIMISTIC);
  }
  return [
    ...lone.checks.map((check) => `${check.at} ${check.to} ${toHex(check.bytes)}`),
    ...lone.events.map((event) => JSON.stringify(event)),
  ];
}

describe.each(["controlling", "controlled"] as const)("an agent, %s", (role) => {
  it("poll law: no deadline is hidden, none in the past, early ticks change nothing", () => {
    fc.assert(
      fc.property(script, fc.integer({ min: 3, max: 400 }), (steps, tickMs) => {
        expect(transcript(role, steps, tickMs)).toEqual(transcript(role, steps));
      }),
      { numRuns: 150 },
    );
  });

  it("SN-122: one late tick sends at most one check per pair and is idempotent", () => {
    fc.assert(
      fc.property(script, fc.integer({ min: 1, max: 7_200_000 }), (steps, lateMs) => {
        const lone = createLoneAgent(role, 7);
        for (const step of steps) {
          if (step.kind === "wait") pass(lone, step.ms, undefined);
          else apply(lone, step);
        }
        const before = lone.checks.length;
        const pairs = lone.agent.pairCount();
        lone.now = instant(lone.now + lateMs);
        lone.tick();
        const sent = lone.checks.length - before;
        // The tick may form pairs, too (SN-146).
        expect(sent).toBeLessThanOrEqual(Math.max(pairs, lone.agent.pairCount()));
        lone.tick();
        expect(lone.checks.length - before).toBe(sent);
      }),
      { numRuns: 150 },
    );
  });
});
