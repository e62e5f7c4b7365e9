import { describe, expect, it } from "vitest";
import { agentWithHost, type LoneAgent, later, START } from "./lone-agent.ts";

const HOST = 2_130_706_175;
const SRFLX = 1_686_109_951;

describe("a NAT that gives the peer another address", () => {
  const OLD = "198.51.100.1:1";
  const NEW = "198.51.100.1:999";

  /** A selected pair on which the peer has checked us, and two seconds later. */
  function selected(role: "controlling" | "controlled"): LoneAgent {
    const lone = agentWithHost(role);
    lone.addRemote("host", OLD, HOST);
    lone.check(OLD, { isNominated: role === "controlled" });
    lone.answer(lone.lastTo(OLD));
    later(lone, 2_000);
    expect(lone.selections()).toEqual([OLD]);
    return lone;
  }

  it.each(["controlling", "controlled"] as const)(
    "SN-141: %s: the path moves with the answer to the first check, not with the peer's check alone",
    (role) => {
      const lone = selected(role);
      lone.check(NEW, { isNominated: role === "controlled" });
      expect(lone.selections()).toEqual([OLD]);
      lone.answer(lone.lastTo(NEW));
      expect(lone.selections()).toEqual([OLD, NEW]);
    },
  );

  it("SN-141: an answer that comes from elsewhere does not move the path", () => {
    const lone = selected("controlled");
    lone.check(NEW, { isNominated: true });
    lone.answer(lone.lastTo(NEW), { from: OLD });
    expect(lone.selections()).toEqual([OLD]);
  });

  it("SN-141: another candidate of the peer does not count as a rebinding", () => {
    const lone = selected("controlled");
    lone.check(NEW, { isNominated: true, priority: 1_862_270_717 });
    lone.answer(lone.lastTo(NEW));
    expect(lone.selections()).toEqual([OLD]);
  });

  it("SN-141: an address that was signalled is a way of its own", () => {
    const lone = selected("controlled");
    lone.addRemote("srflx", NEW, SRFLX);
    lone.check(NEW, { isNominated: true });
    lone.answer(lone.lastTo(NEW));
    expect(lone.selections()).toEqual([OLD]);
  });

  it("SN-141: a check that is sent again from elsewhere moves nothing", () => {
    const lone = selected("controlled");
    const transaction = 77;
    lone.check(OLD, { isNominated: true, transaction });
    lone.check(NEW, { isNominated: true, transaction });
    lone.answer(lone.lastTo(NEW));
    expect(lone.selections()).toEqual([OLD]);
  });

  it("SN-141: the old address needs only to speak again, and has its place back for good", () => {
    const lone = selected("controlled");
    lone.check(NEW, { isNominated: true });
    lone.answer(lone.lastTo(NEW));
    lone.check(OLD, { isNominated: true });
    expect(lone.selections()).toEqual([OLD, NEW, OLD]);
    lone.check(NEW, { isNominated: true });
    lone.answer(lone.lastTo(NEW));
    expect(lone.selections()).toEqual([OLD, NEW, OLD]);
  });

  it("SN-33, SN-141: a signalled candidate for the new address leaves it in its place", () => {
    const lone = selected("controlled");
    lone.check(NEW, { isNominated: true });
    lone.answer(lone.lastTo(NEW));
    lone.addRemote("srflx", NEW, SRFLX);
    later(lone, 1_000);
    expect(lone.selections()).toEqual([OLD, NEW]);
  });

  it("SN-32, SN-141: a hundred addresses one after the other are followed, and the old ones are forgotten", () => {
    const lone = selected("controlled");
    for (let port = 1_000; port < 1_100; port++) {
      const address = `198.51.100.1:${port}`;
      lone.check(address, { isNominated: true });
      for (let i = 0; i < 20; i++) {
        lone.answer(lone.lastTo(address));
        later(lone, 1_000);
      }
      expect(lone.selections().at(-1)).toBe(address);
      expect(lone.agent.remoteCount()).toBeLessThanOrEqual(3);
    }
  });

  it("SN-141: when the new pair goes, the old one is used as long as it lives", () => {
    const lone = selected("controlled");
    lone.check(NEW, { isNominated: true });
    lone.answer(lone.lastTo(NEW));
    lone.addRemote("srflx", NEW, SRFLX);
    lone.removeRemote("srflx", NEW);
    expect(lone.selections()).toEqual([OLD, NEW, OLD]);
  });
});

describe("early repeats", () => {
  it("SN-140: a check of the peer triggers ours 100 ms after the last one, not before, and only early", () => {
    const lone = agentWithHost("controlled");
    // Something has been answered: there are no extra checks (SN-144).
    lone.addRemote("host", "198.51.100.2:1", SRFLX);
    lone.answer(lone.lastTo("198.51.100.2:1"));
    later(lone, 1_000);
    lone.addRemote("host", "198.51.100.1:1", HOST);
    const start = lone.now;
    later(lone, 99);
    lone.check("198.51.100.1:1");
    expect(lone.timesTo("198.51.100.1:1", start)).toEqual([0]);
    later(lone, 1);
    lone.check("198.51.100.1:1");
    expect(lone.timesTo("198.51.100.1:1", start)).toEqual([0, 100]);
    for (let i = 0; i < 5; i++) {
      later(lone, 100);
      lone.check("198.51.100.1:1");
    }
    expect(lone.timesTo("198.51.100.1:1", start)).toEqual([0, 100, 200, 300]);
  });

  it("SN-140: a lost nomination is repeated after three round trips, three times", () => {
    const lone = agentWithHost();
    lone.addRemote("host", "198.51.100.1:1", HOST);
    later(lone, 50);
    lone.answer(lone.checks[0]);
    later(lone, 1_000);
    expect(lone.timesTo("198.51.100.1:1", START + 50).slice(0, 4)).toEqual([0, 150, 300, 450]);
    expect(lone.timesTo("198.51.100.1:1", START + 50)[4] ?? 9_999).toBeGreaterThan(700);
  });
});
