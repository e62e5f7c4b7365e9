import { describe, expect, it } from "vitest";
import { toHex } from "../../../src/base/index.ts";
import {
  longTermKey,
  type MalformedUsername,
  parseRelayUsername,
  relayCredentials,
  relayPassword,
  relaySalt,
} from "../../../src/turn/index.ts";

const SALT = "6/SOT0E+etIoANEatuuAHnDAT1GB537BR3E6+n0thJE";

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

describe("credentials of relays", () => {
  it("RL-5, RL-7: user name, password and long-term key of the example", () => {
    const secret = "2b7400b5af0693d3469ec96ad21fe00cc0d52ea8e4df626d21b28b159b6c7f57";
    const credentials = relayCredentials(secret, { expiry: 1893456000, salt: SALT });
    expect(credentials).toEqual({
      username: `1893456000:${SALT}`,
      password: "4AFEafmuzr4kkPJShq+D9wR92PY38Fj/ZfMFX99Qd+M",
    });
    expect(toHex(longTermKey({ ...credentials, realm: "firezone" }))).toBe(
      "a8f14f44144752181d79e2ac1887cd8d",
    );
  });

  it("RL-5: the password vector of the reference", () => {
    const secret = "1cab293a-4032-46f4-862a-40e5d174b0d2";
    expect(relayPassword(secret, { expiry: 1685984278, salt: "uvdgKvS9GXYZ_vmv" })).toBe(
      "6xUIoZ+QvxKhRasLifwfRkMXl+ETLJUsFkHlXjlHAkg",
    );
  });

  it("RL-7: the salt is a hash of the public key, unpadded and without a colon", () => {
    const salt = relaySalt(new Uint8Array(32));
    expect(salt).toBe("Zmh6rfhivXdsj8GLjp+OIAiXFIVu4jOzkCpZHQ1fKSU");
    expect(parseRelayUsername(utf8(`1:${salt}`)).ok).toBe(true);
  });

  it("RL-8: a user name is parsed once", () => {
    expect(parseRelayUsername(utf8(`1893456000:${SALT}`))).toEqual({
      ok: true,
      value: { raw: `1893456000:${SALT}`, expiry: 1893456000, salt: SALT },
    });
  });

  it.each(["0:s", "1:s", "999999999999999:s", `1:${"s".repeat(128)}`, "1: "])("RL-8: accepts %s", (text) => {
    expect(parseRelayUsername(utf8(text)).ok).toBe(true);
  });

  const MALFORMED = {
    "not-ascii": ["1:ä", "1:a\u0000", "1:a\u007f", "1:\n"],
    colon: ["", "1", "1:2:3", "1::2"],
    expiry: [":s", "01:s", "00:s", "+1:s", "-1:s", "1.5:s", "1e3:s", " 1:s", "1000000000000000:s", "a:s"],
    salt: ["1:", `1:${"s".repeat(129)}`],
  } satisfies Record<MalformedUsername, readonly string[]>;
  const rows = Object.entries(MALFORMED).flatMap(([reason, texts]) => texts.map((text) => [reason, text]));

  it.each(rows)("RL-8: refuses by %s: %j", (reason, text) => {
    expect(parseRelayUsername(utf8(text))).toEqual({ ok: false, reason });
  });
});
