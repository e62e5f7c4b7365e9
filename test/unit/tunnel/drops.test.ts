/** What control says of packets that it gives up (TN-92). */
import { expect, it } from "vitest";
import { after, instant, type Log, type LogFields, SILENT } from "../../../src/base/index.ts";
import { type DropLines, dropPacket } from "../../../src/tunnel/drops.ts";
import { packetTo } from "./lone-tunnel.ts";

const START = instant(1_000_000);

function dropping(isOn: boolean) {
  const lines: LogFields[] = [];
  const debug = (_event: string, fields: LogFields = {}) => void lines.push(fields);
  const log: Log = isOn ? { ...SILENT, debug } : SILENT;
  const dropLines: DropLines = new Map();
  return { log, lines, dropLines, counters: { "not-allowed": 0, "icmp-rate": 0 } };
}

it("TN-92: reason, addresses, protocol and ids, at DEBUG", () => {
  const state = dropping(true);
  dropPacket(state, START, "not-allowed", packetTo("172.20.0.9"), { cid: "c" });
  expect(state.lines).toEqual([
    { reason: "not-allowed", src: "100.64.0.2", dst: "172.20.0.9", protocol: 253, cid: "c" },
  ]);
  expect(state.counters["not-allowed"]).toBe(1);
});

it("TN-92: at most 10 lines in a second and of a reason, and each packet is counted", () => {
  const state = dropping(true);
  for (let i = 0; i < 25; i++) dropPacket(state, START, "not-allowed", packetTo("172.20.0.9"));
  expect(state.lines).toHaveLength(10);
  dropPacket(state, START, "icmp-rate", packetTo("172.20.0.9"));
  expect(state.lines).toHaveLength(11);
  for (let i = 0; i < 25; i++) dropPacket(state, after(START, 1000), "not-allowed", packetTo("172.20.0.9"));
  expect(state.lines).toHaveLength(21);
  expect(state.counters).toEqual({ "not-allowed": 50, "icmp-rate": 1 });
});

it("TN-92: with the level off nothing is made of a packet but a number", () => {
  const state = dropping(false);
  dropPacket(state, START, "not-allowed", new Uint8Array());
  expect(state.counters["not-allowed"]).toBe(1);
  expect(state.dropLines.size).toBe(0);
});
