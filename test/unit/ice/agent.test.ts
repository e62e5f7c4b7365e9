import { describe, expect, it } from "vitest";
import { instant, ip } from "../../../src/base/index.ts";
import { DEFAULT_TIMINGS, MAX_PAIRS, MAX_REMOTE_CANDIDATES } from "../../../src/ice/index.ts";
import { agentWithHost, at, createLoneAgent, later, START } from "./lone-agent.ts";

const HOST = 2_130_706_175;
const SRFLX = 1_686_109_951;
const RELAY = 37_748_479;

describe("local candidates", () => {
  it("SN-25: a redundant one is not signalled again", () => {
    const lone = createLoneAgent("controlling");
    expect(lone.addHost("192.0.2.1")).toMatch(/ 192\.0\.2\.1 52625 typ host ufrag mine$/);
    expect(lone.addHost("192.0.2.1")).toBeUndefined();
    expect(lone.addHost("192.0.2.1", 9)).toBeDefined();
    expect(lone.agent.localTexts()).toHaveLength(2);
  });

  it("SN-24, SN-26: a late srflx is signalled but never paired; one without a NAT is not kept", () => {
    const lone = agentWithHost();
    lone.addRemote("host", "198.51.100.1:1");
    const base = at("192.0.2.1:52625");
    const behind = { kind: "srflx", address: at("203.0.113.5:4000"), base } as const;
    expect(lone.agent.addLocal(lone.now, behind)).toMatch(/typ srflx raddr 0\.0\.0\.0 rport 0/);
    expect(lone.agent.addLocal(lone.now, { kind: "srflx", address: base, base })).toBeUndefined();
    lone.tick();
    expect(lone.agent.pairCount()).toBe(1);
    expect(lone.agent.localTexts()).toHaveLength(2);
  });

  it("SN-27: only a relayed one is ever invalidated, and signalled so once", () => {
    const lone = agentWithHost();
    lone.addRemote("host", "198.51.100.1:1");
    const relayed = at("203.0.113.9:50000");
    lone.agent.addLocal(lone.now, {
      kind: "relay",
      address: relayed,
      base: relayed,
      relay: ip("203.0.113.9"),
    });
    lone.tick();
    expect(lone.agent.pairCount()).toBe(2);
    expect(lone.agent.invalidateLocal(lone.now, at("192.0.2.1:52625"))).toBeUndefined();
    expect(lone.agent.invalidateLocal(lone.now, relayed)).toMatch(/typ relay/);
    expect(lone.agent.invalidateLocal(lone.now, relayed)).toBeUndefined();
    expect(lone.agent.pairCount()).toBe(1);
    expect(lone.agent.localTexts()).toHaveLength(1);
    const again = { kind: "relay", address: relayed, base: relayed, relay: ip("203.0.113.9") } as const;
    expect(lone.agent.addLocal(lone.now, again)).toMatch(/typ relay/);
    expect(lone.agent.pairCount()).toBe(2);
  });

  it("SN-21: signalled best first, whatever the order of arrival", () => {
    const lone = createLoneAgent("controlling");
    lone.addHost("192.0.2.1");
    lone.addHost("192.0.2.2");
    lone.addHost("2001:db8::1");
    expect(lone.agent.localTexts().map((text) => text.split(" ")[4])).toEqual([
      "2001:db8::1",
      "192.0.2.1",
      "192.0.2.2",
    ]);
  });
});

describe("pairs", () => {
  it("SN-43: only within one family; a relayed local one also meets hosts", () => {
    const lone = agentWithHost();
    lone.addHost("2001:db8::1");
    lone.addRemote("host", "198.51.100.1:1");
    lone.addRemote("host", "[2001:db8::2]:1");
    expect(lone.agent.pairCount()).toBe(2);
    const relayed = at("203.0.113.9:50000");
    lone.agent.addLocal(lone.now, {
      kind: "relay",
      address: relayed,
      base: relayed,
      relay: ip("203.0.113.9"),
    });
    expect(lone.agent.pairCount()).toBe(3);
  });

  it("SN-42: the same addresses make one pair, which takes the better priority and keeps its success", () => {
    const lone = agentWithHost();
    lone.addRemote("srflx", "198.51.100.1:1", SRFLX);
    lone.answer(lone.checks[0]);
    lone.addRemote("srflx", "198.51.100.2:1", HOST - 1);
    lone.addRemote("host", "198.51.100.1:1", HOST);
    expect(lone.agent.pairCount()).toBe(2);
    lone.answer(lone.lastTo("198.51.100.2:1"));
    // The first pair is host–host now and stays selected.
    expect(lone.selections()).toEqual(["198.51.100.1:1"]);
  });

  it("SN-47: all due checks at once, in the order of priority where they are due together", () => {
    const lone = createLoneAgent("controlling");
    lone.addRemote("srflx", "198.51.100.3:1", SRFLX);
    lone.addRemote("relay", "198.51.100.4:1", RELAY);
    lone.addRemote("host", "198.51.100.2:1", HOST);
    lone.addHost("192.0.2.1");
    expect(lone.checks.map((check) => check.to)).toEqual([
      "198.51.100.2:1",
      "198.51.100.3:1",
      "198.51.100.4:1",
    ]);
    expect(new Set(lone.checks.map((check) => check.at))).toEqual(new Set([START]));
  });

  it("SN-47: in one late tick the check that was due first goes first", () => {
    const lone = agentWithHost();
    lone.addRemote("relay", "198.51.100.4:1", RELAY);
    later(lone, 100);
    lone.addRemote("host", "198.51.100.2:1", HOST);
    const before = lone.checks.length;
    lone.now = instant(START + 1000);
    lone.tick();
    expect(lone.checks.slice(before).map((check) => check.to)).toEqual(["198.51.100.4:1", "198.51.100.2:1"]);
  });

  it("SN-43: at most 100 pairs; the lowest go", () => {
    const lone = createLoneAgent("controlling");
    for (let i = 0; i < 11; i++) lone.addHost(`192.0.2.${i + 1}`);
    for (let i = 0; i < 10; i++) lone.addRemote("host", `198.51.100.${i + 1}:1`, HOST - i);
    expect(lone.agent.pairCount()).toBe(MAX_PAIRS);
    lone.addRemote("host", "198.51.100.99:1", 1);
    expect(lone.agent.pairCount()).toBe(MAX_PAIRS);
    expect(lone.lastTo("198.51.100.99:1")).toBeUndefined();
  });
});

describe("remote candidates", () => {
  it("SN-31: a wrong component or fragment is refused, and changes nothing", () => {
    const lone = agentWithHost();
    const candidate = { kind: "host", address: at("198.51.100.1:1"), priority: 1, component: 1 } as const;
    expect(lone.agent.addRemote(lone.now, { ...candidate, component: 2 })).toBe("wrong-component");
    expect(lone.agent.addRemote(lone.now, { ...candidate, usernameFragment: "older" })).toBe(
      "wrong-fragment",
    );
    expect(lone.agent.hasHadRemote()).toBe(false);
    expect(lone.agent.addRemote(lone.now, candidate)).toBe("accepted");
  });

  it("SN-32: 64 candidates are taken, the 65th is not; a withdrawn one makes room", () => {
    const lone = agentWithHost();
    for (let i = 0; i < MAX_REMOTE_CANDIDATES; i++) {
      expect(lone.addRemote("host", `198.51.100.${i + 1}:1`, HOST)).toBe("accepted");
    }
    expect(lone.addRemote("host", "203.0.113.1:1", HOST)).toBe("over-limit");
    expect(lone.check("203.0.113.1:1")).toBe("over-limit");
    lone.removeRemote("host", "198.51.100.7:1");
    expect(lone.addRemote("host", "203.0.113.1:1", HOST)).toBe("accepted");
    expect(lone.agent.remoteCount()).toBe(MAX_REMOTE_CANDIDATES);
  });

  it("SN-33: a signalled candidate takes the place of the temporary one and re-ranks it", () => {
    // A relay path found as prflx ranks above a direct srflx path, until the peer says what it is.
    const lone = agentWithHost("controlling");
    lone.check("203.0.113.9:50000", { priority: 1_849_687_807 });
    lone.answer(lone.lastTo("203.0.113.9:50000"));
    lone.addRemote("srflx", "198.51.100.1:1", SRFLX);
    lone.answer(lone.lastTo("198.51.100.1:1"));
    expect(lone.selections()).toEqual(["203.0.113.9:50000"]);
    lone.addRemote("relay", "203.0.113.9:50000", RELAY);
    expect(lone.selections()).toEqual(["203.0.113.9:50000", "198.51.100.1:1"]);
    expect(lone.agent.pairCount()).toBe(2);
    expect(lone.agent.remoteCount()).toBe(2);
  });

  it("SN-33, SN-83: that it is a relay's is announced while its pair stays selected", () => {
    const lone = agentWithHost("controlling");
    lone.check("203.0.113.9:50000", { priority: 1_849_687_807 });
    lone.answer(lone.lastTo("203.0.113.9:50000"));
    lone.addRemote("relay", "203.0.113.9:50000", RELAY);
    const kinds = lone.events.flatMap((event) => (event.kind === "selected" ? [event.remoteKind] : []));
    expect(kinds).toEqual(["prflx", "relay"]);
  });

  it("SN-33, SN-64: a temporary candidate has one pair; once signalled it is paired with all", () => {
    const lone = agentWithHost();
    lone.addHost("192.0.2.2");
    expect(lone.check("198.51.100.1:1")).toBe("accepted");
    expect(lone.agent.pairCount()).toBe(1);
    expect(lone.lastTo("198.51.100.1:1")?.source).toEqual(at("192.0.2.1:52625"));
    lone.addRemote("host", "198.51.100.1:1", HOST);
    expect(lone.agent.pairCount()).toBe(2);
  });

  it("SN-34: the same candidate again brings back the pair that was given up, and leaves a living one", () => {
    const lone = agentWithHost();
    lone.addRemote("host", "198.51.100.1:1", HOST);
    later(lone, 400);
    lone.addRemote("host", "198.51.100.1:1", HOST);
    expect(lone.timesTo("198.51.100.1:1")).toEqual([0, 100, 200, 250, 350]);
    later(lone, 15_000);
    expect(lone.agent.pairCount()).toBe(0);
    const before = lone.checks.length;
    lone.addRemote("host", "198.51.100.1:1", HOST);
    expect(lone.agent.pairCount()).toBe(1);
    expect(lone.checks.length - before).toBe(1);
    expect(lone.states()).toEqual(["checking", "disconnected", "checking"]);
  });

  it("SN-35: a withdrawn candidate loses its pairs, and checks from there are ignored", () => {
    const lone = agentWithHost();
    lone.addRemote("host", "198.51.100.1:1", HOST);
    expect(lone.removeRemote("host", "198.51.100.1:1")).toBe(true);
    expect(lone.removeRemote("host", "198.51.100.1:1")).toBe(false);
    expect(lone.agent.pairCount()).toBe(0);
    expect(lone.states().at(-1)).toBe("disconnected");
    expect(lone.check("198.51.100.1:1")).toBe("withdrawn-source");
    expect(lone.answers).toHaveLength(0);
    lone.addRemote("host", "198.51.100.1:1", HOST);
    expect(lone.agent.pairCount()).toBe(1);
  });

  it("SN-35: what was learnt at the address of a withdrawn candidate goes, too", () => {
    const lone = agentWithHost();
    lone.check("203.0.113.9:50000");
    expect(lone.removeRemote("relay", "203.0.113.9:50000")).toBe(true);
    expect(lone.agent.pairCount()).toBe(0);
  });

  it("SN-35: another candidate at the same address carries on as a new pair", () => {
    const lone = agentWithHost();
    lone.addRemote("host", "198.51.100.1:1", HOST);
    lone.addRemote("srflx", "198.51.100.1:1", SRFLX);
    expect(lone.agent.pairCount()).toBe(1);
    lone.removeRemote("host", "198.51.100.1:1");
    expect(lone.agent.pairCount()).toBe(1);
    expect(lone.timesTo("198.51.100.1:1")).toEqual([0, 0]);
  });

  it("SN-37: guesses that the srflx address forwards the host port", () => {
    const lone = agentWithHost();
    lone.addRemote("host", "10.0.0.1:52625", HOST);
    lone.addRemote("srflx", "203.0.113.1:40000", SRFLX);
    expect(lone.checks.map((check) => check.to)).toEqual([
      "10.0.0.1:52625",
      "203.0.113.1:40000",
      "203.0.113.1:52625",
    ]);
  });

  it("SN-37: no guess across families, none at a known address", () => {
    const lone = agentWithHost();
    lone.addHost("2001:db8::1");
    lone.addRemote("host", "[fd00::1]:52625", HOST);
    lone.addRemote("host", "10.0.0.1:40000", HOST);
    lone.addRemote("srflx", "203.0.113.1:40000", SRFLX);
    expect(lone.agent.remoteCount()).toBe(3);
  });

  it("SN-37: 10 hosts × 10 srflx give 8 guesses, best srflx first, over the whole life", () => {
    const lone = agentWithHost();
    for (let i = 0; i < 10; i++) lone.addRemote("srflx", `203.0.113.${i + 1}:40000`, SRFLX - 9 + i);
    for (let i = 0; i < 10; i++) lone.addRemote("host", `10.0.0.${i + 1}:${50_000 + i}`, HOST);
    expect(lone.agent.remoteCount()).toBe(28);
    expect(lone.checks.filter((check) => check.to === "203.0.113.10:50000")).toHaveLength(1);
    expect(lone.checks.filter((check) => check.to === "203.0.113.1:50000")).toHaveLength(0);
  });

  it("SN-37: a guess that is signalled later takes its real priority", () => {
    const lone = agentWithHost();
    lone.addRemote("host", "10.0.0.1:52625", HOST);
    lone.addRemote("srflx", "203.0.113.1:40000", SRFLX);
    lone.addRemote("srflx", "203.0.113.1:52625", SRFLX);
    expect(lone.agent.remoteCount()).toBe(3);
  });
});

describe("receiving checks", () => {
  it("SN-8: a wrong password changes nothing and is not answered", () => {
    const lone = agentWithHost("controlled");
    expect(lone.check("198.51.100.1:1", { password: "x".repeat(22), isNominated: true })).toBe(
      "bad-integrity",
    );
    expect(lone.agent.pairCount()).toBe(0);
    expect(lone.agent.hasHadRemote()).toBe(false);
    expect(lone.answers).toHaveLength(0);
    expect(lone.states()).toEqual(["checking"]);
    expect(lone.selections()).toEqual([]);
  });

  it.each(["mine:other", "other:peer"])("SN-52: USERNAME %s is not for us", (username) => {
    expect(agentWithHost("controlled").check("198.51.100.1:1", { username })).toBe("unknown-username");
  });

  it("SN-52: a destination that is no candidate of ours makes nothing", () => {
    const lone = agentWithHost("controlled");
    expect(lone.check("198.51.100.1:1", { local: "192.0.2.1:52626" })).toBe("unknown-interface");
    expect(lone.check("198.51.100.1:1", { local: "192.0.2.9:52625" })).toBe("unknown-interface");
    expect(lone.agent.hasHadRemote()).toBe(false);
  });

  it("SN-53: answers with the source as mapped address, from the base, and checks the new pair at once", () => {
    const lone = agentWithHost("controlled");
    expect(lone.check("198.51.100.1:7")).toBe("accepted");
    expect(lone.answers[0]).toMatchObject({ kind: "success", mappedAddress: { port: 7 } });
    expect(lone.timesTo("198.51.100.1:7")).toEqual([0]);
  });

  it("SN-39: our own role is refused with 487 and changes nothing else", () => {
    const lone = agentWithHost("controlled");
    expect(lone.check("198.51.100.1:1", { role: "controlled" })).toBe("role-conflict");
    expect(lone.answers[0]).toMatchObject({ kind: "error", code: 487 });
    expect(lone.agent.pairCount()).toBe(0);
  });

  it("SN-39: a controlling agent is not told what to use", () => {
    const lone = agentWithHost("controlling");
    expect(lone.check("198.51.100.1:1", { isNominated: true })).toBe("nomination-refused");
    expect(lone.answers).toHaveLength(0);
    expect(lone.agent.pairCount()).toBe(0);
  });

  it("SN-55: an answer with a wrong password counts for nothing", () => {
    const lone = agentWithHost();
    lone.addRemote("host", "198.51.100.1:1", HOST);
    lone.answer(lone.checks[0], { password: "x".repeat(22) });
    expect(lone.states()).toEqual(["checking"]);
    lone.answer(lone.checks[0]);
    expect(lone.states()).toEqual(["checking", "completed"]);
  });

  it("SN-9: an error answer is no success", () => {
    const lone = agentWithHost();
    lone.addRemote("host", "198.51.100.1:1", HOST);
    lone.answer(lone.checks[0], { error: 487 });
    expect(lone.states()).toEqual(["checking"]);
  });

  it("SN-65: an unknown mapped address makes no candidate", () => {
    const lone = agentWithHost();
    lone.addRemote("host", "198.51.100.1:1", HOST);
    lone.answer(lone.checks[0], { mapped: "203.0.113.77:1234" });
    expect(lone.agent.localTexts()).toHaveLength(1);
    expect(lone.agent.pairCount()).toBe(1);
  });

  it("SN-55: the registry knows exactly the transactions that can still be answered", () => {
    const lone = agentWithHost();
    lone.addRemote("host", "198.51.100.1:1", HOST);
    expect(lone.transactions.size).toBe(1);
    later(lone, 1000);
    // 0, 250 and 750, and four extra ones (SN-144).
    expect(lone.transactions.size).toBe(7);
    lone.removeRemote("host", "198.51.100.1:1");
    expect(lone.transactions.size).toBe(0);
    lone.addRemote("host", "198.51.100.2:1", HOST);
    lone.agent.close();
    expect(lone.transactions.size).toBe(0);
  });
});

describe("nomination", () => {
  it("SN-56: controlling: the first success is nominated at once, every better one replaces it", () => {
    const lone = agentWithHost();
    lone.addRemote("relay", "203.0.113.9:1", RELAY);
    lone.addRemote("srflx", "203.0.113.1:1", SRFLX);
    lone.addRemote("host", "198.51.100.1:1", HOST);
    lone.answer(lone.lastTo("203.0.113.1:1"));
    expect(lone.lastTo("203.0.113.1:1")?.message.isNominated).toBe(true);
    lone.answer(lone.lastTo("203.0.113.9:1"));
    expect(lone.lastTo("203.0.113.9:1")?.message.isNominated).toBe(false);
    lone.answer(lone.lastTo("198.51.100.1:1"));
    expect(lone.lastTo("198.51.100.1:1")?.message.isNominated).toBe(true);
    expect(lone.selections()).toEqual(["203.0.113.1:1", "198.51.100.1:1"]);
  });

  it("SN-56, SN-57: superseded pairs keep their nomination", () => {
    const lone = agentWithHost();
    lone.addRemote("srflx", "203.0.113.1:1", SRFLX);
    lone.answer(lone.lastTo("203.0.113.1:1"));
    lone.addRemote("host", "198.51.100.1:1", HOST);
    lone.answer(lone.lastTo("198.51.100.1:1"));
    later(lone, 2000);
    expect(lone.lastTo("203.0.113.1:1")?.message.isNominated).toBe(true);
    expect(lone.states().at(-1)).toBe("completed");
  });

  it("SN-58: when the selected pair dies the next best one is selected in the same call", () => {
    const lone = agentWithHost();
    lone.addRemote("host", "198.51.100.1:1", HOST);
    lone.addRemote("srflx", "203.0.113.1:1", SRFLX);
    lone.answer(lone.lastTo("198.51.100.1:1"));
    for (let i = 0; i < 30 && lone.selections().length < 2; i++) {
      lone.answer(lone.lastTo("203.0.113.1:1"));
      lone.runTo(lone.agent.pollTimeout() ?? lone.now);
    }
    expect(lone.selections()).toEqual(["198.51.100.1:1", "203.0.113.1:1"]);
    expect(lone.now - START).toBeLessThanOrEqual(18_000);
    expect(lone.states()).not.toContain("disconnected");
  });

  it("SN-57: controlled: follows the nomination without an answer of its own", () => {
    const lone = agentWithHost("controlled");
    lone.addRemote("host", "198.51.100.1:1", HOST);
    lone.answer(lone.checks[0]);
    expect(lone.selections()).toEqual([]);
    lone.check("203.0.113.7:9", { isNominated: true });
    expect(lone.selections()).toEqual(["203.0.113.7:9"]);
    expect(lone.states()).toEqual(["checking", "connected"]);
    lone.check("198.51.100.1:1", { isNominated: true });
    expect(lone.selections()).toEqual(["203.0.113.7:9", "198.51.100.1:1"]);
  });

  it("SN-57: controlled: a lower nomination does not replace a higher one", () => {
    const lone = agentWithHost("controlled");
    lone.addRemote("host", "198.51.100.1:1", HOST);
    lone.addRemote("srflx", "203.0.113.7:9", SRFLX);
    lone.check("198.51.100.1:1", { isNominated: true });
    lone.check("203.0.113.7:9", { isNominated: true });
    expect(lone.selections()).toEqual(["198.51.100.1:1"]);
  });

  it("SN-44: a controlled agent never sends USE-CANDIDATE", () => {
    const lone = agentWithHost("controlled");
    lone.check("198.51.100.1:1", { isNominated: true });
    later(lone, 3000);
    expect(lone.checks.length).toBeGreaterThan(3);
    expect(lone.checks.some((check) => check.message.isNominated)).toBe(false);
  });

  it("SN-62: remote candidates before any local one: checking, not disconnected", () => {
    const lone = createLoneAgent("controlling");
    lone.addRemote("host", "198.51.100.1:1", HOST);
    later(lone, 60_000);
    expect(lone.states()).toEqual(["checking"]);
    expect(lone.agent.pollTimeout()).toBeUndefined();
    lone.addHost("192.0.2.1");
    expect(lone.checks).toHaveLength(1);
  });

  it("SN-63: from disconnected to checking as soon as there is a new pair", () => {
    const lone = agentWithHost();
    lone.addRemote("host", "198.51.100.1:1", HOST);
    later(lone, 15_250);
    expect(lone.states().at(-1)).toBe("disconnected");
    lone.addRemote("host", "198.51.100.2:1", HOST);
    expect(lone.states().at(-1)).toBe("checking");
  });

  it("SN-92: suspect after three unanswered checks in a row, and whenever ICE is not connected", () => {
    const lone = agentWithHost();
    expect(lone.agent.isSuspect()).toBe(true);
    lone.addRemote("host", "198.51.100.1:1", HOST);
    lone.answer(lone.checks[0]);
    lone.answer(lone.lastTo("198.51.100.1:1"));
    expect(lone.agent.isSuspect()).toBe(false);
    const sent = lone.checks.length;
    while (lone.checks.length < sent + 2) lone.runTo(lone.agent.pollTimeout() ?? 0);
    expect(lone.agent.isSuspect()).toBe(false);
    lone.runTo(lone.agent.pollTimeout() ?? 0);
    expect(lone.agent.isSuspect()).toBe(true);
    lone.answer(lone.lastTo("198.51.100.1:1"));
    expect(lone.agent.isSuspect()).toBe(false);
  });

  it("SN-136: the round trip of the last answered check on the selected pair", () => {
    const lone = agentWithHost();
    lone.addRemote("host", "198.51.100.1:1", HOST);
    lone.now = instant(START + 42);
    lone.answer(lone.checks[0]);
    expect(lone.agent.rttMs()).toBe(42);
    // The same answer again, as a network may deliver it, is not another measurement.
    lone.now = instant(START + 99);
    lone.answer(lone.checks[0]);
    expect(lone.agent.rttMs()).toBe(42);
  });
});

describe("hostile peers", () => {
  it("10 000 sources with valid credentials: at most 64 candidates and 100 pairs", () => {
    const lone = agentWithHost("controlled");
    for (let i = 0; i < 10_000; i++) lone.check(`198.51.${i >> 8}.${i & 255}:1`, { isNominated: true });
    expect(lone.agent.remoteCount()).toBeLessThanOrEqual(MAX_REMOTE_CANDIDATES);
    expect(lone.agent.pairCount()).toBeLessThanOrEqual(MAX_PAIRS);
    expect(lone.transactions.size).toBeLessThanOrEqual(MAX_PAIRS * DEFAULT_TIMINGS.retransmitsMax);
  });
});
