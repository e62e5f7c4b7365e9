import { describe, expect, it } from "vitest";
import {
  encodeControl,
  encodeSockaddr,
  type MalformedControl,
  type MalformedSockaddr,
  parseControl,
  parseSockaddr,
} from "../../../../bindings/linux/index.ts";
import { ip, toHex } from "../../../../src/base/index.ts";
import fc from "../../../lib/property.ts";
import { hex } from "./hex.ts";

const SOCKADDR_V4 = hex(`
  0200        ; AF_INET, host order
  cd91        ; port 52625, network order
  c0000201    ; 192.0.2.1
  0000000000000000`);

const SOCKADDR_V6 = hex(`
  0a00        ; AF_INET6
  ca6c        ; port 51820
  00000000    ; flow
  20010db8 00000000 00000000 00000001
  00000000    ; scope`);

describe("sockaddr", () => {
  it.each([
    { bytes: SOCKADDR_V4, address: "192.0.2.1", port: 52625 },
    { bytes: SOCKADDR_V6, address: "2001:db8::1", port: 51820 },
  ])("PG-41: $address is written and read as the kernel has it", ({ bytes, address, port }) => {
    const into = new Uint8Array(28).fill(0xff);
    const length = encodeSockaddr({ address: ip(address), port }, into);
    expect(toHex(into.subarray(0, length))).toBe(toHex(bytes));
    expect(parseSockaddr(bytes)).toEqual({ ok: true, value: { address: ip(address), port } });
  });

  it("WG-76: the scope of a link-local address is written and read, 0 is none", () => {
    const into = new Uint8Array(28).fill(0xff);
    const address = { address: ip("fe80::1"), port: 9, scope: 7 };
    expect(encodeSockaddr(address, into)).toBe(28);
    expect(into[24]).toBe(7);
    expect(parseSockaddr(into)).toEqual({ ok: true, value: address });
    encodeSockaddr({ address: ip("fe80::1"), port: 9 }, into);
    expect(parseSockaddr(into)).toEqual({ ok: true, value: { address: ip("fe80::1"), port: 9 } });
  });

  const MALFORMED = {
    short: "0200 cd91 c0000201 00000000000000",
    "unknown-family": "1000 0000 00000000 00000000 00000000",
  } satisfies Record<MalformedSockaddr, string>;
  it.each(Object.entries(MALFORMED))("is refused as %s", (reason, bytes) => {
    expect(parseSockaddr(hex(bytes))).toEqual({ ok: false, reason });
  });
  it("is refused at 27 of 28 and 3 of 4 bytes", () => {
    expect(parseSockaddr(SOCKADDR_V6.subarray(0, 27))).toEqual({ ok: false, reason: "short" });
    expect(parseSockaddr(SOCKADDR_V6.subarray(0, 3))).toEqual({ ok: false, reason: "short" });
  });
});

const V4_RECEIVED = hex(`
  1c00000000000000 00000000 08000000  ; 28 bytes, IPPROTO_IP, IP_PKTINFO
  07000000 0a000002 0a000002 00000000 ; interface 7, local, destination; padding
  1100000000000000 00000000 01000000  ; 17 bytes, IPPROTO_IP, IP_TOS
  03 00000000000000                   ; CE, one byte
  1400000000000000 01000000 28000000  ; 20 bytes, SOL_SOCKET, SO_RXQ_OVFL
  2a000000 00000000                   ; 42 lost
  1400000000000000 11000000 68000000  ; 20 bytes, SOL_UDP, UDP_GRO
  b0040000 00000000                   ; 1200`);

describe("control messages", () => {
  it("PG-43: reads packet info, TOS of one byte, overflow and GRO of one datagram", () => {
    expect(parseControl(V4_RECEIVED)).toEqual({
      ok: true,
      value: { local: ip("10.0.0.2"), trafficClass: 3, overflow: 42, segmentBytes: 1200 },
    });
  });

  it("PG-43: reads IPv6 packet info and traffic class, and skips what is not ours", () => {
    const bytes = hex(`
      2400000000000000 29000000 32000000  ; 36 bytes, IPPROTO_IPV6, IPV6_PKTINFO
      fd000000 00000000 00000000 00000002
      07000000 00000000                   ; interface 7; padding
      1100000000000000 01000000 63000000  ; an unknown message of one byte
      ff 00000000000000
      1400000000000000 29000000 43000000  ; 20 bytes, IPV6_TCLASS
      01000000`);
    expect(parseControl(bytes)).toEqual({ ok: true, value: { local: ip("fd00::2"), trafficClass: 1 } });
  });

  it("PG-45: writes a fixed source, ECN and a segment size", () => {
    const into = new Uint8Array(256).fill(0xff);
    const length = encodeControl(4, { source: ip("10.0.0.1"), trafficClass: 2, segmentBytes: 1452 }, into);
    const wanted = hex(`
      1c00000000000000 00000000 08000000  ; IP_PKTINFO
      00000000 0a000001 00000000 00000000
      1400000000000000 00000000 01000000  ; IP_TOS, an int
      02000000 00000000
      1200000000000000 11000000 67000000  ; 18 bytes, SOL_UDP, UDP_SEGMENT
      ac05 000000000000`);
    expect(toHex(into.subarray(0, length))).toBe(toHex(wanted));
    expect(encodeControl(6, {}, into)).toBe(0);
  });

  it("reads back an IPv6 source that it wrote", () => {
    const into = new Uint8Array(256);
    const length = encodeControl(6, { source: ip("fd00::1"), trafficClass: 3 }, into);
    const told = parseControl(into.subarray(0, length));
    expect(told).toEqual({ ok: true, value: { local: ip("fd00::1"), trafficClass: 3 } });
  });

  const MALFORMED = {
    short: "1400000000000000 11000000 680000",
    "bad-length": "1300000000000000 11000000 68000000 b00400",
  } satisfies Record<MalformedControl, string>;
  it.each(Object.entries(MALFORMED))("is refused as %s", (reason, bytes) => {
    expect(parseControl(hex(bytes))).toEqual({ ok: false, reason });
  });

  it.each([15, 21])("a length of %i in a message of 20 bytes is refused", (length) => {
    const bytes = hex("1400000000000000 11000000 68000000 b0040000");
    expect(parseControl(bytes).ok).toBe(true);
    bytes[0] = length;
    expect(parseControl(bytes)).toEqual({ ok: false, reason: "bad-length" });
  });

  it("never throws, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat({ max: 40 }), (noise, length) => {
        noise.fill(0, 1, 8);
        if (noise.length > 0) noise[0] = length;
        parseControl(noise);
        parseSockaddr(noise);
      }),
      { numRuns: 400 },
    );
  });
});
