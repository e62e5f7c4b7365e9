import { describe, expect, it } from "vitest";
import {
  addressRequest,
  bestRouteRequest,
  dumpRequest,
  linkRequest,
  type MalformedNetlink,
  type NetlinkRequest,
  parseAcknowledgement,
  parseAddress,
  parseAttributes,
  parseLink,
  parseMessages,
  parseRoute,
  parseRule,
  routeRequest,
  ruleRequest,
  toMessageBytes,
} from "../../../../bindings/linux/index.ts";
import { ip, prefix, toHex } from "../../../../src/base/index.ts";
import fc from "../../../lib/property.ts";
import { hex } from "./hex.ts";

const REQUEST_ACK_CREATE_EXCL = 0x605;
const REQUEST_ACK = 0x5;

/** What iproute2 6.1 sends for the same wish, apart from the order of attributes. */
const REQUESTS: readonly {
  readonly command: string;
  readonly request: NetlinkRequest;
  readonly flags: number;
  readonly bytes: string;
}[] = [
  {
    command: "ip -6 rule add not fwmark 0xfd002021 lookup 539098624 pref 100 protocol kernel",
    request: ruleRequest(
      { family: 6, table: 0x2021fe00, priority: 100, mark: 0xfd002021, isInverted: true, protocol: 2 },
      true,
    ),
    flags: REQUEST_ACK_CREATE_EXCL,
    bytes: `
      3c000000 2000 0506 01000000 00000000 ; 60 bytes, RTM_NEWRULE, sequence 1
      0a 00 00 00 00 00 00 01 02000000     ; AF_INET6, table 0, FR_ACT_TO_TBL, FIB_RULE_INVERT
      0800 0f00 00fe2120                   ; FRA_TABLE
      0500 1500 02000000                   ; FRA_PROTOCOL kernel, padded
      0800 0600 64000000                   ; FRA_PRIORITY 100
      0800 0a00 212000fd                   ; FRA_FWMARK`,
  },
  {
    command: "ip rule add lookup main suppress_prefixlength 0",
    request: ruleRequest(
      { family: 4, table: 254, isInverted: false, suppressPrefixLength: 0, protocol: 80 },
      true,
    ),
    flags: REQUEST_ACK_CREATE_EXCL,
    bytes: `
      34000000 2000 0506 01000000 00000000
      02 00 00 00 fe 00 00 01 00000000     ; AF_INET, table main, FR_ACT_TO_TBL
      0800 0f00 fe000000                   ; FRA_TABLE
      0500 1500 50000000                   ; FRA_PROTOCOL 80
      0800 0e00 00000000                   ; FRA_SUPPRESS_PREFIXLEN 0`,
  },
  {
    command: "ip addr add 100.64.0.1/32 dev lo nodad",
    request: addressRequest({ index: 1, address: ip("100.64.0.1"), bits: 32 }, true),
    flags: REQUEST_ACK_CREATE_EXCL,
    bytes: `
      30000000 1400 0506 01000000 00000000 ; 48 bytes, RTM_NEWADDR
      02 20 00 00 01000000                 ; AF_INET, /32, index 1
      0800 0200 64400001                   ; IFA_LOCAL
      0800 0100 64400001                   ; IFA_ADDRESS
      0800 0800 02000000                   ; IFA_FLAGS: NODAD`,
  },
  {
    command: "ip route add 172.20.0.0/16 dev lo table 539098624 proto static scope global",
    request: routeRequest(
      { destination: prefix("172.20.0.0/16"), table: 0x2021fe00, outputIndex: 1, protocol: 4, scope: 0 },
      true,
    ),
    flags: REQUEST_ACK_CREATE_EXCL,
    bytes: `
      34000000 1800 0506 01000000 00000000 ; 52 bytes, RTM_NEWROUTE
      02 10 00 00 00 04 00 01 00000000     ; AF_INET, /16, table 0, static, universe, unicast
      0800 0100 ac140000                   ; RTA_DST
      0800 0400 01000000                   ; RTA_OIF
      0800 0f00 00fe2120                   ; RTA_TABLE`,
  },
  {
    command: "ip link set lo up mtu 1280 txqueuelen 1000",
    request: linkRequest(1, { isUp: true, mtu: 1280, txQueueLength: 1000 }),
    flags: REQUEST_ACK,
    bytes: `
      30000000 1000 0500 01000000 00000000 ; 48 bytes, RTM_NEWLINK
      00 00 0000 01000000 01000000 01000000 ; index 1, flags UP, change UP
      0800 0400 00050000                   ; IFLA_MTU
      0800 0d00 e8030000                   ; IFLA_TXQLEN`,
  },
  {
    command: "ip link set lo addrgenmode none",
    request: linkRequest(1, { noLinkLocal: true }),
    flags: REQUEST_ACK,
    bytes: `
      30000000 1000 0500 01000000 00000000
      00 00 0000 01000000 00000000 00000000 ; flags unchanged
      1000 1a80                            ; IFLA_AF_SPEC, nested
        0c00 0a80                          ; AF_INET6, nested
          0500 0800 01000000               ; IFLA_INET6_ADDR_GEN_MODE none, padded`,
  },
  {
    command: "ip route get 198.51.100.1 mark 0xfd002021",
    request: bestRouteRequest(ip("198.51.100.1"), 0xfd002021),
    flags: 0x1,
    bytes: `
      2c000000 1a00 0100 01000000 00000000 ; 44 bytes, RTM_GETROUTE
      02 20 00 00 00 00 00 00 00000000
      0800 0100 c6336401                   ; RTA_DST
      0800 1000 212000fd                   ; RTA_MARK`,
  },
];

describe("rtnetlink requests", () => {
  it.each(REQUESTS)("PG-30 – PG-36: $command", ({ request, flags, bytes }) => {
    expect(toHex(toMessageBytes(request, flags, 1))).toBe(toHex(hex(bytes)));
  });

  it("PG-36: a dump names the family, and the table where the kernel filters", () => {
    const bytes = toMessageBytes(dumpRequest({ kind: "routes", family: 6, table: 254 }), 0x301, 7);
    expect(toHex(bytes)).toBe(
      toHex(
        hex(`
          24000000 1a00 0103 07000000 00000000
          0a 00 00 00 00 00 00 00 00000000
          0800 0f00 fe000000`),
      ),
    );
  });

  it("deleting names what was listed, without the flags of a new object", () => {
    const address = { index: 3, address: ip("fd00::1"), bits: 128 };
    expect(addressRequest(address, false)).toMatchObject({
      type: 21,
      attributes: [{ type: 2 }, { type: 1 }],
    });
    const rule = {
      family: 4,
      table: 51820,
      priority: 99,
      isInverted: true,
      mark: 51820,
      protocol: 80,
    } as const;
    expect(ruleRequest(rule, false)).toMatchObject({ type: 33 });
  });
});

const LINK_TUN = hex(`
  00 00 feff 07000000 d1100000 00000000  ; ARPHRD_NONE, index 7, UP RUNNING POINTOPOINT …
  0800 0300 70743000                     ; IFLA_IFNAME "pt0"
  0800 0400 00050000                     ; IFLA_MTU 1280
  0800 0d00 e8030000                     ; IFLA_TXQLEN 1000
  0500 1000 00000000                     ; IFLA_OPERSTATE unknown, padded
  0c00 1200                              ; IFLA_LINKINFO
    0800 0100 74756e00                   ; IFLA_INFO_KIND "tun"`);

describe("rtnetlink objects", () => {
  it("PG-33: a running TUN of unknown state is operational; an `up` without carrier is not", () => {
    const link = {
      index: 7,
      name: "pt0",
      mtu: 1280,
      isUp: true,
      isLoopback: false,
      isOperational: true,
      txQueueLength: 1000,
      kind: "tun",
    };
    expect(parseLink(LINK_TUN)).toEqual({ ok: true, value: link });
    const down = Uint8Array.from(LINK_TUN);
    down[8] = 0x91;
    expect(parseLink(down)).toMatchObject({ value: { isUp: true, isOperational: false } });
    const lower = Uint8Array.from(LINK_TUN);
    lower[16 + 24 + 4] = 2;
    expect(parseLink(lower)).toMatchObject({ value: { isOperational: false } });
  });

  it("PG-142: on a point-to-point link ours is IFA_LOCAL; IPv6 has IFA_ADDRESS only", () => {
    const pointToPoint = hex(`
      02 20 80 00 07000000
      0800 0100 c0000202                 ; IFA_ADDRESS, the far end
      0800 0200 c0000201                 ; IFA_LOCAL
      0800 0800 80000000                 ; IFA_FLAGS: PERMANENT`);
    expect(parseAddress(pointToPoint)).toEqual({
      ok: true,
      value: {
        index: 7,
        address: ip("192.0.2.1"),
        bits: 32,
        scope: 0,
        isTentative: false,
        isDeprecated: false,
      },
    });
    const tentative = hex(`
      0a 40 c0 00 02000000
      1400 0100 20010db8 00000000 00000000 00000001
      0800 0800 60000000                 ; IFA_FLAGS: TENTATIVE, DEPRECATED`);
    expect(parseAddress(tentative)).toMatchObject({
      value: { address: ip("2001:db8::1"), bits: 64, isTentative: true, isDeprecated: true },
    });
  });

  it("PG-33: a route with a gateway, and one with a group of next hops", () => {
    const viaGateway = hex(`
      02 00 00 00 fe 10 00 01 00000000   ; default, table main, protocol dhcp, universe, unicast
      0800 0f00 fe000000
      0800 0600 64000000                 ; RTA_PRIORITY 100
      0800 0700 c0000202                 ; RTA_PREFSRC
      0800 0500 c0000201                 ; RTA_GATEWAY
      0800 0400 02000000                 ; RTA_OIF`);
    expect(parseRoute(viaGateway)).toEqual({
      ok: true,
      value: {
        destination: prefix("0.0.0.0/0"),
        table: 254,
        protocol: 16,
        scope: 0,
        type: 1,
        hasNextHops: false,
        metric: 100,
        outputIndex: 2,
        gateway: ip("192.0.2.1"),
        source: ip("192.0.2.2"),
      },
    });
    const grouped = hex(`
      0a 20 00 00 fe 04 00 01 00000000
      1400 0100 20010db8 00000000 00000000 00000000
      0800 1e00 05000000                 ; RTA_NH_ID 5`);
    const route = parseRoute(grouped);
    expect(route).toMatchObject({ value: { destination: prefix("2001:db8::/32"), hasNextHops: true } });
    expect(route.ok && route.value.outputIndex).toBeUndefined();
  });

  it("PG-35: a rule reads back as it was written; -1 is no suppression", () => {
    const body = hex(`
      02 00 00 00 00 00 00 01 02000000
      0800 0f00 00fe2120
      0800 0e00 ffffffff                 ; FRA_SUPPRESS_PREFIXLEN unset
      0500 1500 02000000
      0800 0600 64000000
      0800 0a00 212000fd
      0800 1000 ffffffff                 ; FRA_FWMASK`);
    expect(parseRule(body)).toEqual({
      ok: true,
      value: {
        family: 4,
        table: 0x2021fe00,
        priority: 100,
        mark: 0xfd002021,
        markMask: 0xffffffff,
        isInverted: true,
        protocol: 2,
      },
    });
  });
});

describe("netlink framing", () => {
  it("splits several messages and skips their padding", () => {
    const messages = parseMessages(
      hex(`
        11000000 0200 0000 05000000 00000000 aa 000000 ; 17 bytes, padded to 20
        10000000 0300 0200 05000000 00000000`),
    );
    expect(messages).toEqual({
      ok: true,
      value: [
        { type: 2, flags: 0, sequence: 5, body: hex("aa") },
        { type: 3, flags: 2, sequence: 5, body: hex("") },
      ],
    });
  });

  const MALFORMED_MESSAGES = {
    short: "10000000 0300 0200 05000000 000000",
    "bad-length": "11000000 0300 0200 05000000 00000000",
  } satisfies Record<MalformedNetlink, string>;
  it.each(Object.entries(MALFORMED_MESSAGES))("refuses messages as %s", (reason, bytes) => {
    expect(parseMessages(hex(bytes))).toEqual({ ok: false, reason });
  });
  it("refuses a length below the header", () => {
    expect(parseMessages(hex("0f000000 0300 0200 05000000 00000000"))).toEqual({
      ok: false,
      reason: "bad-length",
    });
  });

  const MALFORMED_ATTRIBUTES = {
    short: "0400 01",
    "bad-length": "0900 0100 00000000",
  } satisfies Record<MalformedNetlink, string>;
  it.each(Object.entries(MALFORMED_ATTRIBUTES))("refuses attributes as %s", (reason, bytes) => {
    expect(parseAttributes(hex(bytes))).toEqual({ ok: false, reason });
  });
  it("takes an attribute of 4 bytes, refuses one of 3", () => {
    expect(parseAttributes(hex("0400 0100")).ok).toBe(true);
    expect(parseAttributes(hex("0300 0100"))).toEqual({ ok: false, reason: "bad-length" });
  });

  it("reads an acknowledgement, and a refusal with the kernel's words", () => {
    const acknowledged = { type: 2, flags: 0x100, sequence: 1, body: hex(`00000000 ${"00".repeat(16)}`) };
    expect(parseAcknowledgement(acknowledged)).toEqual({ ok: true, value: { errno: 0, text: "" } });
    const body = hex(`
      eaffffff                           ; -22
      3c000000 1800 0506 01000000 00000000
      0c00 0100 496e76616c696400         ; NLMSGERR_ATTR_MSG "Invalid"`);
    expect(parseAcknowledgement({ type: 2, flags: 0x300, sequence: 1, body })).toEqual({
      ok: true,
      value: { errno: 22, text: "Invalid" },
    });
    // Not capped: the whole request would follow, and here it does not.
    expect(parseAcknowledgement({ type: 2, flags: 0x200, sequence: 1, body })).toEqual({
      ok: false,
      reason: "bad-length",
    });
    expect(parseAcknowledgement({ type: 2, flags: 0, sequence: 1, body: body.subarray(0, 19) }).ok).toBe(
      false,
    );
  });

  it("never throws on truncated or random objects", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat({ max: 60 }), (noise, cut) => {
        for (const parse of [parseLink, parseAddress, parseRoute, parseRule]) {
          parse(noise);
          parse(LINK_TUN.subarray(0, cut));
        }
        parseMessages(noise);
      }),
      { numRuns: 400 },
    );
  });

  it("attributes read back as written, whatever their lengths", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 9 }), { maxLength: 6 }), (values) => {
        const attributes = values.map((value, i) => ({ type: i + 1, value }));
        const bytes = toMessageBytes({ type: 1, header: new Uint8Array(0), attributes }, 0, 0);
        const read = parseAttributes(bytes.subarray(16));
        expect(read).toEqual({
          ok: true,
          value: new Map(attributes.map(({ type, value }) => [type, value])),
        });
      }),
      { numRuns: 200 },
    );
  });
});
