import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { concatBytes, fromHex, ip, type SocketAddress, toHex } from "../../../src/base/index.ts";
import { encodeFrame, type StunClass, verifyIntegrity } from "../../../src/stun/index.ts";
import {
  encodeTurn,
  longTermKey,
  type MalformedTurn,
  METHOD_ALLOCATE,
  METHOD_CHANNEL_BIND,
  METHOD_CREATE_PERMISSION,
  METHOD_REFRESH,
  parseTurn,
  TRANSPORT_UDP,
  type TurnFields,
  type TurnMessage,
} from "../../../src/turn/index.ts";
import fc from "../../lib/property.ts";

const RFC5769 = JSON.parse(readFileSync(new URL("../../vectors/rfc5769.json", import.meta.url), "utf8"));

function hex(...lines: readonly string[]): Uint8Array {
  const bytes = fromHex(lines.join(""));
  if (bytes === undefined) throw new Error("not hexadecimal");
  return bytes;
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function messageOf(datagram: Uint8Array): TurnMessage {
  const result = parseTurn(datagram);
  if (!result.ok) throw new Error(result.reason);
  return result.value;
}

function encoded(
  ...[content, encoding]: [Parameters<typeof encodeTurn>[1], Parameters<typeof encodeTurn>[2]?]
) {
  const into = new Uint8Array(2304);
  return into.slice(0, encodeTurn(into, content, encoding));
}

// The example of RL-5.
const TRANSACTION = hex("0102030405060708090a0b0c");
const USERNAME = "1893456000:6/SOT0E+etIoANEatuuAHnDAT1GB537BR3E6+n0thJE";
const KEY = longTermKey({
  username: USERNAME,
  realm: "firezone",
  password: "4AFEafmuzr4kkPJShq+D9wR92PY38Fj/ZfMFX99Qd+M",
});
const REQUEST = hex(
  "000300982112a4420102030405060708090a0b0c00190004110000008000000402000000",
  "80220007706f737465726e0000060036313839333435363030303a362f534f5430452b65",
  "74496f414e456174757541486e44415431474235333742523345362b6e3074684a450000",
  "00140008666972657a6f6e65001500186156573541475a417362515445337a382d484175",
  "4a37794a000800142e48d72c13649521bdeea30890982a21d1f21b55",
);
const RESPONSE = hex(
  "010300642112a4420102030405060708090a0b0c8022000d706f737465726e2d72656c61",
  "79000000001600080001e242e721c045001600140002e2420113a9fa0102030405060708",
  "090a0b0b002000080001eb7ee112a643000d000400000258000800148cee94f9ab4ffb98",
  "f18dd827da66e2fba87c1ad3",
);
const REQUEST_FIELDS: TurnFields = {
  requestedTransport: TRANSPORT_UDP,
  additionalFamily: 2,
  software: "postern",
  username: utf8(USERNAME),
  realm: utf8("firezone"),
  nonce: utf8("aVW5AGZAsbQTE3z8-HAuJ7yJ"),
};
const RESPONSE_FIELDS: TurnFields = {
  software: "postern-relay",
  relayedAddresses: [
    { address: ip("198.51.100.7"), port: 50000 },
    { address: ip("2001:db8::7"), port: 50000 },
  ],
  mappedAddress: { address: ip("192.0.2.1"), port: 51820 },
  lifetimeSeconds: 600,
};

describe("TURN messages", () => {
  it("RL-5: the Allocate request decodes, verifies and re-encodes byte by byte", () => {
    const message = messageOf(REQUEST);
    expect(message).toMatchObject({
      frame: { method: METHOD_ALLOCATE, class: "request", transactionId: TRANSACTION },
      fields: REQUEST_FIELDS,
      unknownTypes: [],
      faultyTypes: [],
    });
    expect(verifyIntegrity(message.frame, KEY)).toBe(true);
    const content = {
      method: METHOD_ALLOCATE,
      class: "request",
      transactionId: TRANSACTION,
      fields: REQUEST_FIELDS,
    } as const;
    expect(toHex(encoded(content, { key: KEY }))).toBe(toHex(REQUEST));
  });

  it("RL-5: the Allocate response decodes, verifies and re-encodes byte by byte", () => {
    const message = messageOf(RESPONSE);
    expect(message.frame).toMatchObject({ method: METHOD_ALLOCATE, class: "success" });
    expect(message.fields).toEqual(RESPONSE_FIELDS);
    expect(verifyIntegrity(message.frame, KEY)).toBe(true);
    const content = {
      method: METHOD_ALLOCATE,
      class: "success",
      transactionId: TRANSACTION,
      fields: RESPONSE_FIELDS,
    } as const;
    expect(toHex(encoded(content, { key: KEY }))).toBe(toHex(RESPONSE));
  });

  it("RL-5: XOR-PEER-ADDRESS of 203.0.113.9:40000", () => {
    const peerAddress = { address: ip("203.0.113.9"), port: 40000 };
    const bytes = encoded({
      method: METHOD_CHANNEL_BIND,
      class: "request",
      transactionId: TRANSACTION,
      fields: { peerAddress, channelNumber: 0x4000 },
    });
    expect(toHex(bytes.subarray(20))).toBe("001200080001bd52ea12d54b000c000440000000");
    expect(messageOf(bytes).fields).toEqual({ peerAddress, channelNumber: 0x4000 });
  });

  it("RL-2: RFC 5769 §2.4 verifies with its long-term key and re-encodes", () => {
    const { username, realm, password, nonce, bytes } = RFC5769.longTerm;
    const datagram = hex(...bytes);
    const key = longTermKey({ username, realm, password });
    const { frame, fields } = messageOf(datagram);
    expect(fields).toEqual({ username: utf8(username), nonce: utf8(nonce), realm: utf8(realm) });
    expect(verifyIntegrity(frame, key)).toBe(true);
    const { method, class: kind, transactionId } = frame;
    expect(toHex(encoded({ method, class: kind, transactionId, fields }, { key }))).toBe(toHex(datagram));
  });

  it.each([
    ["request", REQUEST],
    ["response", RESPONSE],
  ])("RL-14: the %s cut at any length is malformed, also with its length field mended", (_what, datagram) => {
    for (let length = 0; length < datagram.length; length++) {
      const cut = datagram.slice(0, length);
      expect(parseTurn(cut).ok, `${length}`).toBe(false);
      if (length < 20 || length % 4 !== 0) continue;
      new DataView(cut.buffer).setUint16(2, length - 20);
      const result = parseTurn(cut);
      if (result.ok) expect(verifyIntegrity(result.value.frame, KEY), `${length}`).toBe(false);
    }
  });

  it("RL-2: FINGERPRINT is written only where asked for, and must be last", () => {
    const content = {
      method: METHOD_REFRESH,
      class: "request",
      transactionId: TRANSACTION,
      fields: { lifetimeSeconds: 0 },
    } as const;
    const bare = encoded(content, { key: KEY });
    expect(messageOf(bare).frame.fingerprintOffset).toBeUndefined();
    const printed = encoded(content, { key: KEY, hasFingerprint: true });
    expect(messageOf(printed).frame.fingerprintOffset).toBe(bare.length);
    expect(verifyIntegrity(messageOf(printed).frame, KEY)).toBe(true);
    expect(verifyIntegrity(messageOf(bare).frame, KEY)).toBe(true);
  });

  const MALFORMED: Readonly<Partial<Record<MalformedTurn, Uint8Array>>> = {
    short: REQUEST.slice(0, 19),
    "bad-length": REQUEST.slice(0, 24),
    "too-long": tooLong(1504),
    "fingerprint-not-last": fingerprintInTheMiddle(),
    "bad-fingerprint": flipped(encodedBinding(), 27),
  };
  it.each(Object.entries(MALFORMED))("RL-14, RL-2: malformed as %s", (reason, datagram) => {
    expect(parseTurn(datagram)).toEqual({ ok: false, reason });
  });

  it("RL-14: 1500 bytes are not too long", () => {
    expect(parseTurn(tooLong(1500)).ok).toBe(true);
  });

  it("RL-3: unknown types that must be understood are listed once, the others skipped", () => {
    const { fields, unknownTypes } = messageOf(
      raw("0003", "0003 0004 00000006", "001c 0000", "0003 0000", "8027 0001 ff000000", "c001 0000"),
    );
    expect(unknownTypes).toEqual([0x0003, 0x001c]);
    expect(fields).toEqual({});
  });

  it("RL-3: MAPPED-ADDRESS, which coturn adds to a Binding response, is skipped", () => {
    const { fields, unknownTypes } = messageOf(
      rawWith(TRANSACTION, "0101", "0001 0008 0001cf4c 7f000001", "0020 0008 0001eb7ee112a643"),
    );
    expect(unknownTypes).toEqual([]);
    expect(fields).toEqual({ mappedAddress: { address: ip("192.0.2.1"), port: 51820 } });
  });

  it("RL-3: of a repeated attribute the first counts", () => {
    const { fields } = messageOf(raw("0003", "000d 0004 00000001", "000d 0004 00000002"));
    expect(fields).toEqual({ lifetimeSeconds: 1 });
    const faulty = messageOf(raw("0003", "000d 0003 00000100", "000d 0004 00000002"));
    expect(faulty).toMatchObject({ fields: {}, faultyTypes: [0x000d] });
  });

  it("RL-86: of several relayed addresses the first of each family counts", () => {
    const [v4, other, v6] = [
      "0016 0008 0001e242e721c045",
      "0016 0008 0001e243e721c045",
      "0016 0014 0002e2420113a9fa0102030405060708090a0b0b",
    ];
    const { fields } = messageOf(rawWith(TRANSACTION, "0103", v4, other, v6));
    expect(fields.relayedAddresses).toEqual(RESPONSE_FIELDS.relayedAddresses);
  });

  it.each([
    ["CHANNEL-NUMBER of 2 bytes", "000c 0002 40000000", 0x000c],
    ["LIFETIME of 8 bytes", "000d 0008 0000000000000258", 0x000d],
    ["XOR-PEER-ADDRESS of family 3", "0012 0008 0003bd52ea12d54b", 0x0012],
    ["XOR-RELAYED-ADDRESS that is short", "0016 0004 0001bd52", 0x0016],
    ["ERROR-CODE 200", "0009 0004 00000200", 0x0009],
    ["ERROR-CODE 4, number 100", "0009 0004 00000464", 0x0009],
    ["UNKNOWN-ATTRIBUTES of 3 bytes", "000a 0003 00010000", 0x000a],
    ["REQUESTED-TRANSPORT with reserved bits", "0019 0004 11000001", 0x0019],
    ["REQUESTED-ADDRESS-FAMILY of 1 byte", "0017 0001 01000000", 0x0017],
    ["EVEN-PORT of 4 bytes", "0018 0004 80000000", 0x0018],
    ["RESERVATION-TOKEN of 7 bytes", "0022 0007 0000000000000000", 0x0022],
    ["DONT-FRAGMENT with a value", "001a 0001 00000000", 0x001a],
    ["ADDRESS-ERROR-CODE of 3 bytes", "8001 0003 02000000", 0x8001],
  ])("RL-15: the value of a known attribute is faulty: %s", (_what, attribute, type) => {
    const { fields, faultyTypes, unknownTypes } = messageOf(raw("0003", attribute));
    expect({ fields, faultyTypes, unknownTypes }).toEqual({
      fields: {},
      faultyTypes: [type],
      unknownTypes: [],
    });
  });

  it("RL-1: every message survives encoding and decoding", () => {
    fc.assert(
      fc.property(
        fc.record({
          method: fc.constantFrom(
            METHOD_ALLOCATE,
            METHOD_REFRESH,
            METHOD_CHANNEL_BIND,
            METHOD_CREATE_PERMISSION,
          ),
          class: fc.constantFrom<StunClass>("request", "success", "error", "indication"),
          transactionId: fc.uint8Array({ minLength: 12, maxLength: 12 }),
          fields: anyFields(),
        }),
        fc.record({ hasFingerprint: fc.boolean(), key: fc.uint8Array({ minLength: 16, maxLength: 16 }) }),
        (content, encoding) => {
          const message = messageOf(encoded(content, encoding));
          const { method, class: kind, transactionId } = message.frame;
          expect({ method, class: kind, transactionId, fields: message.fields }).toEqual(content);
          expect(message.unknownTypes).toEqual([]);
          expect(message.faultyTypes).toEqual([]);
          expect(verifyIntegrity(message.frame, encoding.key)).toBe(true);
        },
      ),
    );
  });

  it("RL-14: random attributes never throw", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 0x30 }), fc.uint8Array({ maxLength: 24 })), {
          maxLength: 8,
        }),
        (attributes) => {
          const into = new Uint8Array(600);
          const length = encodeFrame(
            into,
            {
              method: METHOD_ALLOCATE,
              class: "request",
              transactionId: TRANSACTION,
              attributes: attributes.map(([type, value]) => ({ type, value })),
            },
            { omitsFingerprint: true },
          );
          parseTurn(into.subarray(0, length));
        },
      ),
    );
  });
});

function raw(type: string, ...attributes: readonly string[]): Uint8Array {
  return rawWith(new Uint8Array(12), type, ...attributes);
}

function rawWith(transactionId: Uint8Array, type: string, ...attributes: readonly string[]): Uint8Array {
  const body = hex(...attributes);
  return concatBytes(hex(type), Uint8Array.of(0, body.length), hex("2112a442"), transactionId, body);
}

/** A request of `length` bytes whose one attribute may be ignored. */
function tooLong(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  bytes.set(hex("0001 0000 2112a442"));
  const view = new DataView(bytes.buffer);
  view.setUint16(2, length - 20);
  view.setUint16(20, 0x8022);
  view.setUint16(22, length - 24);
  return bytes;
}

function encodedBinding(): Uint8Array {
  return encoded(
    { method: 1, class: "request", transactionId: TRANSACTION, fields: {} },
    { hasFingerprint: true },
  );
}

/** A fingerprint that is right and not the end. */
function fingerprintInTheMiddle(): Uint8Array {
  const into = new Uint8Array(40);
  const content = { method: 1, class: "request", transactionId: TRANSACTION } as const;
  const length = encodeFrame(into, { ...content, attributes: [] }, {});
  // The CRC covers the length field: it must count what follows.
  for (let wrong = 0; wrong < 2; wrong++) {
    new DataView(into.buffer).setUint16(2, length - 20 + 4);
    const crc = crcOf(into.subarray(0, 20));
    new DataView(into.buffer).setUint32(24, crc);
  }
  into.set(hex("8022 0000"), length);
  return into.slice(0, length + 4);
}

function crcOf(bytes: Uint8Array): number {
  let remainder = 0xffffffff;
  for (const byte of bytes) {
    remainder ^= byte;
    for (let bit = 0; bit < 8; bit++)
      remainder = remainder & 1 ? (remainder >>> 1) ^ 0xedb88320 : remainder >>> 1;
  }
  return (~remainder ^ 0x5354554e) >>> 0;
}

function flipped(datagram: Uint8Array, at: number): Uint8Array {
  const copy = datagram.slice();
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

function anyAddress(): fc.Arbitrary<SocketAddress> {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
  );
  return fc.record({ address: bytes, port: fc.integer({ min: 0, max: 0xffff }) });
}

function anyFields(): fc.Arbitrary<TurnFields> {
  const text = fc.uint8Array({ maxLength: 40 });
  const u8 = fc.integer({ min: 0, max: 0xff });
  const u16 = fc.integer({ min: 0, max: 0xffff });
  const error = { code: fc.integer({ min: 300, max: 699 }), phrase: fc.string({ maxLength: 20 }) };
  const v4 = fc.record({ address: fc.uint8Array({ minLength: 4, maxLength: 4 }), port: u16 });
  const v6 = fc.record({ address: fc.uint8Array({ minLength: 16, maxLength: 16 }), port: u16 });
  return fc.record(
    {
      username: text,
      realm: text,
      nonce: text,
      errorCode: fc.record(error),
      unknownAttributes: fc.array(u16, { maxLength: 5 }),
      channelNumber: u16,
      lifetimeSeconds: fc.integer({ min: 0, max: 0xffffffff }),
      peerAddress: anyAddress(),
      relayedAddresses: fc.oneof(fc.tuple(v4), fc.tuple(v6), fc.tuple(v4, v6)),
      mappedAddress: anyAddress(),
      requestedFamily: u8,
      additionalFamily: u8,
      additionalFamilyCoturn: u8,
      evenPort: fc.boolean(),
      reservationToken: fc.uint8Array({ minLength: 8, maxLength: 8 }),
      requestedTransport: u8,
      dontFragment: fc.constant(true as const),
      addressError: fc.record({ family: u8, ...error }),
      software: fc.string({ maxLength: 20 }),
    },
    { requiredKeys: [] },
  );
}
