import { describe, expect, it } from "vitest";
import { ip } from "../../../../src/base/index.ts";
import { encodeIp, encodeUdp, viewPacket } from "../../../../src/packet/index.ts";
import { isTcpFrame, packetsOf } from "../../../../src/program/userspace/frames.ts";

const from = { address: ip("10.0.0.1"), port: 1 };
const to = { address: ip("10.0.0.2"), port: 2 };

function packet(payload: Uint8Array): Uint8Array {
  const encoded = encodeUdp(from, to, payload);
  if (!encoded.ok) throw new Error(encoded.reason);
  return encoded.value;
}

describe("frames of the plane", () => {
  it("PG-122: a packet is behind an empty header", () => {
    const whole = packet(Uint8Array.of(1, 2));
    expect([...packetsOf(Uint8Array.of(...new Uint8Array(10), ...whole))]).toEqual([whole]);
  });

  it.each([
    ["10.0.0.1", "10.0.0.2"],
    ["2001:db8::1", "2001:db8::2"],
  ])("PG-126: segments from %s are told from all else, fragments of them included", (source, destination) => {
    const frameOf = (protocol: number, change: (whole: Uint8Array) => void = () => {}): Uint8Array => {
      const addresses = { source: ip(source), destination: ip(destination) };
      const whole = encodeIp({ ...addresses, protocol, transport: new Uint8Array(20) });
      if (!whole.ok) throw new Error(whole.reason);
      change(whole.value);
      return Uint8Array.of(...new Uint8Array(10), ...whole.value);
    };
    expect(isTcpFrame(frameOf(6))).toBe(true);
    expect(isTcpFrame(frameOf(17))).toBe(false);
    const cut = (whole: Uint8Array): void => {
      if (whole[0] === 0x45) whole[6] = 0x20;
      else whole[6] = 44;
    };
    expect(isTcpFrame(frameOf(6, cut))).toBe(false);
  });

  it("PG-125: datagrams that were joined are single ones again", () => {
    const joined = packet(Uint8Array.from({ length: 25 }, (_, i) => i));
    const frame = new Uint8Array(10 + joined.length);
    frame.set([1, 5, 28, 0, 10, 0]);
    frame.set(joined, 10);
    const payloads = packetsOf(frame).map((one) => [...viewPacket(one).transport.subarray(8)]);
    expect(payloads.map(({ length }) => length)).toEqual([10, 10, 5]);
    expect(payloads.flat()).toEqual(Array.from({ length: 25 }, (_, i) => i));
  });
});
