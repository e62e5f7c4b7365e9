import { describe, expect, it } from "vitest";
import { agentWithHost, later } from "./lone-agent.ts";

const HOST = 2_130_706_175;

describe("pairs that were given up", () => {
  it("SN-54, SN-143: a check brings a given-up pair back; the answer to ours brings the agent back", () => {
    const lone = agentWithHost();
    lone.addRemote("host", "198.51.100.1:1", HOST);
    later(lone, 15_250);
    expect(lone.states().at(-1)).toBe("disconnected");
    lone.check("198.51.100.1:1");
    expect(lone.agent.pairCount()).toBe(1);
    expect(lone.states().at(-1)).toBe("disconnected");
    expect(lone.lastTo("198.51.100.1:1")?.at).toBe(lone.now);
    lone.answer(lone.lastTo("198.51.100.1:1"));
    expect(lone.states().at(-1)).toBe("completed");
  });

  it("SN-143: on the controlled side a nomination alone does not make such a pair the path", () => {
    const lone = agentWithHost("controlled");
    lone.check("198.51.100.1:1", { isNominated: true });
    expect(lone.selections()).toHaveLength(1);
    later(lone, 15_250);
    expect(lone.states().at(-1)).toBe("disconnected");
    lone.check("198.51.100.1:1", { isNominated: true });
    expect(lone.states().at(-1)).toBe("disconnected");
    expect(lone.selections()).toHaveLength(1);
    lone.answer(lone.lastTo("198.51.100.1:1"));
    expect(lone.states().at(-1)).toBe("completed");
    expect(lone.selections()).toHaveLength(2);
  });

  it("SN-143: a pair that comes back while another is left is on trial all the same", () => {
    const lone = agentWithHost("controlled");
    lone.addRemote("host", "198.51.100.1:1", HOST);
    later(lone, 100);
    lone.addRemote("host", "198.51.100.2:1", HOST);
    later(lone, 15_200);
    lone.check("198.51.100.1:1");
    expect(lone.states()).toEqual(["checking"]);
    later(lone, 100);
    expect(lone.states().at(-1)).toBe("disconnected");
  });

  it("SN-34, SN-143: a candidate that is signalled again ends the trial", () => {
    const lone = agentWithHost();
    lone.addRemote("host", "198.51.100.1:1", HOST);
    later(lone, 15_250);
    lone.check("198.51.100.1:1");
    expect(lone.states().at(-1)).toBe("disconnected");
    lone.addRemote("host", "198.51.100.1:1", HOST);
    expect(lone.states().at(-1)).toBe("checking");
  });
});
