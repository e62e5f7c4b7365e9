import { describe, expect, it } from "vitest";
import { createSteering } from "../../../../bindings/ring/steering.ts";
import { ip } from "../../../../src/base/index.ts";
import { counting, udp } from "../../plane/packets.ts";

const SERVER = ip("192.0.2.1");
const PROXY = ip("100.96.0.1");
const CLIENT = ip("100.64.0.2");
const V6 = { family: 6, source: ip("fd00::1"), destination: ip("fd00::2") } as const;
const FLOWS = 4096;

function packet(ports: readonly [number, number], { source = SERVER, destination = CLIENT } = {}) {
  return udp(counting(8), { family: 4, source, destination, ports: [...ports] });
}

/** A fragment of a datagram of that flow: the first, whose ports are there, or a later one. */
function fragment(of: Uint8Array, isLater: boolean): Uint8Array {
  const bytes = Uint8Array.from(of);
  bytes.set(isLater ? [0, 1] : [0x20, 0], 6);
  return bytes;
}

describe("which pair has a flow (PG-176)", () => {
  it("is where it was seen last", () => {
    const steering = createSteering();
    steering.learn(packet([1, 2]), 3);
    expect(steering.pairOf(packet([1, 2]))).toBe(3);
    steering.learn(packet([1, 2]), 1);
    expect(steering.pairOf(packet([1, 2]))).toBe(1);
  });

  it("is the first for what nobody has seen", () => {
    const steering = createSteering();
    steering.learn(packet([1, 2]), 3);
    for (const ports of [
      [1, 3],
      [3, 2],
    ] as const)
      expect(steering.pairOf(packet(ports))).toBe(0);
    expect(steering.pairOf(packet([1, 2], { destination: ip("100.64.0.3") }))).toBe(0);
    expect(steering.pairOf(udp(counting(8), { ...V6, ports: [1, 2] }))).toBe(0);
  });

  it("TN-65: is found for what a gateway has translated on the way to the client", () => {
    const steering = createSteering();
    steering.learn(packet([443, 5000]), 2);
    expect(steering.pairOf(packet([443, 5000], { source: PROXY }))).toBe(2);
  });

  it("of IPv6 is found as well", () => {
    const steering = createSteering();
    steering.learn(udp(counting(8), { ...V6, ports: [1, 2] }), 2);
    expect(steering.pairOf(udp(counting(9), { ...V6, ports: [1, 2] }))).toBe(2);
  });

  it("is one for all fragments of a datagram, and another's than that of the whole ones", () => {
    const steering = createSteering();
    steering.learn(packet([1, 2]), 1);
    steering.learn(fragment(packet([1, 2]), false), 2);
    expect(steering.pairOf(fragment(packet([7, 7]), true))).toBe(2);
    expect(steering.pairOf(packet([1, 2]))).toBe(1);
  });

  it("is forgotten when as many others were seen since as are remembered, and not before", () => {
    const steering = createSteering();
    let port = 0;
    const others = (count: number) => {
      for (const end = port + count; port < end; port++) steering.learn(packet([port, 9]), 1);
    };
    others(FLOWS - 1);
    steering.learn(packet([1, 2]), 3);
    others(FLOWS - 1);
    expect(steering.pairOf(packet([1, 2]))).toBe(3);
    others(1);
    expect(steering.pairOf(packet([1, 2]))).toBe(0);
  });
});
