import { expect, it } from "vitest";
import { createSeededRandom, fromHex, randomBytes } from "../../../src/base/index.ts";
import { createNodeCrypto } from "../../../src/program/crypto-node.ts";
import { isLowOrder } from "../../../src/wireguard/index.ts";

const P_MINUS_1 = "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";

function bytes(hex: string): Uint8Array {
  return fromHex(hex) ?? new Uint8Array(0);
}

/** What X25519 itself says of a key. */
function givesZeros(publicKey: Uint8Array): boolean {
  const own = createNodeCrypto().keyPair(new Uint8Array(32).fill(7));
  return own.dh(publicKey) === undefined;
}

it.each([
  ["zero", "00".repeat(32)],
  ["one", `01${"00".repeat(31)}`],
  ["order eight", "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"],
  ["order eight, too", "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"],
  ["p - 1", P_MINUS_1],
  ["p", P_MINUS_1.replace("ec", "ed")],
  ["p + 1", P_MINUS_1.replace("ec", "ee")],
  ["zero with the top bit", `${"00".repeat(31)}80`],
])("WG-6: %s has small order", (_name, hex) => {
  expect(isLowOrder(bytes(hex))).toBe(true);
  expect(givesZeros(bytes(hex))).toBe(true);
});

it("WG-6: other keys have not, whether they are random or next to one of those", () => {
  const random = createSeededRandom(1);
  const others = [`02${"00".repeat(31)}`, P_MINUS_1.replace("ec", "eb"), P_MINUS_1.replace("ec", "ef")].map(
    bytes,
  );
  for (const key of [...others, randomBytes(random, 32), randomBytes(random, 32)]) {
    expect(isLowOrder(key)).toBe(false);
    expect(givesZeros(key)).toBe(false);
  }
});
