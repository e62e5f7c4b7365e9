import { describe, expect, it } from "vitest";
import { concatBytes } from "../../../src/base/index.ts";
import { checksumAdd, checksumFinish } from "../../../src/packet/checksum.ts";
import { parsePacket } from "../../../src/packet/ip.ts";
import fc from "../../lib/property.ts";
import { withLowerMss } from "../../twin/plane/mss.ts";
import { pseudoSumOf } from "../../twin/plane/split.ts";
import { loadPacketModule } from "./load.ts";
import { counting, hostilePacket, ipPacket, tcp } from "./packets.ts";

const plane = loadPacketModule();
const SYN = 0x02;
const SYN_ACK = 0x12;

/** What the plane makes of a packet at the very end of memory; `undefined` if validation refuses. */
function clamp(packet: Uint8Array, mtu: number): Uint8Array | undefined {
  const at = plane.end - packet.length;
  const before = plane.bytes.slice(at - 64, at);
  plane.bytes.set(packet, at);
  const { wasm, descriptor } = plane;
  if (wasm.validate(at, packet.length, 65_535, 0, descriptor) < 0) return undefined;
  if (wasm.isSyn(at, descriptor) !== 0) wasm.clampMss(at, descriptor, mtu);
  expect(plane.bytes.slice(at - 64, at)).toEqual(before);
  return plane.bytes.slice(at);
}

/** The same by the twin, padding included. */
function clampTwin(packet: Uint8Array, mtu: number): Uint8Array | undefined {
  const found = parsePacket(packet, { limitBytes: 65_535, mode: "plain" });
  return found.ok ? withLowerMss(packet, found.value, mtu) : undefined;
}

const mss = (value: number): readonly number[] => [2, 4, value >> 8, value & 0xff];
const padded = (options: readonly number[]): Uint8Array<ArrayBuffer> => {
  const bytes = new Uint8Array(Math.ceil(options.length / 4) * 4);
  bytes.set(options);
  return bytes;
};

function syn(family: 4 | 6, options: readonly number[], flags = SYN): Uint8Array<ArrayBuffer> {
  return tcp(new Uint8Array(0), { family, flags, tcpOptions: padded(options) });
}

/** The TCP options of a packet without IP options or extension headers. */
function optionsOf(packet: Uint8Array): readonly number[] {
  return [...packet.subarray(((packet[0] ?? 0) >> 4 === 4 ? 20 : 40) + 20)];
}

function isSumRight(packet: Uint8Array): boolean {
  const transport = packet.subarray((packet[0] ?? 0) >> 4 === 4 ? 20 : 40);
  return checksumFinish(checksumAdd(transport, pseudoSumOf(packet, transport.length, 6))) === 0;
}

/** On a path of 1,240 bytes; what becomes of IPv4's options and of IPv6's, where anything does. */
const LAYOUTS: Readonly<Record<string, readonly [(most: number) => readonly number[], boolean]>> = {
  "first of all": [(v) => [...mss(v), 1, 3, 3, 7], true],
  "at an odd offset": [(v) => [1, ...mss(v), 4, 2, 0], true],
  "behind others, at an odd offset": [(v) => [8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, ...mss(v)], true],
  "at the very end": [(v) => [1, 1, 1, 1, ...mss(v)], true],
  twice: [(v) => [...mss(v), ...mss(v)], true],
  "behind the end of the list": [() => [0, 1, 1, 1, ...mss(1460)], false],
  "cut off by the end of the header": [() => [1, 1, 1, 1, 1, 2, 4, 0xff], false],
  "with its length cut off": [() => [1, 1, 1, 2], false],
  "of three bytes": [() => [2, 3, 0xff, 1], false],
  "of six bytes": [() => [2, 6, 0xff, 0xff, 0xff, 0xff, 1, 1], false],
  "behind an option of length 0": [() => [8, 0, ...mss(1460), 1, 1], false],
  "behind an option of length 1": [() => [8, 1, ...mss(1460), 1, 1], false],
  "behind an option that passes the end": [() => [8, 40, ...mss(1460), 1, 1], false],
  absent: [() => [1, 3, 3, 7], false],
};

describe.each([
  [4, 1200],
  [6, 1180],
] as const)("TN-109: the MSS of IPv%i on a path of 1240 bytes", (family, most) => {
  it.each(Object.entries(LAYOUTS))("an option %s", (_, [options, isLowered]) => {
    const packet = syn(family, options(1460));
    const after = clamp(packet, 1240);
    expect(after).toEqual(isLowered ? syn(family, options(most)) : packet);
    expect(after).toEqual(clampTwin(packet, 1240));
  });

  it("is lowered in SYN and SYN-ACK, and in nothing else", () => {
    for (const flags of [SYN, SYN_ACK, 0xc2]) {
      expect(clamp(syn(family, mss(1460), flags), 1240)).toEqual(syn(family, mss(most), flags));
    }
    for (const flags of [0x10, 0x11, 0x04]) {
      expect(clamp(syn(family, mss(1460), flags), 1240)).toEqual(syn(family, mss(1460), flags));
    }
  });

  it("is never raised", () => {
    for (const value of [0, 536, most - 1, most]) {
      expect(clamp(syn(family, mss(value)), 1240)).toEqual(syn(family, mss(value)));
    }
    expect(clamp(syn(family, mss(most + 1)), 1240)).toEqual(syn(family, mss(most)));
  });

  it("a path too short for any segment gives 0", () => {
    expect(optionsOf(clamp(syn(family, mss(1460)), 1) ?? new Uint8Array())).toEqual(mss(0));
  });

  it("a wrong checksum stays wrong by as much", () => {
    const packet = syn(family, [1, ...mss(1460), 1, 1, 1]);
    const at = (family === 4 ? 20 : 40) + 17;
    packet[at] = (packet[at] ?? 0) ^ 0x40;
    const after = clamp(packet, 1240) ?? new Uint8Array();
    expect(isSumRight(after)).toBe(false);
    after[at] = (after[at] ?? 0) ^ 0x40;
    // The carry may have gone further than the bit.
    expect(after).toEqual(clampTwin(packet, 1240)?.map((byte, i) => (i === at ? byte ^ 0x40 : byte)));
  });
});

it("TN-109: IPv4 options and IPv6 extension headers lie before the option", () => {
  const behindOptions = tcp(new Uint8Array(0), {
    family: 4,
    flags: SYN,
    options: Uint8Array.of(1, 1, 1, 1),
    tcpOptions: padded(mss(1460)),
  });
  expect(clamp(behindOptions, 1240)?.subarray(44)).toEqual(Uint8Array.from(mss(1200)));
  const segment = syn(6, mss(1460)).subarray(40);
  const behindHeader = ipPacket(60, concatBytes(Uint8Array.of(6, 0, 1, 4, 0, 0, 0, 0), segment), {
    family: 6,
  });
  expect(clamp(behindHeader, 1240)?.subarray(68)).toEqual(Uint8Array.from(mss(1180)));
});

it("TN-109: the first fragment of a SYN is left alone, as its checksum covers what is not here", () => {
  const fragment = tcp(counting(8), {
    family: 4,
    flags: SYN,
    fragmentField: 0x2000,
    tcpOptions: padded(mss(1460)),
  });
  expect(clamp(fragment, 1240)).toEqual(fragment);
});

const optionNoise = fc
  .array(fc.oneof(fc.constantFrom(0, 1, 2, 2, 4, 4, 3, 10), fc.nat(255)), { maxLength: 40 })
  .map(padded);

describe("TN-109, D-4: plane and twin agree", () => {
  it("about SYNs with any options", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(4 as const, 6 as const),
        optionNoise,
        fc.constantFrom(SYN, SYN_ACK),
        fc.nat(1600),
        (family, tcpOptions, flags, mtu) => {
          const packet = tcp(counting(3), { family, flags, tcpOptions });
          const after = clamp(packet, mtu);
          expect(after).toEqual(clampTwin(packet, mtu));
          expect(after !== undefined && isSumRight(after)).toBe(true);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("about hostile packets", () => {
    fc.assert(
      fc.property(hostilePacket, fc.nat(1600), (packet, mtu) => {
        expect(clamp(packet, mtu)).toEqual(clampTwin(packet, mtu));
      }),
      { numRuns: 2000 },
    );
  });
});
