import { describe, expect, it } from "vitest";
import { fromHex, ip, toHex } from "../../../src/base/index.ts";
import { encodeEchoRequest, encodeIp, encodeUdp } from "../../../src/packet/build.ts";
import { checksumAdd, pseudoHeaderSum } from "../../../src/packet/checksum.ts";
import { parsePacket } from "../../../src/packet/ip.ts";

const V4 = { source: ip("100.66.110.26"), destination: ip("100.96.0.1") };
const V6 = { source: ip("fd00:2021:1111::1e:7658"), destination: ip("fd00:2021:1111:8000::") };
const LIMITS = { limitBytes: 1280, mode: "strict" } as const;

const made = <T>(result: { ok: true; value: T } | { ok: false }): T =>
  result.ok ? result.value : expect.fail("not made");

const endpoints = ({ source, destination }: typeof V4) =>
  [
    { address: source, port: 53780 },
    { address: destination, port: 80 },
  ] as const;

describe("packets that we make", () => {
  it("TN-8, TN-13: a UDP packet over IPv4 is the one of the example", () => {
    // Only the header of the refused packet is specified; its checksums fix the 13 bytes of payload.
    const header = "45000029000040004011 0407 64426e1a64600001 d21400500015";
    const packet = made(encodeUdp(...endpoints(V4), new Uint8Array(13)));
    expect(toHex(packet.subarray(0, 26))).toBe(toHex(fromHex(header) ?? expect.fail("bad hex")));
    expect(packet).toHaveLength(41);
  });

  it.each([V4, V6])("TN-8: UDP and echo requests parse and have right checksums (%o)", (addresses) => {
    const identity = { identifier: 0x1234, sequence: 7, body: Uint8Array.of(1, 2, 3) };
    const echo = made(encodeEchoRequest({ ...addresses, ...identity }));
    const udp = made(encodeUdp(...endpoints(addresses), Uint8Array.of(1, 2, 3)));
    for (const [packet, ports] of [
      [echo, { source: 0x1234, destination: 0x1234 }],
      [udp, { source: 53780, destination: 80 }],
    ] as const) {
      const found = made(parsePacket(packet, LIMITS));
      expect(found).toMatchObject({ ports, totalBytes: packet.length });
      const { protocol, transportOffset, transportBytes: lengthBytes } = found;
      const pseudo = protocol === 1 ? 0 : pseudoHeaderSum({ ...addresses, protocol, lengthBytes });
      expect(checksumAdd(packet.subarray(transportOffset), pseudo)).toBe(0xffff);
      if (found.family === 4) expect(checksumAdd(packet.subarray(0, 20))).toBe(0xffff);
    }
  });

  it("TN-8: DF and identification 0 in IPv4, traffic class and flow label 0 in IPv6, hop limit 64", () => {
    const v4 = made(encodeIp({ ...V4, protocol: 253, transport: new Uint8Array(0) }));
    expect([...v4.subarray(0, 10)]).toEqual([0x45, 0, 0, 20, 0, 0, 0x40, 0, 64, 253]);
    const v6 = made(encodeIp({ ...V6, protocol: 253, transport: new Uint8Array(9) }));
    expect([...v6.subarray(0, 8)]).toEqual([0x60, 0, 0, 0, 0, 9, 253, 64]);
  });

  it("TN-8: a UDP checksum of zero is sent as 0xffff", () => {
    const bare = made(encodeUdp(...endpoints(V6), Uint8Array.of(0, 0)));
    const packet = made(encodeUdp(...endpoints(V6), bare.slice(46, 48)));
    expect(toHex(packet.subarray(46, 48))).toBe("ffff");
  });

  it("TN-8: makes a packet of 1280 bytes, and none of 1281", () => {
    expect(made(encodeUdp(...endpoints(V4), new Uint8Array(1252)))).toHaveLength(1280);
    expect(encodeUdp(...endpoints(V4), new Uint8Array(1253))).toEqual({ ok: false, reason: "ip-too-big" });
    expect(made(encodeUdp(...endpoints(V6), new Uint8Array(1232)))).toHaveLength(1280);
    expect(encodeUdp(...endpoints(V6), new Uint8Array(1233))).toEqual({ ok: false, reason: "ip-too-big" });
  });
});
