import { describe, expect, it } from "vitest";
import { type IpAddress, ip } from "../../../src/base/index.ts";
import {
  checksumAdd,
  checksumFinish,
  encodeIcmp,
  encodeIp,
  MAX_IP_SIZE,
  PROTOCOL,
  parseIcmpQuote,
  parsePacket,
  pseudoHeaderSum,
} from "../../../src/packet/index.ts";
import { translateError } from "../../../src/tunnel/nat/icmp-error.ts";
import fc from "../../lib/property.ts";

interface Ends {
  readonly client: IpAddress;
  readonly proxy: IpAddress;
  readonly real: IpAddress;
  readonly router: IpAddress;
}

const V4: Ends = {
  client: ip("100.64.0.2"),
  proxy: ip("100.96.0.1"),
  real: ip("198.51.100.7"),
  router: ip("192.0.2.1"),
};
const V6: Ends = {
  client: ip("fd00:2021:1111::2"),
  proxy: ip("fd00:2021:1111:8000::"),
  real: ip("2001:db8::7"),
  router: ip("2001:db8:1::1"),
};

type Kind = "tcp" | "udp" | "echo";

/** A whole packet with right checksums, computed anew. */
function packetOf(
  kind: Kind,
  way: { source: IpAddress; destination: IpAddress },
  port: number,
  body: Uint8Array,
) {
  const isV6 = way.source.length === 16;
  const protocol = { tcp: PROTOCOL.tcp, udp: PROTOCOL.udp, echo: isV6 ? PROTOCOL.icmpv6 : PROTOCOL.icmp }[
    kind
  ];
  const headerBytes = kind === "tcp" ? 20 : 8;
  const transport = new Uint8Array(headerBytes + body.length);
  const view = new DataView(transport.buffer);
  transport.set(body, headerBytes);
  if (kind === "echo") {
    transport[0] = isV6 ? 128 : 8;
    view.setUint16(4, port);
  } else {
    view.setUint16(0, port);
    view.setUint16(2, 443);
    if (kind === "udp") view.setUint16(4, transport.length);
    else transport[12] = 0x50;
  }
  const hasPseudo = protocol !== PROTOCOL.icmp;
  const start = hasPseudo ? pseudoHeaderSum({ ...way, protocol, lengthBytes: transport.length }) : 0;
  const sum = checksumFinish(checksumAdd(transport, start));
  view.setUint16({ tcp: 16, udp: 6, echo: 2 }[kind], kind === "udp" && sum === 0 ? 0xffff : sum);
  const packet = encodeIp({ ...way, protocol, transport });
  if (!packet.ok) throw new Error(packet.reason);
  return packet.value;
}

function errorAbout(
  quote: Uint8Array,
  {
    source,
    destination,
    type,
    code,
    rest,
    hopLimit,
  }: {
    readonly source: IpAddress;
    readonly destination: IpAddress;
    readonly type: number;
    readonly code: number;
    readonly rest: Uint8Array;
    readonly hopLimit?: number;
  },
): Uint8Array {
  const body = quote;
  const error = encodeIcmp({
    source,
    destination,
    type,
    code,
    rest,
    body,
    ...(hopLimit !== undefined && { hopLimit }),
  });
  if (!error.ok) throw new Error(error.reason);
  return error.value;
}

function translate(error: Uint8Array, ends: Ends, port: number): Uint8Array | string {
  const found = parsePacket(error, { limitBytes: MAX_IP_SIZE, mode: "strict" });
  if (!found.ok) throw new Error(found.reason);
  const quoted = parseIcmpQuote(error, found.value);
  if (!quoted.ok) return quoted.reason;
  if (quoted.value === undefined) throw new Error("no error");
  return translateError(error, found.value, quoted.value, {
    source: ends.proxy,
    destination: ends.client,
    quote: { field: "destination", address: ends.proxy, port },
  });
}

const TYPES = {
  4: [
    [3, 0],
    [3, 1],
    [3, 3],
    [3, 4],
    [11, 0],
    [12, 0],
  ],
  6: [
    [1, 0],
    [1, 4],
    [2, 0],
    [3, 0],
    [4, 0],
  ],
} as const;

const KINDS: readonly Kind[] = ["tcp", "udp", "echo"];
const INSIDE_PORT = 40_000;
const OUTSIDE_PORT = 40_017;

describe.each([
  ["IPv4", V4, TYPES[4]],
  ["IPv6", V6, TYPES[6]],
] as const)("an ICMP error of %s", (_, ends, types) => {
  const cells = KINDS.flatMap((kind) => types.map(([type, code]) => [kind, type, code] as const));

  it.each(cells)("TN-70, TN-71: about %s, type %i code %i, quoted to any length", (kind, type, code) => {
    const body = new Uint8Array(33).map((_byte, i) => i * 7);
    const inside = packetOf(kind, { source: ends.client, destination: ends.proxy }, INSIDE_PORT, body);
    const outside = packetOf(kind, { source: ends.client, destination: ends.real }, OUTSIDE_PORT, body);
    const rest = Uint8Array.of(0, 0, 5, 0);
    for (let bytes = 0; bytes <= outside.length; bytes++) {
      const quote = outside.subarray(0, bytes);
      const error = errorAbout(quote, { source: ends.router, destination: ends.client, type, code, rest });
      const headerBytes = ends === V4 ? 20 : 40;
      if (bytes < headerBytes + (kind === "echo" ? 8 : 4)) {
        expect(translate(error, ends, INSIDE_PORT)).toBe("icmp-quote");
        continue;
      }
      const way = { source: ends.proxy, destination: ends.client, hopLimit: 20 };
      const expected = inside.slice(0, bytes);
      // Half a checksum says nothing: it stays as it was.
      if (bytes === headerBytes + { tcp: 17, udp: 7, echo: 0 }[kind]) {
        expected[bytes - 1] = outside[bytes - 1] ?? 0;
      }
      expect(translate(error, ends, INSIDE_PORT)).toEqual(errorAbout(expected, { ...way, type, code, rest }));
    }
  });

  it("TN-71: what follows the quote stays as it is (RFC 4884)", () => {
    const body = new Uint8Array(400).fill(9);
    const outside = packetOf("udp", { source: ends.client, destination: ends.real }, OUTSIDE_PORT, body);
    const inside = packetOf("udp", { source: ends.client, destination: ends.proxy }, INSIDE_PORT, body);
    const extension = Uint8Array.of(0x20, 0, 1, 2, 0, 8, 1, 1, 0, 0, 1, 1);
    const [type, code] = types[types.length - 2] ?? [0, 0];
    const with128 = (packet: Uint8Array) => Uint8Array.of(...packet.subarray(0, 128), ...extension);
    const rest = Uint8Array.of(0, 32, 0, 0);
    const error = errorAbout(with128(outside), {
      ...{ source: ends.router, destination: ends.client },
      ...{ type, code, rest },
    });
    expect(translate(error, ends, INSIDE_PORT)).toEqual(
      errorAbout(with128(inside), {
        ...{ source: ends.proxy, destination: ends.client, hopLimit: 20 },
        ...{ type, code, rest },
      }),
    );
  });

  it("TN-9, TN-71: a quote of UDP without checksum has none afterwards", () => {
    const outside = packetOf("udp", { source: ends.client, destination: ends.real }, 1, new Uint8Array(4));
    const checksumAt = outside.length - 4 - 2;
    outside.fill(0, checksumAt, checksumAt + 2);
    const error = errorAbout(outside, {
      ...{ source: ends.router, destination: ends.client },
      ...{ type: types[0][0], code: 0, rest: new Uint8Array(4) },
    });
    const made = translate(error, ends, 2);
    expect(typeof made === "string" ? made : made.subarray(-6, -4)).toEqual(new Uint8Array(2));
  });

  it("TN-9, TN-71: random quotes have the checksums of a packet made anew", () => {
    const arbitrary = fc.record({
      kind: fc.constantFrom(...KINDS),
      inside: fc.integer({ min: 1, max: 0xffff }),
      outside: fc.integer({ min: 1, max: 0xffff }),
      body: fc.uint8Array({ maxLength: 64 }),
    });
    fc.assert(
      fc.property(arbitrary, ({ kind, inside, outside, body }) => {
        const [type, code, rest] = [types[0][0], types[0][1], new Uint8Array(4)];
        const quote = packetOf(kind, { source: ends.client, destination: ends.real }, outside, body);
        const known = packetOf(kind, { source: ends.client, destination: ends.proxy }, inside, body);
        const error = errorAbout(quote, { source: ends.router, destination: ends.client, type, code, rest });
        const way = { source: ends.proxy, destination: ends.client, hopLimit: 20 };
        expect(translate(error, ends, inside)).toEqual(errorAbout(known, { ...way, type, code, rest }));
      }),
    );
  });
});

it("TN-71: back again: the quote of the client's own host gets the real address and the outside port", () => {
  for (const ends of [V4, V6]) {
    const body = new Uint8Array(12).fill(3);
    const isV6 = ends === V6;
    // An answer, as the client's host has seen it, and as it came.
    const swap = (packet: Uint8Array, port: number, way: { source: IpAddress; destination: IpAddress }) => {
      const transport = packet.slice(isV6 ? 40 : 20);
      const view = new DataView(transport.buffer);
      view.setUint16(0, 443);
      view.setUint16(2, port);
      view.setUint16(6, 0);
      const sum = pseudoHeaderSum({ ...way, protocol: PROTOCOL.udp, lengthBytes: transport.length });
      view.setUint16(6, checksumFinish(checksumAdd(transport, sum)));
      const made = encodeIp({ ...way, protocol: PROTOCOL.udp, transport });
      if (!made.ok) throw new Error(made.reason);
      return made.value;
    };
    const inward = { source: ends.proxy, destination: ends.client };
    const outward = { source: ends.real, destination: ends.client };
    const seen = swap(packetOf("udp", inward, 1, body), INSIDE_PORT, inward);
    const came = swap(packetOf("udp", outward, 1, body), OUTSIDE_PORT, outward);
    const [type, code] = isV6 ? [1, 4] : [3, 3];
    const rest = new Uint8Array(4);
    const error = errorAbout(seen, { source: ends.client, destination: ends.proxy, type, code, rest });
    const found = parsePacket(error, { limitBytes: MAX_IP_SIZE, mode: "strict" });
    const quoted = found.ok ? parseIcmpQuote(error, found.value) : undefined;
    if (!found.ok || !quoted?.ok || quoted.value === undefined) throw new Error("no error");
    const made = translateError(error, found.value, quoted.value, {
      source: ends.client,
      destination: ends.real,
      quote: { field: "source", address: ends.real, port: OUTSIDE_PORT },
    });
    const way = { source: ends.client, destination: ends.real, hopLimit: 20 };
    expect(made).toEqual(errorAbout(came, { ...way, type, code, rest }));
  }
});
