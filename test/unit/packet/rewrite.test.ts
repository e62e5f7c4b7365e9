import { describe, expect, it } from "vitest";
import { fromHex, ip } from "../../../src/base/index.ts";
import { parsePacket } from "../../../src/packet/ip.ts";
import { type Translation, translated } from "../../../src/packet/rewrite.ts";
import fc from "../../lib/property.ts";
import { loadPacketModule } from "../plane/load.ts";
import { counting, hostilePacket, ipPacket, tcp, udp } from "../plane/packets.ts";

const plane = loadPacketModule();
const LIMITS = { limitBytes: 65_535, mode: "plain" } as const;

/** 100.66.110.26:53780 → 100.96.0.1:80, 41 bytes (TN-13). */
const EXAMPLE =
  fromHex(
    "45000029 00004000 40110407 64426e1a 64600001 d2140050 0015fb58 01020304 05060708 090a0b0c 0d".replaceAll(
      " ",
      "",
    ),
  ) ?? expect.fail("bad hex in the test");

function rewritten(packet: Uint8Array, translation: Translation): Uint8Array {
  const found = parsePacket(packet, LIMITS);
  return found.ok ? translated(packet, found.value, translation) : expect.fail(found.reason);
}

/** What the plane makes of a packet at the very end of memory; `undefined` if validation refuses. */
function byPlane(packet: Uint8Array, { field, address, port }: Translation): Uint8Array | undefined {
  const { wasm, bytes, descriptor, free } = plane;
  const at = plane.end - packet.length;
  const before = bytes.slice(at - 64, at);
  bytes.fill(0, free, free + 16);
  bytes.set(address, free);
  bytes.set(packet, at);
  const total = wasm.validate(at, packet.length, 65_535, 0, descriptor);
  if (total < 0) return undefined;
  if (field === "source") wasm.rewriteSource(at, descriptor, free, port);
  else wasm.rewriteDestination(at, descriptor, free, port);
  expect(bytes.slice(at - 64, at)).toEqual(before);
  return bytes.slice(at, at + total);
}

const u16 = (bytes: Uint8Array, at: number) => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);

const FAR = { 4: ip("198.51.100.7"), 6: ip("2001:db8::7") } as const;
const OUT = (family: 4 | 6, port = 53_781): Translation => ({
  field: "destination",
  address: FAR[family],
  port,
});

describe.each([
  ["twin", rewritten],
  ["WebAssembly", (packet: Uint8Array, by: Translation) => byPlane(packet, by) ?? expect.fail("refused")],
] as const)("translation of addresses and ports (%s)", (_, rewrite) => {
  it("TN-9: the example, with its checksums", () => {
    const packet = rewrite(EXAMPLE, OUT(4));
    expect([...packet.subarray(16, 20)]).toEqual([198, 51, 100, 7]);
    expect([u16(packet, 20), u16(packet, 22)]).toEqual([53_781, 80]);
    expect([u16(packet, 10), u16(packet, 26)]).toEqual([0x3e2d, 0x357e]);
  });

  it.each([4, 6] as const)("TN-9: equals a packet made anew with a checksum made anew (IPv%i)", (family) => {
    const ends = { family, ports: [5000, 80] as const };
    for (const make of [tcp, udp] as const) {
      const out = rewrite(make(counting(333), ends), OUT(family));
      expect(out).toEqual(make(counting(333), { ...ends, destination: FAR[family], ports: [53_781, 80] }));
      const into: Translation = { field: "source", address: FAR[family], port: 7 };
      expect(rewrite(make(counting(333), ends), into)).toEqual(
        make(counting(333), { ...ends, source: FAR[family], ports: [5000, 7] }),
      );
    }
  });

  it("TN-9: a UDP checksum that becomes 0 is 0xffff, one that was 0 stays 0", () => {
    const packet = udp(counting(4), { family: 4, ports: [0, 80] });
    // The port that makes the sum complete: what is left of the checksum goes into it.
    const at = 26;
    const address = packet.slice(16, 20);
    const complete = rewrite(packet, { field: "destination", address, port: u16(packet, at) });
    expect(u16(complete, at)).toBe(0xffff);
    const none = udp(counting(4), { family: 4, hasChecksum: false });
    expect(u16(rewrite(none, OUT(4)), at)).toBe(0);
  });

  it("TN-9: a corrupted packet stays corrupted by as much", () => {
    const packet = tcp(counting(20), { family: 4 });
    const broken = Uint8Array.from(packet);
    broken[45] = (broken[45] ?? 0) ^ 0x10;
    const [good, bad] = [packet, broken].map((each) => rewrite(each, OUT(4)));
    expect(u16(bad ?? broken, 36)).toBe(u16(good ?? packet, 36));
  });

  it("TN-6, TN-9: of an echo the identifier changes, and ICMP's checksum in IPv4 knows no addresses", () => {
    const echo = (identifier: number, checksum: number) =>
      Uint8Array.of(8, 0, checksum >> 8, checksum & 255, identifier >> 8, identifier & 255, 0, 1);
    const packet = ipPacket(1, echo(0x1234, 0xe5ca), { family: 4 });
    expect(rewrite(packet, OUT(4, 0x1235)).subarray(20)).toEqual(echo(0x1235, 0xe5c9));
    expect(rewrite(packet, OUT(4, 0x1234)).subarray(20)).toEqual(echo(0x1234, 0xe5ca));
  });

  it("TN-9: a portless packet changes its address only", () => {
    const packet = ipPacket(47, counting(16), { family: 6 });
    expect(rewrite(packet, OUT(6))).toEqual(ipPacket(47, counting(16), { family: 6, destination: FAR[6] }));
  });

  it("TN-9: ICMP without an identifier stays as it is in IPv4, whatever its checksum says", () => {
    for (const checksum of [0, 0xff]) {
      const unreachable = Uint8Array.of(3, 1, checksum, checksum, 0, 0, 0, 0, ...counting(20));
      const packet = rewrite(ipPacket(1, unreachable, { family: 4 }), OUT(4));
      expect(packet.subarray(20)).toEqual(unreachable);
    }
  });
});

it("TN-9: plane and twin agree on packets of any kind", () => {
  fc.assert(
    fc.property(
      hostilePacket,
      fc.constantFrom("source" as const, "destination" as const),
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.integer({ min: 0, max: 0xffff }),
      (packet, field, bytes, port) => {
        const isV6 = (packet[0] ?? 0) >> 4 === 6;
        const address = bytes.slice(0, isV6 ? 16 : 4);
        const translation = { field, address, port } as const;
        const found = parsePacket(packet, LIMITS);
        const expected = found.ok ? translated(packet, found.value, translation) : undefined;
        expect(byPlane(packet, translation)).toEqual(expected);
      },
    ),
    { numRuns: 2000 },
  );
});
