import { describe, expect, it } from "vitest";
import { agentWithHost, type Check, type LoneAgent, later } from "./lone-agent.ts";

const HOST = 2_130_706_175;
const PEER_AT = "198.51.100.1:1";
const OTHER_AT = "198.51.100.2:1";

/** An agent whose pair with the peer is selected, with nothing to say any more. */
function selected(): LoneAgent {
  const lone = agentWithHost();
  lone.addRemote("host", PEER_AT, HOST);
  lone.answer(lone.lastTo(PEER_AT));
  expect(lone.selections()).toEqual([PEER_AT]);
  return lone;
}

/** What `checkSize` sends. */
function checkSize(lone: LoneAgent, bytes: number): readonly Check[] {
  const before = lone.checks.length;
  lone.agent.checkSize(bytes);
  lone.tick();
  return lone.checks.slice(before).filter(({ isWhole }) => isWhole);
}

const sizes = (lone: LoneAgent) =>
  lone.events.flatMap((event) => (event.kind === "size-answered" ? [event.bytes] : []));

describe("checks of a size", () => {
  it.each([528, 1272, 1312])(
    "SN-151: a check of %i bytes on the selected pair, whole, not nominating",
    (bytes) => {
      const lone = selected();
      const [check, ...others] = checkSize(lone, bytes);
      expect(others).toEqual([]);
      expect(check).toMatchObject({ to: PEER_AT, isWhole: true, message: { isNominated: false } });
      expect(check?.bytes.length).toBe(bytes);
      lone.answer(check);
      expect(sizes(lone)).toEqual([bytes]);
    },
  );

  it("SN-151: nothing is sent without a selected pair, or where the check alone is longer", () => {
    const lone = agentWithHost();
    lone.addRemote("host", PEER_AT, HOST);
    expect(checkSize(lone, 1312)).toEqual([]);
    expect(checkSize(selected(), 88)).toEqual([]);
    expect(checkSize(selected(), 1311)).toEqual([]);
  });

  it("SN-151, SN-8: only a signed success counts, and only once", () => {
    const lone = selected();
    const [check] = checkSize(lone, 1312);
    lone.answer(check, { password: "x".repeat(22) });
    expect(sizes(lone)).toEqual([]);
    lone.answer(check);
    lone.answer(check);
    expect(sizes(lone)).toEqual([1312]);
    const [refused] = checkSize(lone, 1312);
    lone.answer(refused, { error: 420 });
    expect(sizes(lone)).toEqual([1312]);
  });

  it("SN-151, SN-92: unanswered it says nothing about the path, answered nothing about its round trip", () => {
    const lone = selected();
    const unanswered = Array.from({ length: 20 }, () => checkSize(lone, 1312)[0]);
    expect(lone.agent.isSuspect()).toBe(false);
    for (let ms = 0; ms < 30_000; ms += 500) {
      later(lone, 500);
      for (const check of lone.checks) if (!check.isWhole) lone.answer(check);
    }
    expect(lone.states().at(-1)).toBe("completed");
    const rttMs = lone.agent.rttMs();
    lone.answer(unanswered[0]);
    expect(sizes(lone)).toEqual([1312]);
    expect(lone.agent.rttMs()).toBe(rttMs);
  });

  it("SN-151: an answer that comes after another pair was selected proves nothing", () => {
    const lone = selected();
    const [check] = checkSize(lone, 1312);
    lone.addRemote("host", OTHER_AT, HOST + 1);
    lone.answer(lone.lastTo(OTHER_AT));
    expect(lone.selections().at(-1)).toBe(OTHER_AT);
    lone.answer(check);
    expect(sizes(lone)).toEqual([]);
  });

  it("SN-151: of 65 the oldest is forgotten, and with the agent all", () => {
    const lone = selected();
    const before = lone.transactions.size;
    const [first] = checkSize(lone, 1312);
    const rest = Array.from({ length: 64 }, () => checkSize(lone, 1312)[0]);
    expect(lone.transactions.size).toBe(before + 64);
    lone.answer(first);
    expect(sizes(lone)).toEqual([]);
    lone.answer(rest[0]);
    expect(sizes(lone)).toEqual([1312]);
    lone.agent.close();
    expect(lone.transactions.size).toBe(0);
  });
});
