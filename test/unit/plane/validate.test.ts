import { describe, expect, it } from "vitest";
import { CONSTANTS, REASON_NAMES } from "../../../bindings/memory/index.ts";
import { fromHex } from "../../../src/base/index.ts";
import { type MalformedPacket, type PacketLimits, parsePacket } from "../../../src/packet/ip.ts";
import fc from "../../lib/property.ts";
import { loadPacketModule, readDescriptor } from "./load.ts";
import { hostilePacket } from "./packets.ts";

const plane = loadPacketModule();
const MODES = { plain: 0, strict: 1 } as const;

/** Validates with the packet at the very end of memory: a read behind it would trap. */
function validate(packet: Uint8Array, { limitBytes, mode }: PacketLimits) {
  const at = plane.end - packet.length;
  plane.bytes.set(packet, at);
  const result = plane.wasm.validate(at, packet.length, limitBytes, MODES[mode], plane.descriptor);
  if (result < 0) return { ok: false, reason: REASON_NAMES[-result] };
  const value = readDescriptor(plane, CONSTANTS.PACKET_FLAG_PORTS, CONSTANTS.PACKET_FLAG_FRAGMENT);
  expect(result).toBe(value.totalBytes);
  return { ok: true, value };
}

/** Annotated hexadecimal; what follows a `;` on a line is a remark. */
function hex(text: string): Uint8Array {
  return fromHex(text.replace(/;.*$/gm, "")) ?? expect.fail(`bad hex: ${text}`);
}

const V4 = (lengthAndRest: string, options = "") => {
  const rest = hex(options).length;
  return `4${(5 + rest / 4).toString(16)} 00 ${lengthAndRest} 0a000001 0a000002 ${options}`;
};
const V6 = (lengthHex: string, next: string) =>
  `60000000 ${lengthHex} ${next} 40 ${"fd".repeat(16)} ${"fe".repeat(16)}`;
const UDP8 = "1000 2000 0008 0000";
const EXT = (next: string, rest = "00 0000 00000000") => `${next} ${rest}`;

interface Boundary {
  /** The nearest packet that passes. */
  readonly passes: string;
  readonly fails: string;
  readonly mode?: "plain";
}

/** Both sides of every condition of TN-3; a new reason does not compile without its examples. */
const BOUNDARIES = {
  "ip-version": [
    { passes: V4("0014 0000 0000 40 fd 0000"), fails: "" },
    { passes: V4("0014 0000 0000 40 fd 0000"), fails: `5${V4("0014 0000 0000 40 fd 0000").slice(1)}` },
    { passes: V6("0000", "fd"), fails: `7${V6("0000", "fd").slice(1)}` },
  ],
  "ip-length": [
    { passes: V4("0014 0000 0000 40 fd 0000"), fails: V4("0015 0000 0000 40 fd 0000") },
    { passes: V4("0014 0000 0000 40 fd 0000"), fails: V4("0013 0000 0000 40 fd 0000") },
    { passes: V4("0014 0000 0000 40 fd 0000"), fails: V4("0014 0000 0000 40 fd 0000").slice(0, -3) },
    {
      passes: V4("0014 0000 0000 40 fd 0000"),
      fails: `44${V4("0014 0000 0000 40 fd 0000").slice(2)}`,
    },
    {
      passes: V4("0018 0000 0000 40 fd 0000", "01010101"),
      fails: V4("0017 0000 0000 40 fd 0000", "01010101"),
    },
    { passes: V6("0000", "fd"), fails: V6("0001", "fd") },
    { passes: V6("0000", "fd"), fails: V6("0000", "fd").slice(0, -2) },
  ],
  "ip-too-big": [
    {
      passes: `${V4("0500 0000 0000 40 fd 0000")} ${"00".repeat(1260)}`,
      fails: `${V4("0501 0000 0000 40 fd 0000")} ${"00".repeat(1261)}`,
    },
    {
      passes: `${V6("04d8", "fd")} ${"00".repeat(1240)}`,
      fails: `${V6("04d9", "fd")} ${"00".repeat(1241)}`,
    },
  ],
  "ip-fragment": [
    { passes: `${V4("0014 0000 8000 40 fd 0000")}`, fails: V4("0014 0000 2000 40 fd 0000") },
    { passes: `${V4("0014 0000 4000 40 fd 0000")}`, fails: V4("0014 0000 0001 40 fd 0000") },
    {
      passes: `${V6("0008", "2c")} ${EXT("fd", "00 0006 00000000")}`,
      fails: `${V6("0008", "2c")} ${EXT("fd", "00 0001 00000000")}`,
    },
    {
      passes: `${V6("0008", "2c")} ${EXT("fd", "00 0000 00000000")}`,
      fails: `${V6("0008", "2c")} ${EXT("fd", "00 0008 00000000")}`,
    },
  ],
  "ip-source-route": [
    {
      passes: V4("0018 0000 0000 40 fd 0000", "82030400"),
      fails: V4("0018 0000 0000 40 fd 0000", "83030400"),
    },
    // The list is over before the option: end of list, a length below 2, a length beyond the header.
    {
      passes: V4("0018 0000 0000 40 fd 0000", "00890304"),
      fails: V4("0018 0000 0000 40 fd 0000", "01890304"),
    },
    {
      passes: V4("0018 0000 0000 40 fd 0000", "44018903"),
      fails: V4("0018 0000 0000 40 fd 0000", "44028903"),
    },
    {
      passes: V4("0018 0000 0000 40 fd 0000", "44038903"),
      fails: V4("0018 0000 0000 40 fd 0000", "01010189"),
    },
    {
      passes: `${V6("0008", "2b")} ${EXT("fd", "00 0000 00000000")}`,
      fails: `${V6("0008", "2b")} ${EXT("fd", "00 0001 00000000")}`,
    },
    // A routing header counts wherever it stands.
    {
      passes: `${V6("0010", "3c")} ${EXT("2b")} ${EXT("fd", "00 0000 00000000")}`,
      fails: `${V6("0010", "3c")} ${EXT("2b")} ${EXT("fd", "00 00ff 00000000")}`,
    },
  ],
  "ip6-ext": [
    // Below 8 bytes; a length beyond the packet; hop-by-hop not first; a ninth header.
    { passes: `${V6("0008", "3c")} ${EXT("fd")}`, fails: `${V6("0007", "3c")} ${EXT("fd").slice(0, -2)}` },
    {
      passes: `${V6("0010", "3c")} ${EXT("fd", "01 0000 00000000")} ${"00".repeat(8)}`,
      fails: `${V6("000f", "3c")} ${EXT("fd", "01 0000 00000000")} ${"00".repeat(7)}`,
    },
    {
      passes: `${V6("0010", "00")} ${EXT("3c")} ${EXT("fd")}`,
      fails: `${V6("0010", "3c")} ${EXT("00")} ${EXT("fd")}`,
    },
    {
      passes: `${V6("0040", "3c")} ${EXT("3c").repeat(7)} ${EXT("fd")}`,
      fails: `${V6("0048", "3c")} ${EXT("3c").repeat(8)} ${EXT("fd")}`,
    },
    { passes: `${V6("0008", "2c")} ${EXT("fd")}`, fails: `${V6("0007", "2c")} ${EXT("fd").slice(0, -2)}` },
    // Row 7 comes before row 8: the first header has segments left, the second is cut.
    {
      passes: `${V6("0008", "2b")} ${EXT("fd")}`,
      fails: `${V6("000f", "2b")} ${EXT("3c", "00 0001 00000000")} ${"00".repeat(7)}`,
    },
  ],
  "udp-length": [
    {
      passes: `${V4("001c 0000 0000 40 11 0000")} ${UDP8}`,
      fails: `${V4("001b 0000 0000 40 11 0000")} ${UDP8}`,
    },
    { passes: `${V6("0008", "11")} ${UDP8}`, fails: `${V6("0008", "11")} 1000 2000 0007 0000` },
    {
      passes: `${V6("0009", "11")} 1000 2000 0009 0000 ff`,
      fails: `${V6("0009", "11")} 1000 2000 000a 0000 ff`,
    },
    {
      passes: `${V6("0009", "11")} 1000 2000 0008 0000 ff`,
      fails: `${V6("0009", "11")} 1000 2000 0000 0000 ff`,
    },
  ],
  "tcp-length": [
    {
      passes: `${V4("0028 0000 0000 40 06 0000")} ${"00".repeat(12)} 50 10 000000000000`,
      fails: `${V4("0027 0000 0000 40 06 0000")} ${"00".repeat(12)} 50 10 0000000000`,
    },
    {
      passes: `${V6("0014", "06")} ${"00".repeat(12)} 50 10 000000000000`,
      fails: `${V6("0014", "06")} ${"00".repeat(12)} 4f 10 000000000000`,
    },
    {
      passes: `${V6("0018", "06")} ${"00".repeat(12)} 60 10 000000000000 00000000`,
      fails: `${V6("0018", "06")} ${"00".repeat(12)} 70 10 000000000000 00000000`,
    },
  ],
  "icmp-family": [
    {
      passes: `${V4("001c 0000 0000 40 01 0000")} ${UDP8}`,
      fails: `${V4("001c 0000 0000 40 3a 0000")} ${UDP8}`,
    },
    { passes: `${V6("0008", "3a")} ${UDP8}`, fails: `${V6("0008", "01")} ${UDP8}` },
    // Row 12 comes before row 13.
    { passes: V6("0000", "3b"), fails: V6("0000", "01") },
  ],
  "icmp-length": [
    {
      passes: `${V4("001c 0000 0000 40 01 0000")} ${UDP8}`,
      fails: `${V4("001b 0000 0000 40 01 0000")} ${UDP8}`,
    },
    { passes: `${V6("0008", "3a")} ${UDP8}`, fails: `${V6("0007", "3a")} ${UDP8}` },
  ],
} satisfies Record<MalformedPacket, readonly Boundary[]>;

const CASES = Object.entries(BOUNDARIES).flatMap(([reason, boundaries]) =>
  boundaries.map((boundary, i) => ({ reason, i, ...boundary })),
);

describe("validation of IP packets", () => {
  it.each(CASES)("TN-3: rejects as $reason ($i), and passes its neighbour", ({ reason, passes, fails }) => {
    const limits = { limitBytes: 1280, mode: "strict" } as const;
    expect(parsePacket(hex(fails), limits)).toEqual({ ok: false, reason });
    expect(validate(hex(fails), limits)).toEqual({ ok: false, reason });
    expect(parsePacket(hex(passes), limits)).toMatchObject({ ok: true });
    expect(validate(hex(passes), limits)).toMatchObject({ ok: true });
  });

  it("TN-3 row 4: cuts padding off", () => {
    const padded = hex(`${V4("001c 0000 0000 40 11 0000")} ${UDP8} 00000000`);
    expect(validate(padded, { limitBytes: 28, mode: "strict" })).toMatchObject({ value: { totalBytes: 28 } });
    expect(validate(padded, { limitBytes: 27, mode: "strict" })).toEqual({ ok: false, reason: "ip-too-big" });
  });

  it.each([
    ["a first fragment with an incomplete UDP header", `${V4("0018 0000 2000 40 11 0000")} 10002000`],
    ["a later fragment", `${V4("0018 0000 0001 40 06 0000")} 10002000`],
    ["a source route", `${V4("001c 0000 0000 40 fd 0000", "8907040a000003 00")}`],
    [
      "an IPv6 fragment whose rest looks like a header",
      `${V6("000c", "2c")} ${EXT("3c", "00 0009 00000000")} 0000ffff`,
    ],
    ["a routing header with segments left", `${V6("0008", "2b")} ${EXT("fd", "00 0001 00000000")}`],
  ])("TN-4: a plain WireGuard peer carries %s", (_name, text) => {
    const plain = { limitBytes: 65535, mode: "plain" } as const;
    expect(validate(hex(text), plain)).toEqual(parsePacket(hex(text), plain));
    expect(validate(hex(text), plain)).toMatchObject({ ok: true });
    expect(validate(hex(text), { limitBytes: 65535, mode: "strict" })).toMatchObject({ ok: false });
  });

  const UDP_OF = (length: string) => `1000 2000 ${length} 0000`;
  const ECHO = "0800 0000 1234 0001";
  const UDP_PORTS = { source: 0x1000, destination: 0x2000 };

  it.each([
    [
      "a first one with UDP's header, its length that of all",
      `${V4("001c 0000 2000 40 11 0000")} ${UDP_OF("0bb8")}`,
      UDP_PORTS,
    ],
    [
      "a first one of an echo",
      `${V4("001c 0000 2000 40 01 0000")} ${ECHO}`,
      { source: 0x1234, destination: 0x1234 },
    ],
    ["a later one of UDP, right behind its header", `${V4("0015 0000 0001 40 11 0000")} 01`, undefined],
    ["a later one of TCP at 24", `${V4("0015 0000 0003 40 06 0000")} 01`, undefined],
    ["one that ends at 65,535", `${V4("001b 0000 1fff 40 11 0000")} 01020304050607`, undefined],
    ["IPv6, first", `${V6("0010", "2c")} ${EXT("11", "00 0001 00000000")} ${UDP_OF("0bb8")}`, UDP_PORTS],
    ["IPv6, later", `${V6("0009", "2c")} ${EXT("11", "00 0008 00000000")} 01`, undefined],
  ])("TN-111: takes %s", (_name, text, ports) => {
    const strict = { limitBytes: 1280, mode: "strict" } as const;
    expect(validate(hex(text), strict)).toEqual(parsePacket(hex(text), strict));
    expect(parsePacket(hex(text), strict)).toMatchObject({ ok: true, value: { isFragment: true } });
    expect(parsePacket(hex(text), strict)).toHaveProperty("value.totalBytes");
    const found = parsePacket(hex(text), strict);
    expect(found.ok && found.value.ports).toEqual(ports);
  });

  it.each([
    ["a first one without UDP's whole header", `${V4("0014 0000 2000 40 11 0000")}`, "ip-fragment"],
    ["a first one with 16 bytes of TCP", `${V4("0024 0000 2000 40 06 0000")} ${UDP8} ${UDP8}`, "ip-fragment"],
    ["a later one that overlaps TCP's header", `${V4("0015 0000 0002 40 06 0000")} 01`, "ip-fragment"],
    [
      "one that is no multiple of 8, and not the last",
      `${V4("001d 0000 2000 40 11 0000")} ${UDP8} 01`,
      "ip-fragment",
    ],
    ["one that ends at 65,536", `${V4("001c 0000 1fff 40 11 0000")} 0102030405060708`, "ip-fragment"],
    ["an ICMP error in pieces", `${V4("001c 0000 2000 40 01 0000")} 0301 0000 0000 0000`, "ip-fragment"],
    ["UDP with a length below 8", `${V4("001c 0000 2000 40 11 0000")} ${UDP_OF("0007")}`, "udp-length"],
    ["ICMPv6 in IPv4", `${V4("0015 0000 0001 40 3a 0000")} 01`, "icmp-family"],
    [
      "IPv6 options behind the first one's fragment header",
      `${V6("0010", "2c")} ${EXT("3c", "00 0001 00000000")} ${EXT("11", "00 000000000000")}`,
      "ip-fragment",
    ],
  ])("TN-111: refuses %s", (_name, text, reason) => {
    const strict = { limitBytes: 1280, mode: "strict" } as const;
    expect(validate(hex(text), strict)).toEqual({ ok: false, reason });
    expect(parsePacket(hex(text), strict)).toEqual({ ok: false, reason });
  });

  it("TN-4: to a plain peer a fragment is portless, whatever it begins with", () => {
    const first = hex(`${V4("001c 0000 2000 40 11 0000")} ${UDP8}`);
    const value = { isFragment: true, protocol: 17, transportOffset: 20 };
    const result = validate(first, { limitBytes: 65535, mode: "plain" });
    expect(result).toMatchObject({ ok: true, value });
    expect(result).not.toHaveProperty("value.ports");
  });

  it.each([
    ["UDP", `${V4("001c 0000 0000 40 11 0000")} ${UDP8}`, { source: 0x1000, destination: 0x2000 }],
    [
      "echo request",
      `${V4("001c 0000 0000 40 01 0000")} 0800 0000 1234 0001`,
      { source: 0x1234, destination: 0x1234 },
    ],
    [
      "echo reply",
      `${V4("001c 0000 0000 40 01 0000")} 0000 0000 1234 0001`,
      { source: 0x1234, destination: 0x1234 },
    ],
    [
      "ICMPv6 echo request",
      `${V6("0008", "3a")} 8000 0000 1234 0001`,
      { source: 0x1234, destination: 0x1234 },
    ],
    ["ICMPv6 echo reply", `${V6("0008", "3a")} 8100 0000 1234 0001`, { source: 0x1234, destination: 0x1234 }],
    ["an echo with a code", `${V4("001c 0000 0000 40 01 0000")} 0801 0000 1234 0001`, undefined],
    ["an ICMP error", `${V4("001c 0000 0000 40 01 0000")} 030d 0000 1234 0001`, undefined],
    ["ESP", `${V6("0008", "32")} ${UDP8}`, undefined],
    [
      "UDP behind an atomic fragment header",
      `${V6("0010", "2c")} ${EXT("11")} ${UDP8}`,
      { source: 0x1000, destination: 0x2000 },
    ],
  ])("TN-6: the transport identity of %s", (_name, text, ports) => {
    const result = validate(hex(text), { limitBytes: 1280, mode: "strict" });
    expect(result).toMatchObject({ ok: true, ...(ports && { value: { ports } }) });
    if (ports === undefined) expect(result).not.toHaveProperty("value.ports");
  });

  it("TN-1: agrees with its twin on hostile packets and never reads beyond them", () => {
    const seen = new Set<string | undefined>();
    fc.assert(
      fc.property(hostilePacket, fc.constantFrom("plain", "strict"), (packet, mode) => {
        const limits = { limitBytes: packet.length > 130 ? 120 : 1280, mode } as const;
        const result = validate(packet, limits);
        seen.add(result.ok ? "passed" : result.reason);
        expect(result).toEqual(parsePacket(packet, limits));
      }),
      { numRuns: 4000 },
    );
    expect([...Object.keys(BOUNDARIES), "passed"].filter((reason) => !seen.has(reason))).toEqual([]);
  });

  it("TN-1: agrees with its twin on random bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120, size: "max" }), fc.nat(200), (packet, limitBytes) => {
        if (packet.length > 0) packet[0] = (packet[0] ?? 0) % 2 === 0 ? 0x45 : 0x60;
        const limits = { limitBytes, mode: "strict" } as const;
        expect(validate(packet, limits)).toEqual(parsePacket(packet, limits));
      }),
      { numRuns: 500 },
    );
  });
});
