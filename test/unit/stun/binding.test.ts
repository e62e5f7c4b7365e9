import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { fromHex, ip, parseSocketAddress, toHex } from "../../../src/base/index.ts";
import {
  type BindingMessage,
  encodeBindingError,
  encodeBindingRequest,
  encodeBindingSuccess,
  encodeFrame,
  type MalformedBinding,
  type MalformedFrame,
  parseBinding,
  type StunAttribute,
  type StunClass,
  verifyIntegrity,
} from "../../../src/stun/index.ts";

const VECTORS = JSON.parse(readFileSync(new URL("../../vectors/rfc5769.json", import.meta.url), "utf8"));
const TRANSACTION = bytes("000102030405060708090a0b");

function bytes(text: string): Uint8Array {
  const result = fromHex(text);
  if (result === undefined) throw new Error("not hexadecimal");
  return result;
}

function key(password: string): Uint8Array {
  return new TextEncoder().encode(password);
}

function read(datagram: Uint8Array): BindingMessage {
  const result = parseBinding(datagram);
  if (!result.ok) throw new Error(result.reason);
  return result.value;
}

/** A message with the given attributes, signed unless told otherwise. */
function message(
  kind: StunClass,
  attributes: readonly [number, string][],
  options: { readonly isSigned?: boolean; readonly method?: number } = {},
): Uint8Array {
  const into = new Uint8Array(1000);
  const list: StunAttribute[] = attributes.map(([type, value]) => ({ type, value: bytes(value) }));
  const content = { method: options.method ?? 1, class: kind, transactionId: TRANSACTION, attributes: list };
  return into.slice(0, encodeFrame(into, content, options.isSigned === false ? {} : { key: key("x") }));
}

const USERNAME: [number, string] = [0x0006, toHex(key("a:b"))];
const PRIORITY: [number, string] = [0x0024, "00000001"];
const MAPPED: [number, string] = [0x0020, "0001 ec83 e112a648"];

describe("Binding messages", () => {
  it("SN-10: the request of RFC 5769 §2.1 means what the RFC says", () => {
    const request = read(bytes(VECTORS.request.bytes.join("")));
    expect(request).toMatchObject({
      kind: "request",
      receiver: "evtj",
      sender: "h6vY",
      priority: VECTORS.request.priority,
      isNominated: false,
      claim: { role: "controlled", tieBreaker: 0x932ff9b151263b36n },
    });
  });

  it.each(["responseV4", "responseV6"])("SN-10: the mapped address of RFC 5769 %s", (name) => {
    const expected = parseSocketAddress(VECTORS[name].mapped);
    expect(read(bytes(VECTORS[name].bytes.join("")))).toMatchObject({
      kind: "success",
      mappedAddress: expected.ok ? { port: expected.value.port } : {},
    });
    const success = read(bytes(VECTORS[name].bytes.join("")));
    if (success.kind !== "success" || !expected.ok) throw new Error("not a success");
    expect(toHex(success.mappedAddress.address)).toBe(toHex(expected.value.address));
  });

  it("SN-2, SN-3, SN-4: the worked request, byte for byte", () => {
    const into = new Uint8Array(200);
    const length = encodeBindingRequest(
      into,
      {
        transactionId: TRANSACTION,
        username: "sb64:t6t4",
        claim: { role: "controlling", tieBreaker: 0x0102030405060708n },
        priority: 1862270719,
        isNominated: true,
      },
      key("pzynddqm6pcwhq3bza7iqa"),
    );
    expect(toHex(into.subarray(0, length))).toBe(
      toHex(
        bytes(`
        00 01 00 48 21 12 a4 42 00 01 02 03 04 05 06 07
        08 09 0a 0b 00 06 00 09 73 62 36 34 3a 74 36 74
        34 00 00 00 80 2a 00 08 01 02 03 04 05 06 07 08
        00 24 00 04 6e ff fe ff 00 25 00 00 00 08 00 14
        03 02 af f5 e2 01 f5 1c 92 b4 e6 fd 43 cf 52 72
        63 dc 24 06 80 28 00 04 fa b3 2c a4`),
      ),
    );
  });

  it("SN-2, SN-4: the worked answer, byte for byte", () => {
    const into = new Uint8Array(200);
    const mappedAddress = { address: ip("192.0.2.10"), port: 52625 };
    const password = key("pzynddqm6pcwhq3bza7iqa");
    const length = encodeBindingSuccess(into, { transactionId: TRANSACTION, mappedAddress }, password);
    expect(toHex(into.subarray(0, length))).toBe(
      toHex(
        bytes(`
        01 01 00 2c 21 12 a4 42 00 01 02 03 04 05 06 07
        08 09 0a 0b 00 20 00 08 00 01 ec 83 e1 12 a6 48
        00 08 00 14 51 af 4c 2b 0a 8a c7 de 9a 14 a8 ef
        65 a8 d9 4c 26 dd cd 59 80 28 00 04 d5 53 5a 42`),
      ),
    );
  });

  it("SN-39: an error keeps its code and phrase and is signed", () => {
    const into = new Uint8Array(200);
    const password = key("pzynddqm6pcwhq3bza7iqa");
    const length = encodeBindingError(
      into,
      { transactionId: TRANSACTION, code: 487, phrase: "Role Conflict" },
      password,
    );
    const error = read(into.subarray(0, length));
    expect(error).toMatchObject({ kind: "error", code: 487, phrase: "Role Conflict" });
    expect(verifyIntegrity(error.frame, password)).toBe(true);
    expect(verifyIntegrity(error.frame, key("another"))).toBe(false);
  });

  const OWN: Record<Exclude<MalformedBinding, MalformedFrame>, readonly Uint8Array[]> = {
    "not-binding": [message("request", [USERNAME, PRIORITY], { method: 3 })],
    "attribute-length": [
      message("request", [USERNAME, [0x0024, "000000"]]),
      message("request", [USERNAME, [0x0024, "0000000000"]]),
      message("request", [USERNAME, PRIORITY, [0x0025, "00"]]),
      message("request", [USERNAME, PRIORITY, [0x8029, "00000000000000"]]),
      message("request", [USERNAME, PRIORITY, [0x802a, "000000000000000000"]]),
      message("request", [[0x0006, `${"61".repeat(511)}3a61`], PRIORITY]),
    ],
    "xor-address": [
      message("success", [[0x0020, "0003 ec83 e112a648"]]),
      message("success", [[0x0020, "0001 ec83 e112a6"]]),
      message("success", [[0x0020, `0002 ec83 ${"00".repeat(15)}`]]),
      message("success", [[0x0020, "00"]]),
      message("request", [USERNAME, PRIORITY, [0x0020, "0000 ec83 e112a648"]]),
    ],
    "error-code": [
      message("error", [[0x0009, "000004"]]),
      message("error", [[0x0009, "00000200"]]),
      message("error", [[0x0009, "00000700"]]),
      message("error", [[0x0009, "00000464"]]),
    ],
    "username-utf8": [message("request", [[0x0006, "613aff"], PRIORITY])],
    "username-form": [
      message("request", [[0x0006, "6161"], PRIORITY]),
      message("request", [[0x0006, "613a"], PRIORITY]),
      message("request", [[0x0006, ""], PRIORITY]),
    ],
    "missing-username": [message("request", [PRIORITY])],
    "missing-priority": [message("request", [USERNAME])],
    "missing-integrity": [
      message("request", [USERNAME, PRIORITY], { isSigned: false }),
      message("success", [MAPPED], { isSigned: false }),
    ],
    "missing-mapped-address": [message("success", [])],
    "missing-error-code": [message("error", [])],
  };

  it.each(
    Object.entries(OWN).flatMap(([reason, list]) => list.map((datagram, i) => ({ reason, i, datagram }))),
  )("SN-6: drops a Binding message as $reason ($i)", ({ reason, datagram }) => {
    expect(parseBinding(datagram)).toEqual({ ok: false, reason });
  });

  it.each([
    ["512 bytes of user name", message("request", [[0x0006, `${"61".repeat(510)}3a61`], PRIORITY])],
    ["an unknown comprehension-required attribute", message("request", [USERNAME, [0x7fff, "01"], PRIORITY])],
    ["an unknown optional attribute", message("request", [USERNAME, [0xffff, "010203"], PRIORITY])],
    ["an empty left part of the user name", message("request", [[0x0006, "3a61"], PRIORITY])],
    ["an address with surplus bytes", message("success", [[0x0020, "0001 ec83 e112a648 00000000"]])],
    ["error class 3", message("error", [[0x0009, "00000300"]])],
    ["error class 6, number 99", message("error", [[0x0009, "00000663"]])],
    ["an indication without anything", message("indication", [], { isSigned: false })],
  ])("SN-5, SN-6: accepts %s", (_what, datagram) => {
    expect(parseBinding(datagram).ok).toBe(true);
  });

  it("SN-5: of a repeated attribute the first counts", () => {
    expect(read(message("request", [PRIORITY, USERNAME, [0x0024, "00000009"]]))).toMatchObject({
      priority: 1,
    });
    const twoRoles = message("request", [
      PRIORITY,
      USERNAME,
      [0x8029, "00".repeat(8)],
      [0x802a, "00".repeat(8)],
    ]);
    expect(read(twoRoles)).toMatchObject({ claim: { role: "controlled" } });
  });
});

describe("requests of a length", () => {
  const request = {
    transactionId: TRANSACTION,
    username: "peer:mine",
    claim: { role: "controlling", tieBreaker: 1n },
    priority: 7,
    isNominated: false,
  } as const;
  const plainBytes = encodeBindingRequest(new Uint8Array(1000), request, key("x"));
  const encoded = (lengthBytes: number): Uint8Array => {
    const into = new Uint8Array(2000);
    return into.slice(0, encodeBindingRequest(into, { ...request, lengthBytes }, key("x")));
  };

  it.each([plainBytes + 4, plainBytes + 8, 528, 1312])(
    "SN-151: PADDING brings it to %i bytes, inside the signature",
    (length) => {
      const datagram = encoded(length);
      expect(datagram.length).toBe(length);
      const message = read(datagram);
      expect(message).toMatchObject({ kind: "request", receiver: "peer", sender: "mine", priority: 7 });
      expect(verifyIntegrity(message.frame, key("x"))).toBe(true);
      const [padding, ...more] = message.frame.attributes.filter(({ type }) => type === 0xc026);
      expect(more).toEqual([]);
      expect(padding?.value.length).toBe(length - plainBytes - 4);
    },
  );

  it("SN-151: a length that cannot be reached gives 0", () => {
    expect(encoded(plainBytes)).toHaveLength(0);
    expect(encoded(plainBytes + 6)).toHaveLength(0);
  });
});
