import { describe, expect, it } from "vitest";
import { createSeededRandom, toBase64, toHex } from "../../../src/base/index.ts";
import {
  createToken,
  deriveIceCredentials,
  derivePresharedKey,
  deriveRelayCredentials,
  deriveRelayId,
  formatToken,
  hashToken,
  type PairEnd,
  parseToken,
  type TokenKind,
} from "../../../src/portal/derive.ts";
import fc from "../../lib/property.ts";

/** The pair of PT-104. */
const CLIENT: PairEnd = {
  id: "3abd725a-733b-4801-ac16-72f26cd98a24",
  publicKey: counting(0),
  pskBase: new Uint8Array(32).fill(0xc1),
};
const GATEWAY: PairEnd = {
  id: "d263d490-a0bb-452a-8990-01d27a1f1144",
  publicKey: counting(0x20),
  pskBase: new Uint8Array(32).fill(0x61),
};

describe("derived keys", () => {
  it("PT-104: gives the pre-shared key of the vector", () => {
    const key = derivePresharedKey(CLIENT, GATEWAY);
    expect(toHex(key)).toBe("a21026435e4dc8d74fef210ab1a55dd9b73f1371d7dd90de8184ee092678051b");
    expect(toBase64(key)).toBe("ohAmQ15NyNdP7yEKsaVd2bc/E3HX3ZDegYTuCSZ4BRs=");
  });

  it("PT-104: gives the ICE credentials of the vector", () => {
    expect(deriveIceCredentials(CLIENT, GATEWAY)).toEqual({
      client: { username: "lbikzayo", password: "3342lopzjryj7ckavntssvogzf" },
      gateway: { username: "f3yfxu52", password: "3whkhlclfob4wf5rjmcttrs5p6" },
    });
  });

  it.each([
    ["the client's id", { ...CLIENT, id: "00000000-0000-4000-8000-000000000001" }, GATEWAY],
    ["the client's key", { ...CLIENT, publicKey: counting(1) }, GATEWAY],
    ["the client's base", { ...CLIENT, pskBase: counting(1) }, GATEWAY],
    ["the gateway's id", CLIENT, { ...GATEWAY, id: "00000000-0000-4000-8000-000000000001" }],
    ["the gateway's key", CLIENT, { ...GATEWAY, publicKey: counting(1) }],
    ["the gateway's base", CLIENT, { ...GATEWAY, pskBase: counting(1) }],
  ] as const)("PT-100, PT-101: everything changes with %s", (_, client, gateway) => {
    expect(derivePresharedKey(client, gateway)).not.toEqual(derivePresharedKey(CLIENT, GATEWAY));
    expect(deriveIceCredentials(client, gateway)).not.toEqual(deriveIceCredentials(CLIENT, GATEWAY));
  });

  it("PT-104: gives the relay's credentials and id of the vector", () => {
    const stampSecret = "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmE";
    expect(deriveRelayCredentials(1764000000, stampSecret, toBase64(CLIENT.publicKey))).toEqual({
      username: "1764000000:kF8o3vGOqsBa5vErLDRSdEr69ibaE0PVezlbVE4FGbY",
      password: "qbNMaWkBuVsB1ZMvdH4vxuasBvorZQNxi/i+gy1sBD0",
    });
    expect(deriveRelayId(stampSecret)).toBe("8e29cf93-6f03-453b-ae08-4baa6aef851a");
  });
});

describe("tokens", () => {
  const VECTOR = "ptc_AAECAwQFBgcICQoLDA0ODw_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
  const VECTOR_HASH = "47c6eef6e35e2bfcc40cb9550e1b4019bd7f531369f96d0b6634777e4c4996ae";

  it("PT-105: gives text and hash of the vector", () => {
    expect(formatToken("client", counting(0).slice(0, 16), counting(0))).toBe(VECTOR);
    const token = parseToken(`  ${VECTOR}\n`);
    expect(token).toEqual({ kind: "client", nonce: "", secret: counting(0) });
    expect(toHex(hashToken({ nonce: "", secret: counting(0) }))).toBe(VECTOR_HASH);
  });

  it("PT-105: reads a nonce in front, which changes the hash", () => {
    const token = parseToken(`abc.${VECTOR}`);
    expect(token?.nonce).toBe("abc");
    expect(token && toHex(hashToken(token))).not.toBe(VECTOR_HASH);
  });

  it.each([
    ["empty text", ""],
    ["one character less", VECTOR.slice(1)],
    ["one character more", `${VECTOR}A`],
    ["an unknown kind", VECTOR.replace("ptc", "ptx")],
    ["a nonce with a dot", `a.b.${VECTOR}`],
    ["an empty nonce", `.${VECTOR}`],
    ["a nonce of 129 characters", `${"n".repeat(129)}.${VECTOR}`],
    ["unused bits of the secret that are not zero", `${VECTOR.slice(0, -1)}9`],
  ])("PT-105: refuses %s", (_, text) => {
    expect(parseToken(text)).toBeUndefined();
  });

  it("PT-105: takes a nonce of 128 characters", () => {
    expect(parseToken(`${"n".repeat(128)}.${VECTOR}`)?.nonce).toHaveLength(128);
  });

  it("PT-105: reads back every token, with `_` wherever base64url puts one", () => {
    fc.assert(
      fc.property(
        fc.constantFrom<TokenKind>("client", "gateway", "relay", "api"),
        fc.uint8Array({ minLength: 16, maxLength: 16 }),
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        (kind, id, secret) => {
          const text = formatToken(kind, id, secret);
          expect(text).toHaveLength(70);
          expect(parseToken(text)).toEqual({ kind, nonce: "", secret });
        },
      ),
      { numRuns: 300 },
    );
  });

  it("PT-105: makes a new token each time", () => {
    const random = createSeededRandom(1);
    expect(createToken("gateway", random)).not.toBe(createToken("gateway", random));
  });
});

function counting(first: number): Uint8Array {
  return Uint8Array.from({ length: 32 }, (_, i) => first + i);
}
