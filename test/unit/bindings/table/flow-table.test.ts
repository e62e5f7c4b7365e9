/** How many flow records there may be, and who goes when there are no more (TN-80, TN-81, TN-90). */
import { describe, expect, it } from "vitest";
import { CONSTANTS, OFFSETS } from "../../../../bindings/memory/index.ts";
import { createSeededRandom, instant, ip, toPrefix } from "../../../../src/base/index.ts";
import type { FlowRecord } from "../../../../src/plane/index.ts";
import { counting, tcp } from "../../plane/packets.ts";
import { NOW, plainFrame, sendAll, testPlane } from "../../plane/pair.ts";

const [TCP, UDP] = [6, 17];
const CLIENT = ip("100.64.0.2");
const REMOTE = ip("100.96.0.1");
const { worker: WORKER, plane: PLANE, flowTable: TABLE, flow: FLOW, flowSide: SIDE } = OFFSETS;

function flowOf(port: number, changes: Partial<FlowRecord> = {}): FlowRecord {
  return {
    protocol: TCP,
    client: { address: CLIENT, port },
    remote: { address: REMOTE, port: 443 },
    out: "pass",
    in: "pass",
    slot: 1,
    ...changes,
  };
}

function planeOf(capacity: number, mostPerPeer?: number) {
  const most = mostPerPeer === undefined ? {} : { mostPerPeer };
  return testPlane({ mode: "gateway", flows: { random: createSeededRandom(1), capacity, ...most } });
}

const later = (seconds: number) => instant(NOW + seconds * 1000);
const endingsOf = (plane: ReturnType<typeof planeOf>, seconds = 0) =>
  plane.flows.sweep(later(seconds)).map(({ id, ending }) => [id, ending]);

describe("a full table of flow records", () => {
  const VICTIMS: readonly (readonly [string, Partial<FlowRecord>, number, boolean])[] = [
    ["a refusal", { out: "prohibited" }, 0, true],
    ["UDP that was idle for 31 s", { protocol: UDP }, 31, true],
    ["UDP that was idle for 30 s", { protocol: UDP }, 30, false],
    ["TCP without an answer, idle for 31 s", {}, 31, true],
    ["TCP without an answer, idle for 30 s", {}, 30, false],
    ["a flow whose every packet control gets", { out: "punt" }, 0, false],
  ];

  it.each(VICTIMS)(
    "TN-80: is one given up for another? %s (%o, after %i s: %s)",
    (_, changes, seconds, isGivenUp) => {
      const { flows } = planeOf(1);
      const first = flows.link(NOW, flowOf(1, changes));
      const second = flows.link(later(seconds), flowOf(2));
      expect(second !== undefined).toBe(isGivenUp);
      const ended = flows.sweep(later(seconds)).map(({ id, ending }) => [id, ending]);
      expect(ended).toEqual(isGivenUp ? [[first, "displaced"]] : []);
    },
  );

  it("TN-80: never gives up TCP that was answered, and takes what a revocation has ended", () => {
    const plane = planeOf(1);
    const id = plane.flows.link(NOW, flowOf(1));
    answer(plane);
    expect(plane.flows.usage(id ?? 0)?.in.packets).toBe(1);
    expect(plane.flows.link(later(7000), flowOf(2))).toBeUndefined();
    plane.flows.revoke(1);
    expect(plane.flows.link(later(7000), flowOf(2))).toBeDefined();
  });

  /** A packet of the reply direction of the flow from port 1. */
  function answer(plane: ReturnType<typeof planeOf>): void {
    plane.execute({ kind: "add-peer", slot: 1, peerId: 77 });
    const byFlow = { destinations: [], egressSources: [], isTranslated: true };
    plane.publish({
      routes: [{ prefix: toPrefix(CLIENT, 32), target: { kind: "peer", slot: 1 } }],
      permits: [{ slot: 1, sources: [], egressSources: [], refuseDestination: false, byFlow }],
    });
    plane.releaseFlows();
    const ends = { family: 4, source: REMOTE, destination: CLIENT, ports: [443, 1] } as const;
    sendAll(plane, plainFrame(tcp(counting(4), ends)));
  }

  it("TN-91: counts the packets of a flow that runs for days", () => {
    const plane = planeOf(1);
    const id = plane.flows.link(NOW, flowOf(1)) ?? 0;
    const words = new Uint32Array(plane.memory.buffer);
    const table = words[(CONSTANTS.PLANE_ADDRESS + PLANE.flows) >> 2] ?? 0;
    const row = words[(table + TABLE.rows) >> 2] ?? 0;
    words[(row + FLOW.in + SIDE.packets) >> 2] = 0xffff_ffff;
    answer(plane);
    expect(plane.flows.usage(id)?.in.packets).toBe(2 ** 32);
  });

  it("TN-80: looks at 256 records and no further", () => {
    const { flows } = planeOf(300);
    for (let port = 0; port < 300; port++) flows.link(NOW, flowOf(port, port === 256 ? { out: "drop" } : {}));
    expect(flows.link(NOW, flowOf(1000))).toBeUndefined();
    // The hand goes on from there.
    expect(flows.link(NOW, flowOf(1000))).toBe(257);
  });

  it("TN-80: a peer at its limit displaces its own records only", () => {
    const { flows } = planeOf(8, 2);
    flows.link(NOW, flowOf(1, { slot: 2, out: "drop" }));
    const own = flows.link(NOW, flowOf(2));
    flows.link(NOW, flowOf(3));
    expect(flows.link(NOW, flowOf(4))).toBeUndefined();
    expect(flows.link(NOW, flowOf(5, { slot: 2 }))).toBeDefined();
    flows.unlink(own ?? 0);
    expect(flows.link(NOW, flowOf(4))).toBeDefined();
  });

  it("TN-81: a row is used again only when no worker can stand on it", () => {
    const plane = planeOf(2);
    const words = new Uint32Array(plane.memory.buffer);
    const egress = words[(CONSTANTS.PLANE_ADDRESS + PLANE.egress) >> 2] ?? 0;
    words[(egress + WORKER.running) >> 2] = 1;
    const id = plane.flows.link(NOW, flowOf(1)) ?? 0;
    plane.flows.unlink(id);
    expect(plane.flows.link(NOW, flowOf(2))).toBe(2);
    words[(egress + WORKER.epoch) >> 2] = 1;
    expect(plane.flows.link(NOW, flowOf(3))).toBe(id);
  });

  it("TN-80, TN-81: control does not wait for a worker whose socket is full: nothing is linked, and nobody more goes", () => {
    const plane = planeOf(2);
    const words = new Uint32Array(plane.memory.buffer);
    const egress = words[(CONSTANTS.PLANE_ADDRESS + PLANE.egress) >> 2] ?? 0;
    words[(egress + WORKER.running) >> 2] = 1;
    const first = plane.flows.link(NOW, flowOf(1, { out: "drop" }));
    plane.flows.link(NOW, flowOf(2, { out: "drop" }));
    const began = performance.now();
    for (let port = 3; port < 103; port++) expect(plane.flows.link(NOW, flowOf(port))).toBeUndefined();
    // Two seconds would be the least for each.
    expect(performance.now() - began).toBeLessThan(1000);
    expect(endingsOf(plane)).toEqual([[first, "displaced"]]);
    words[(egress + WORKER.epoch) >> 2] = 1;
    expect(plane.flows.link(NOW, flowOf(103))).toBe(first);
  });

  it("TN-87: while a worker may have looked in vain, a flow is held", () => {
    const plane = planeOf(2);
    const words = new Uint32Array(plane.memory.buffer);
    const egress = words[(CONSTANTS.PLANE_ADDRESS + PLANE.egress) >> 2] ?? 0;
    words[(egress + WORKER.running) >> 2] = 1;
    plane.flows.link(NOW, flowOf(1));
    expect(plane.releaseFlows()).toBe(true);
    words[(egress + WORKER.epoch) >> 2] = 1;
    expect(plane.releaseFlows()).toBe(false);
  });
});

describe("sweeping", () => {
  it("TN-90: finds every record that is over its time, however many", () => {
    const plane = planeOf(2000);
    for (let port = 0; port < 1600; port++) plane.flows.link(NOW, flowOf(port, { out: "drop", in: "drop" }));
    plane.flows.link(NOW, flowOf(3000));
    expect(endingsOf(plane, 9)).toEqual([]);
    const ended = endingsOf(plane, 10);
    expect(ended).toHaveLength(1600);
    expect(new Set(ended.map(([id]) => id)).size).toBe(1600);
    expect(endingsOf(plane, 60)).toEqual([[1601, "idle"]]);
  });
});
