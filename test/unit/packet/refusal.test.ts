import { describe, expect, it } from "vitest";
import { fromHex, ip, toHex } from "../../../src/base/index.ts";
import { encodeUdp } from "../../../src/packet/build.ts";
import { encodeRefusal, encodeTooBig } from "../../../src/packet/refusal.ts";

const hex = (text: string): Uint8Array => fromHex(text) ?? expect.fail("bad hex in the test");

/** 100.66.110.26:53780 → 100.96.0.1:80, 41 bytes (TN-13). */
const UDP_V4 = hex(`
  45 00 00 29 00 00 40 00 40 11 04 07 64 42 6e 1a 64 60 00 01
  d2 14 00 50 00 15 fb 58 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d`);

function v4(options: {
  source?: string;
  destination?: string;
  protocol?: number;
  type?: number;
}): Uint8Array {
  const packet = Uint8Array.from(UDP_V4);
  packet.set(ip(options.source ?? "100.66.110.26"), 12);
  packet.set(ip(options.destination ?? "100.96.0.1"), 16);
  packet[9] = options.protocol ?? 17;
  packet[20] = options.type ?? 0xd2;
  return packet;
}

function v6(options: {
  source?: string;
  destination?: string;
  nextHeader?: number;
  type?: number;
  bytes?: number;
}) {
  const packet = new Uint8Array(options.bytes ?? 50);
  packet[0] = 0x60;
  packet[5] = packet.length - 40;
  packet[6] = options.nextHeader ?? 17;
  packet.set(ip(options.source ?? "fd00:2021:1111::1e:7658"), 8);
  packet.set(ip(options.destination ?? "fd00:2021:1111:8000::"), 24);
  if (options.type !== undefined) packet[40] = options.type;
  return packet;
}

/** Eight bytes of destination options, then an ICMPv6 error. */
function errorBehindOptions(): Uint8Array {
  const packet = v6({ nextHeader: 60, bytes: 60 });
  packet.set([58, 0], 40);
  packet[48] = 1;
  return packet;
}

describe("refusals", () => {
  it("TN-13: prohibits an IPv4 packet with the specified bytes", () => {
    expect(toHex(encodeRefusal(UDP_V4, "prohibited") ?? hex(""))).toBe(
      toHex(
        hex(`45 00 00 38 00 00 40 00 14 01 30 08 64 60 00 01 64 42 6e 1a
             03 0d 2f 20 00 00 00 00
             45 00 00 29 00 00 40 00 40 11 04 07 64 42 6e 1a 64 60 00 01 d2 14 00 50 00 15 fb 58`),
      ),
    );
  });

  it("TN-13: says unreachable to an IPv6 packet with the specified header, quoting all of it", () => {
    const packet = v6({});
    const error = encodeRefusal(packet, "unreachable") ?? hex("");
    expect(error).toHaveLength(98);
    expect(toHex(error.subarray(0, 42))).toBe(
      toHex(
        hex(`60 00 00 00 00 3a 3a 14 fd 00 20 21 11 11 80 00 00 00 00 00 00 00 00 00
             fd 00 20 21 11 11 00 00 00 00 00 00 00 1e 76 58 01 03`),
      ),
    );
    expect(error.subarray(48)).toEqual(packet);
  });

  it("TN-13: the checksum of the IPv6 example, whatever the refused datagram says", () => {
    // Its own right checksum makes every datagram of that length add the same to the error's sum.
    const from = { address: ip("fd00:2021:1111::1e:7658"), port: 4321 };
    const packet = encodeUdp(from, { address: ip("fd00:2021:1111:8000::"), port: 53 }, Uint8Array.of(7, 9));
    const error = packet.ok ? encodeRefusal(packet.value, "unreachable") : undefined;
    expect(toHex(error?.subarray(40, 48) ?? hex(""))).toBe("01033a7c00000000");
  });

  it.each([
    ["prohibited", 4, [3, 13]],
    ["unreachable", 4, [3, 0]],
    ["prohibited", 6, [1, 1]],
    ["unreachable", 6, [1, 3]],
  ] as const)("TN-12: %s in IPv%i is type and code %j", (refusal, family, expected) => {
    const error = encodeRefusal(family === 4 ? UDP_V4 : v6({}), refusal);
    expect([...(error?.subarray(family === 4 ? 20 : 40) ?? [])].slice(0, 2)).toEqual([...expected]);
  });

  it("TN-13: quotes at most 1232 bytes in IPv6, and the header with 8 bytes in IPv4", () => {
    expect(encodeRefusal(v6({ bytes: 1232 }), "prohibited")).toHaveLength(1280);
    expect(encodeRefusal(v6({ bytes: 1233 }), "prohibited")).toHaveLength(1280);
    expect(encodeRefusal(UDP_V4.subarray(0, 24), "prohibited")).toHaveLength(52);
  });

  it.each([
    ["an ICMPv4 error", v4({ protocol: 1, type: 3 })],
    ["an ICMPv4 echo reply", v4({ protocol: 1, type: 0 })],
    ["an ICMPv6 error", v6({ nextHeader: 58, type: 1 })],
    ["an ICMPv6 error behind destination options", errorBehindOptions()],
    ["a later fragment", Uint8Array.from(UDP_V4).fill(0x10, 7, 8)],
    ["an ICMPv6 echo reply", v6({ nextHeader: 58, type: 129 })],
    ["an unspecified source", v4({ source: "0.0.0.0" })],
    ["a loopback source", v4({ source: "127.0.0.1" })],
    ["an IPv6 loopback source", v6({ source: "::1" })],
    ["a multicast source", v6({ source: "ff02::1" })],
    ["a multicast destination", v4({ destination: "224.0.0.1" })],
    ["an IPv6 multicast destination", v6({ destination: "ff02::1" })],
    ["the broadcast address", v4({ destination: "255.255.255.255" })],
  ])("TN-14: makes none for %s", (_name, packet) => {
    expect(encodeRefusal(packet, "prohibited")).toBeUndefined();
  });

  it("TN-14: refuses echo requests of both families", () => {
    expect(encodeRefusal(v4({ protocol: 1, type: 8 }), "prohibited")).toBeDefined();
    expect(encodeRefusal(v6({ nextHeader: 58, type: 128 }), "prohibited")).toBeDefined();
  });
});

describe("packets that a path does not take", () => {
  it("TN-108: an IPv4 sender hears *fragmentation needed* and the MTU, in the form of a refusal", () => {
    expect(toHex(encodeTooBig(UDP_V4, 1240) ?? hex(""))).toBe(
      toHex(
        hex(`45 00 00 38 00 00 40 00 14 01 30 08 64 60 00 01 64 42 6e 1a
             03 04 2a 51 00 00 04 d8
             45 00 00 29 00 00 40 00 40 11 04 07 64 42 6e 1a 64 60 00 01 d2 14 00 50 00 15 fb 58`),
      ),
    );
  });

  it.each([
    [1240, 1280],
    [1280, 1280],
    [1281, 1281],
    [1400, 1400],
  ])("TN-108: an IPv6 sender on a path of %i bytes hears of %i", (mtu, named) => {
    const error = encodeTooBig(v6({ bytes: 1280 }), mtu) ?? hex("");
    expect([...error.subarray(40, 42)]).toEqual([2, 0]);
    expect(new DataView(error.buffer).getUint32(44)).toBe(named);
    expect(error.length).toBe(1280);
  });

  it("TN-108, TN-14: nothing is said about an ICMP error, or to nobody", () => {
    expect(encodeTooBig(v4({ protocol: 1, type: 3 }), 1240)).toBeUndefined();
    expect(encodeTooBig(v4({ protocol: 1, type: 8 }), 1240)).toBeDefined();
    expect(encodeTooBig(errorBehindOptions(), 1240)).toBeUndefined();
    expect(encodeTooBig(v4({ destination: "224.0.0.1" }), 1240)).toBeUndefined();
  });
});
