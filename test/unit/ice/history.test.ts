import { describe, expect, it } from "vitest";
import { formatSocketAddress } from "../../../src/base/index.ts";
import { createLoneAgent, START } from "./lone-agent.ts";

const PEER_ADDRESS = "198.51.100.7:1000";

function lone() {
  const agent = createLoneAgent("controlling");
  agent.addHost("192.0.2.1");
  agent.addRemote("host", PEER_ADDRESS);
  return agent;
}

describe("what became of pairs", () => {
  it("PG-190: a pair tells its checks, their answer and that it is in use", () => {
    const agent = lone();
    expect(agent.agent.pairs()).toMatchObject([{ state: "checking", checksSent: 1, lastSentAt: START }]);
    agent.runTo(START + 20);
    agent.answer(agent.lastTo(PEER_ADDRESS));
    const [pair] = agent.agent.pairs();
    expect(pair).toMatchObject({ state: "selected", localKind: "host", remoteKind: "host" });
    expect(pair?.rttMs).toBeDefined();
    expect(formatSocketAddress(pair?.remote ?? { address: new Uint8Array(4), port: 0 })).toBe(PEER_ADDRESS);
  });

  it("PG-190: one that was never answered is remembered after it is given up", () => {
    const agent = lone();
    agent.runTo(START + 60_000);
    expect(agent.agent.pairCount()).toBe(0);
    expect(agent.agent.pairs()).toMatchObject([{ state: "given-up" }]);
    expect(agent.agent.pairs()[0]).not.toHaveProperty("lastAnsweredAt");
    expect(agent.agent.pairs()[0]).not.toHaveProperty("heardAt");
  });

  it("PG-190: an error is told with its code, and no other answer hides that it was one", () => {
    const agent = lone();
    agent.answer(agent.lastTo(PEER_ADDRESS), { error: 401 });
    expect(agent.agent.pairs()).toMatchObject([{ state: "checking", errorCode: 401 }]);
  });

  it("PG-190: a check of the peer is remembered with its time, a refused one with its reason", () => {
    const agent = lone();
    agent.runTo(START + 100);
    expect(agent.agent.refusal()).toBeUndefined();
    expect(agent.check(PEER_ADDRESS, { password: "x".repeat(22) })).toBe("bad-integrity");
    expect(agent.agent.refusal()).toBe("bad-integrity");
    expect(agent.agent.pairs()[0]).not.toHaveProperty("heardAt");
    expect(agent.check(PEER_ADDRESS)).toBe("accepted");
    expect(agent.agent.pairs()).toMatchObject([{ heardAt: agent.now }]);
  });
});
