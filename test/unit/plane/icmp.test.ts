import { describe, expect, it } from "vitest";
import { REASON_NAMES } from "../../../bindings/memory/index.ts";
import { concatBytes, equalBytes, ip } from "../../../src/base/index.ts";
import { isIcmpError, type MalformedIcmp, parseIcmpQuote } from "../../../src/packet/icmp.ts";
import { parsePacket } from "../../../src/packet/ip.ts";
import fc from "../../lib/property.ts";
import { loadPacketModule } from "./load.ts";
import { counting, type FlowOptions, hostilePacket, ipPacket, tcp, udp } from "./packets.ts";

const plane = loadPacketModule();
const LIMITS = { limitBytes: 1280, mode: "strict" } as const;

/** The plane's verdict with the packet at the very end of memory; `undefined` if validation refuses. */
function judge(packet: Uint8Array): { isError: boolean; reason: string | undefined } | undefined {
  const at = plane.end - packet.length;
  plane.bytes.set(packet, at);
  const { wasm, descriptor } = plane;
  if (wasm.validate(at, packet.length, 1280, 1, descriptor) < 0) return undefined;
  const reason = REASON_NAMES[wasm.icmpReason(at, descriptor)] || undefined;
  return { isError: wasm.isIcmpError(at, descriptor) !== 0, reason };
}

/** The same by the twin. */
function judgeTwin(packet: Uint8Array): typeof judge extends (packet: Uint8Array) => infer R ? R : never {
  const found = parsePacket(packet, LIMITS);
  if (!found.ok) return undefined;
  const quote = parseIcmpQuote(packet, found.value);
  const isError = isIcmpError(packet, found.value);
  if (!quote.ok) return { isError, reason: quote.reason };
  if (quote.value === undefined) return { isError, reason: undefined };
  const receiver = found.value.family === 4 ? packet.subarray(16, 20) : packet.subarray(24, 40);
  return { isError, reason: equalBytes(quote.value.source, receiver) ? undefined : "icmp-quote" };
}

const CLIENT = { 4: ip("100.64.0.2"), 6: ip("fd00:2021:1111::2") } as const;

/** An ICMP message from a router to the client. */
function icmp(family: 4 | 6, type: number, quote: Uint8Array): Uint8Array {
  const message = concatBytes(Uint8Array.of(type, 0, 0, 0, 0, 0, 0, 0), quote);
  return ipPacket(family === 4 ? 1 : 58, message, { family, destination: CLIENT[family] });
}

/** A packet that the client sent. */
function sent(family: 4 | 6, protocol: number, transportBytes: number, options: Partial<FlowOptions> = {}) {
  return ipPacket(protocol, counting(transportBytes), { family, source: CLIENT[family], ...options });
}

/** Per reason: what passes, and its neighbour that does not; a new reason does not compile without. */
const BOUNDARIES = {
  "icmp-type": [
    [icmp(4, 3, sent(4, 17, 8)), icmp(4, 4, sent(4, 17, 8))],
    [icmp(4, 6, sent(4, 17, 8)), icmp(4, 5, sent(4, 17, 8))],
    // In ICMPv6 these types mean something else.
    [icmp(6, 5, sent(6, 17, 8)), icmp(4, 5, new Uint8Array(0))],
  ],
  "icmp-quote": [
    [icmp(4, 3, sent(4, 17, 4)), icmp(4, 3, sent(4, 17, 3))],
    [icmp(4, 11, sent(4, 6, 4)), icmp(4, 11, sent(4, 6, 3))],
    [icmp(4, 12, sent(4, 1, 8)), icmp(4, 12, sent(4, 1, 7))],
    [icmp(6, 1, sent(6, 17, 4)), icmp(6, 1, sent(6, 17, 3))],
    [icmp(6, 2, sent(6, 6, 4)), icmp(6, 2, sent(6, 6, 3))],
    [icmp(6, 3, sent(6, 58, 8)), icmp(6, 3, sent(6, 58, 7))],
    // A transport of which nothing is needed; the header itself must be complete.
    [icmp(4, 3, sent(4, 50, 0)), icmp(4, 3, sent(4, 50, 0).subarray(0, 19))],
    [icmp(6, 4, sent(6, 50, 0)), icmp(6, 4, sent(6, 50, 0).subarray(0, 39))],
    [
      icmp(4, 3, sent(4, 50, 0, { options: new Uint8Array(4) })),
      icmp(4, 3, sent(4, 50, 0, { options: new Uint8Array(4) }).subarray(0, 23)),
    ],
    // Extension headers of the quote are walked: 8 bytes of destination options, then UDP.
    [
      icmp(6, 1, sent(6, 60, 12).fill(0, 41, 48).fill(17, 40, 41)),
      icmp(6, 1, sent(6, 60, 11).fill(0, 41, 48).fill(17, 40, 41)),
    ],
    // A later fragment has no transport header.
    [icmp(4, 3, sent(4, 17, 0, { fragmentField: 1 })), icmp(4, 3, sent(4, 17, 0, { fragmentField: 0x2000 }))],
    // The other family, and a packet that the receiver did not send.
    [icmp(4, 3, sent(4, 17, 40)), icmp(4, 3, sent(6, 17, 40))],
    [icmp(6, 1, sent(6, 17, 40)), icmp(6, 1, sent(4, 17, 40))],
    [icmp(4, 3, sent(4, 17, 8)), icmp(4, 3, sent(4, 17, 8, { source: ip("100.64.0.3") }))],
    [icmp(6, 1, sent(6, 17, 8)), icmp(6, 1, sent(6, 17, 8, { source: ip("fd00:2021:1111::3") }))],
  ],
} satisfies Record<MalformedIcmp, readonly (readonly [Uint8Array, Uint8Array])[]>;

const CASES = Object.entries(BOUNDARIES).flatMap(([reason, pairs]) =>
  pairs.map(([passes, fails], i) => ({ reason, i, passes, fails })),
);

describe("ICMP errors and their quotes", () => {
  it.each(CASES)(
    "TN-7, TN-70: drops as $reason ($i), and passes its neighbour",
    ({ reason, passes, fails }) => {
      expect(judge(fails)).toMatchObject({ reason });
      expect(judgeTwin(fails)).toMatchObject({ reason });
      expect(judge(passes)).toMatchObject({ reason: undefined });
      expect(judgeTwin(passes)).toMatchObject({ reason: undefined });
    },
  );

  it.each([4, 6] as const)("TN-7: exactly the error types of IPv%i are errors", (family) => {
    const types = Array.from({ length: 256 }, (_, type) => type).filter(
      (type) => judge(icmp(family, type, sent(family, 17, 8)))?.isError,
    );
    expect(types).toEqual(family === 4 ? [3, 11, 12] : [1, 2, 3, 4]);
  });

  it("TN-7: reads the quoted addresses and identity", () => {
    const read = (packet: Uint8Array) => {
      const found = parsePacket(packet, LIMITS);
      return found.ok ? parseIcmpQuote(packet, found.value) : found;
    };
    const flow = { family: 6, source: CLIENT[6], destination: ip("2001:db8::1"), ports: [1000, 53] } as const;
    const addresses = { source: CLIENT[6], destination: ip("2001:db8::1") };
    const ports = { source: 1000, destination: 53 };
    expect(read(icmp(6, 1, udp(counting(9), flow)))).toEqual({
      ok: true,
      value: { ...addresses, protocol: 17, ports },
    });
    expect(read(icmp(6, 3, tcp(counting(9), flow)))).toMatchObject({ value: { protocol: 6, ports } });
    const echo = (type: number) => Uint8Array.of(type, 0, 0, 0, 0x12, 0x34, 0, 1);
    const request = read(icmp(4, 3, ipPacket(1, echo(8), { family: 4, source: CLIENT[4] })));
    expect(request).toMatchObject({ value: { ports: { source: 0x1234, destination: 0x1234 } } });
    const reply = read(icmp(4, 3, ipPacket(1, echo(0), { family: 4, source: CLIENT[4] })));
    expect(reply).toMatchObject({ ok: true });
    expect(reply).not.toHaveProperty("value.ports");
    expect(read(udp(counting(9), flow))).toEqual({ ok: true, value: undefined });
  });

  it("TN-1: agrees with its twin on hostile quotes and never reads beyond the packet", () => {
    const errors = fc
      .record({
        family: fc.constantFrom(4 as const, 6 as const),
        type: fc.constantFrom(1, 2, 3, 4, 5, 11, 12, 8),
        quote: hostilePacket,
        isOurs: fc.boolean(),
      })
      .map(({ family, type, quote, isOurs }) => {
        const bytes = Uint8Array.from(quote.subarray(0, 200));
        const source = family === 4 ? 12 : 8;
        if (isOurs && bytes.length >= 40) bytes.set(CLIENT[family], source);
        return icmp(family, type, bytes);
      });
    const seen = new Set<string | undefined>();
    fc.assert(
      fc.property(fc.oneof(errors, hostilePacket), (packet) => {
        const verdict = judge(packet);
        seen.add(verdict?.isError ? (verdict.reason ?? "usable") : verdict?.reason);
        expect(verdict).toEqual(judgeTwin(packet));
      }),
      { numRuns: 2000 },
    );
    expect([...seen].sort()).toEqual(["icmp-quote", "icmp-type", "usable", undefined]);
  });
});
