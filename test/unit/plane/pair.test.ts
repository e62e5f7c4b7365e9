import { describe, expect, it } from "vitest";
import { ip } from "../../../src/base/index.ts";
import { counting, udp } from "./packets.ts";
import { createPair, NET_A, NET_B, plainFrame, receiveAll, sendAll } from "./pair.ts";

describe("two planes back to back", () => {
  it("carries a packet", () => {
    const { a, b } = createPair();
    const packet = udp(counting(100), { family: 4, source: NET_A.v4, destination: NET_B.v4 });
    const sends = sendAll(a, plainFrame(packet));
    const frames = receiveAll(b, sends);
    expect(frames[0]?.subarray(10)).toEqual(packet);
    expect(ip("10.0.0.1")).toBeDefined();
  });
});
