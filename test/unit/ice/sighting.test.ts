import { describe, expect, it } from "vitest";
import { agentWithHost, type LoneAgent, later } from "./lone-agent.ts";

const HOST = 2_130_706_175;
const SRFLX = 1_686_109_951;
const OLD = "198.51.100.1:1";
const NEW = "198.51.100.1:999";

/** A selected pair on which the peer has checked us, and two seconds later. */
function selected(role: "controlling" | "controlled" = "controlled"): LoneAgent {
  const lone = agentWithHost(role);
  lone.addRemote("host", OLD, HOST);
  lone.check(OLD, { isNominated: role === "controlled" });
  lone.answer(lone.lastTo(OLD));
  later(lone, 2_000);
  lone.answer(lone.lastTo(OLD));
  expect(lone.selections()).toEqual([OLD]);
  return lone;
}

describe("SN-145: data from another address of the peer", () => {
  it.each(["controlling", "controlled"] as const)(
    "%s: is checked at once, without nomination, and the answer moves the path",
    (role) => {
      const lone = selected(role);
      lone.data(NEW);
      expect(lone.lastTo(NEW)?.at).toBe(lone.now);
      expect(lone.lastTo(NEW)?.message.isNominated).toBe(false);
      expect(lone.selections()).toEqual([OLD]);
      later(lone, 40);
      lone.answer(lone.lastTo(NEW));
      expect(lone.selections()).toEqual([OLD, NEW]);
      // From now on it is a pair like any other; the controlling side nominates it.
      expect(lone.timesTo(NEW, lone.now)).toEqual([0]);
      expect(lone.lastTo(NEW)?.message.isNominated).toBe(role === "controlling");
      expect(lone.agent.rttMs()).toBe(40);
    },
  );

  it("moves nothing by itself, makes no candidate, and leaves nothing behind when nobody answers", () => {
    const lone = selected();
    const transactions = lone.transactions.size;
    for (let i = 0; i < 100; i++) {
      lone.data(`198.51.100.1:${2_000 + i}`);
      later(lone, 100);
      lone.answer(lone.lastTo(OLD));
    }
    expect(lone.selections()).toEqual([OLD]);
    expect([lone.agent.remoteCount(), lone.agent.pairCount()]).toEqual([1, 1]);
    expect(lone.transactions.size - transactions).toBeLessThanOrEqual(10);
  });

  it("ten checks a second, however many packets come from however many addresses", () => {
    const lone = selected();
    const before = lone.checks.length;
    for (let i = 0; i < 100; i++) {
      lone.data(`198.51.100.1:${2_000 + i}`);
      later(lone, 10);
    }
    expect(lone.checks.slice(before).filter(({ to }) => to !== OLD)).toHaveLength(10);
  });

  it("an answer from elsewhere, a late one, or one to an earlier check moves nothing", () => {
    const lone = selected();
    lone.data(NEW);
    lone.answer(lone.lastTo(NEW), { from: "203.0.113.66:1" });
    lone.data(NEW);
    const late = lone.lastTo(NEW);
    later(lone, 2_001);
    lone.answer(late);
    lone.data(NEW);
    const earlier = lone.lastTo(NEW);
    later(lone, 100);
    lone.data("198.51.100.1:1000");
    lone.answer(earlier);
    expect(lone.selections()).toEqual([OLD]);
    lone.answer(lone.lastTo("198.51.100.1:1000"), { password: "x".repeat(22) });
    expect(lone.selections()).toEqual([OLD]);
    lone.answer(lone.lastTo("198.51.100.1:1000"));
    expect(lone.selections()).toEqual([OLD, "198.51.100.1:1000"]);
  });

  it("when the old address speaks again it has its place back, and data moves this path no more", () => {
    const lone = selected();
    lone.data(NEW);
    lone.answer(lone.lastTo(NEW));
    lone.check(OLD, { isNominated: true });
    expect(lone.selections()).toEqual([OLD, NEW, OLD]);
    for (const address of [NEW, "198.51.100.1:1000"]) {
      const before = lone.timesTo(address).length;
      lone.data(address);
      expect(lone.timesTo(address)).toHaveLength(before);
      later(lone, 200);
    }
    expect(lone.selections()).toEqual([OLD, NEW, OLD]);
    // The peer's own check still can (SN-141).
    lone.check("198.51.100.1:1000", { isNominated: true });
    lone.answer(lone.lastTo("198.51.100.1:1000"));
    expect(lone.selections().at(-1)).toBe("198.51.100.1:1000");
  });

  it("a signalled address is a way of its own: data from there changes nothing", () => {
    const lone = selected();
    lone.addRemote("srflx", NEW, SRFLX);
    lone.answer(lone.lastTo(NEW));
    later(lone, 50);
    const before = lone.checks.length;
    lone.data(NEW);
    expect(lone.checks).toHaveLength(before);
    expect(lone.selections()).toEqual([OLD]);
  });

  it("a signalled address whose pair was given up is paired again, and does not replace the path", () => {
    const lone = selected();
    lone.addRemote("srflx", NEW, SRFLX);
    for (let i = 0; i < 32; i++) {
      later(lone, 500);
      lone.answer(lone.lastTo(OLD));
    }
    expect(lone.agent.pairCount()).toBe(1);
    lone.data(NEW);
    lone.answer(lone.lastTo(NEW));
    expect(lone.agent.pairCount()).toBe(2);
    expect(lone.selections()).toEqual([OLD]);
  });

  it("SN-35: from a withdrawn address it is no reason for anything", () => {
    const lone = selected();
    lone.addRemote("srflx", NEW, SRFLX);
    lone.removeRemote("srflx", NEW);
    const before = lone.checks.length;
    lone.data(NEW);
    expect(lone.checks).toHaveLength(before);
  });

  it("to another address of ours it is for the peer's own checks to show", () => {
    const lone = selected();
    lone.addHost("192.0.2.2");
    const before = lone.checks.length;
    lone.data(NEW, "192.0.2.2");
    expect(lone.checks).toHaveLength(before);
  });

  it("the path follows one new address after the other", () => {
    const lone = selected();
    const addresses = Array.from({ length: 70 }, (_, i) => `198.51.100.1:${1_000 + i}`);
    for (const address of addresses) {
      lone.data(address);
      lone.answer(lone.lastTo(address));
      for (let i = 0; i < 20; i++) {
        later(lone, 1_000);
        lone.check(address, { isNominated: true });
        lone.answer(lone.lastTo(address));
      }
    }
    expect(lone.selections()).toEqual([OLD, ...addresses]);
  });

  it("SN-141: it is followed wherever the old address would be used, also above others", () => {
    const lone = selected();
    lone.addRemote("host", "198.51.100.9:1", HOST - 1);
    lone.check("198.51.100.9:1", { isNominated: true, priority: 1_862_270_717 });
    lone.answer(lone.lastTo("198.51.100.9:1"));
    lone.data(NEW);
    lone.answer(lone.lastTo(NEW));
    expect(lone.selections()).toEqual([OLD, NEW]);
  });
});

describe("SN-141: two addresses that take each other's place", () => {
  it("one of them is always the path", () => {
    const lone = selected();
    const [a, b] = ["198.51.100.1:21", "198.51.100.1:22"];
    lone.check(a, { isNominated: true });
    lone.answer(lone.lastTo(a));
    // Each is seen to take the other one's place before either has been checked.
    lone.check(b, { isNominated: true });
    lone.check(a, { isNominated: true });
    lone.answer(lone.lastTo(b));
    later(lone, 2_000);
    lone.answer(lone.lastTo(a));
    expect([a, b]).toContain(lone.selections().at(-1));
    for (let i = 0; i < 40; i++) {
      later(lone, 500);
      lone.check(a, { isNominated: true });
      lone.answer(lone.lastTo(a));
    }
    expect(lone.selections().at(-1)).toBe(a);
    expect(lone.states().at(-1)).toMatch(/^(connected|completed)$/);
  });
});
