/**
 * The poll law (style §7): driven only at its deadlines, the machine does the same at the same instants as
 * one that is looked at every second; and the books are right after whatever clients do (RL-26).
 */

import { expect, it } from "vitest";
import { type Instant, instant } from "../../../src/base/index.ts";
import type { TurnFields } from "../../../src/turn/index.ts";
import fc from "../../lib/property.ts";
import { type Client, createClient, createWorld, LIMITS, UDP, type World } from "./relay-world.ts";

type Step =
  | { readonly kind: "allocate"; readonly client: number; readonly lifetime: number; readonly form: number }
  | { readonly kind: "refresh"; readonly client: number; readonly lifetime: number; readonly form: number }
  | { readonly kind: "bind"; readonly client: number; readonly channel: number; readonly peer: number }
  | { readonly kind: "wait"; readonly ms: number };

const client = fc.nat(3);
const lifetime = fc.constantFrom(0, 600, 700, 3600);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("allocate" as const), client, lifetime, form: fc.nat(3) }),
  fc.record({ kind: fc.constant("refresh" as const), client, lifetime, form: fc.nat(2) }),
  fc.record({ kind: fc.constant("bind" as const), client, channel: fc.nat(3), peer: fc.nat(3) }),
  fc.record({
    kind: fc.constant("wait" as const),
    ms: fc.oneof(fc.integer({ min: 1, max: 999 }), fc.integer({ min: 1000, max: 1_000_000 })),
  }),
);

const FORMS: readonly TurnFields[] = [
  UDP,
  { ...UDP, additionalFamily: 2 },
  { ...UDP, evenPort: true },
  { ...UDP, requestedFamily: 2 },
];
const REFRESH_FORMS: readonly TurnFields[] = [{}, { requestedFamily: 1 }, { requestedFamily: 2 }];
const PEERS = ["203.0.113.9:1", "203.0.113.9:2", "[2001:db9::9]:1", "198.51.100.7:50000"];

function take(clients: readonly Client[], step: Exclude<Step, { kind: "wait" }>): void {
  const one = clients[step.client];
  if (one === undefined) return;
  // A nonce would grow stale, which is another story.
  one.nonce = undefined;
  if (step.kind === "allocate") one.allocate({ ...FORMS[step.form], lifetimeSeconds: step.lifetime });
  else if (step.kind === "refresh") {
    one.refresh({ ...REFRESH_FORMS[step.form], lifetimeSeconds: step.lifetime });
  } else one.bind(0x4000 + step.channel, PEERS[step.peer] ?? "");
}

/** Lets time pass; `tickMs`: and looks at the machine so often besides. */
function pass(world: World, until: Instant, tickMs: number | undefined, note: () => void): void {
  while (world.now < until) {
    const due = world.server.pollTimeout() ?? Number.POSITIVE_INFINITY;
    const tick = tickMs === undefined ? Number.POSITIVE_INFINITY : world.now + tickMs;
    const next = Math.min(until, due, tick);
    world.wait(next - world.now);
    note();
    expect(world.server.pollTimeout() ?? Number.POSITIVE_INFINITY).toBeGreaterThan(world.now);
  }
}

function transcriptOf(steps: readonly Step[], tickMs?: number): readonly string[] {
  const world = createWorld({
    ports: { lowest: 50000, highest: 50007 },
    limits: { ...LIMITS, allocationsPerUser: 2 },
  });
  const clients = [0, 1, 2, 3].map((n) =>
    createClient(world, `192.0.2.${n}:1`, { user: `user ${n % 2}`, lifeSeconds: 1e8 }),
  );
  const lines: string[] = [];
  const note = () => {
    for (const command of world.commands.splice(0)) {
      const { kind } = command;
      lines.push(`${world.now} ${kind} ${"port" in command ? command.port : command.binding.channel}`);
    }
    checkBooks(world, lines);
  };
  for (const one of steps) {
    if (one.kind === "wait") pass(world, instant(world.now + one.ms), tickMs, note);
    else take(clients, one);
    note();
  }
  return lines;
}

/** What the data path was told is what the machine says it has. */
function checkBooks({ server }: World, lines: readonly string[]): void {
  const countOf = (kind: string) => lines.filter((line) => line.split(" ")[1] === kind).length;
  const { boundChannels, allocations } = server.stats();
  expect(countOf("add-binding") - countOf("remove-binding")).toBe(boundChannels);
  expect(allocations).toBeLessThanOrEqual(4);
}

it("RL-26: deadlines miss nothing", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      expect(transcriptOf(steps, 1000)).toEqual(transcriptOf(steps));
    }),
    { numRuns: 40 },
  );
});

it("RL-26: one late tick does what many on time would have done", () => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 20 }),
      fc.integer({ min: 1, max: 4_000_000 }),
      (steps, lateMs) => {
        const late = transcriptOf([...steps, { kind: "wait", ms: lateMs }]).length;
        const world = createWorld();
        expect(world.server.pollTimeout()).toBeUndefined();
        expect(transcriptOf([...steps, { kind: "wait", ms: lateMs }], 60_000)).toHaveLength(late);
      },
    ),
    { numRuns: 20 },
  );
});
