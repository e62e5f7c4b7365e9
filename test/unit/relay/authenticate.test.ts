import { describe, expect, it } from "vitest";
import { createSeededRandom, fromHex, ip, toHex } from "../../../src/base/index.ts";
import { createNonces } from "../../../src/relay/nonce.ts";
import { METHOD_BINDING, verifyIntegrity } from "../../../src/stun/index.ts";
import { METHOD_ALLOCATE, METHOD_REFRESH, type TurnMessage } from "../../../src/turn/index.ts";
import {
  at,
  codeOf,
  createClient,
  createWorld,
  encodeRequest,
  fetchNonce,
  keyFor,
  messageOf,
  SECRET,
  START_UNIX,
  UDP,
  utf8,
} from "./relay-world.ts";

const ADDRESS = "192.0.2.1:51820";

function hex(...lines: readonly string[]): Uint8Array<ArrayBuffer> {
  const bytes = fromHex(lines.join(""));
  if (bytes === undefined) throw new Error("not hexadecimal");
  return bytes;
}

// The example of RL-5 and RL-11.
const NONCE_KEY = hex("2adc90c4800d8f3fa1142206b68972ee95fae9b48069b7f877fbb252e47b6ad9");
const REQUEST = hex(
  "000300982112a4420102030405060708090a0b0c00190004110000008000000402000000",
  "80220007706f737465726e0000060036313839333435363030303a362f534f5430452b65",
  "74496f414e456174757541486e44415431474235333742523345362b6e3074684a450000",
  "00140008666972657a6f6e65001500186156573541475a417362515445337a382d484175",
  "4a37794a000800142e48d72c13649521bdeea30890982a21d1f21b55",
);
const RESPONSE =
  "010300642112a4420102030405060708090a0b0c8022000d706f737465726e2d72656c61" +
  "79000000001600080001e242e721c045001600140002e2420113a9fa0102030405060708" +
  "090a0b0b002000080001eb7ee112a643000d000400000258000800148cee94f9ab4ffb98" +
  "f18dd827da66e2fba87c1ad3";

/** Gives the nonce key of the example first. */
function exampleRandom() {
  const seeded = createSeededRandom(1);
  let isFirst = true;
  return {
    fill<T extends Uint8Array>(bytes: T): T {
      if (!isFirst) return seeded.fill(bytes);
      isFirst = false;
      bytes.set(NONCE_KEY);
      return bytes;
    },
  };
}

function isSigned(message: TurnMessage | undefined, key: Uint8Array): boolean {
  return message !== undefined && verifyIntegrity(message.frame, key);
}

describe("the example", () => {
  it("RL-5, RL-22: is answered byte for byte", () => {
    const world = createWorld({ random: exampleRandom(), ports: { lowest: 50000, highest: 50000 } });
    expect(world.send(at(ADDRESS), REQUEST)).toBeDefined();
    const second = createWorld({ random: exampleRandom(), ports: { lowest: 50000, highest: 50000 } });
    second.server.handleClient(second.now, { datagram: REQUEST, client: at(ADDRESS) });
    const command = second.server.pollCommand();
    expect(command).toMatchObject({ kind: "bind-port", port: 50000, families: [4, 6] });
    expect(second.server.pollTransmit()).toBeUndefined();
    second.server.handlePortBound(second.now, { token: 1, result: "ok" });
    expect(toHex(second.server.pollTransmit()?.datagram ?? new Uint8Array())).toBe(RESPONSE);
  });

  it("RL-11: has the nonce that the formula gives", () => {
    const nonces = createNonces(exampleRandom());
    expect(nonces.issue(1767225600, at(ADDRESS))).toBe("aVW5AGZAsbQTE3z8-HAuJ7yJ");
  });
});

describe("RL-9, each row, and RL-10, who signs", () => {
  const world = createWorld();
  const client = createClient(world, ADDRESS);
  const nonce = fetchNonce(world, client);
  const { username, key } = client;
  const send = (options: Parameters<typeof encodeRequest>[2]) =>
    world.send(client.address, encodeRequest(METHOD_ALLOCATE, UDP, options));

  it.each([
    ["no integrity", { username, nonce }, 401, false],
    ["no username", { key, nonce }, 401, false],
    ["a username without colon", { username: "1893456000", key, nonce }, 401, false],
    ["no nonce", { username, key }, 401, true],
    ["a nonce that is not ours", { username, key, nonce: `${nonce.slice(0, -1)}~` }, 438, true],
    ["a nonce of 23 letters", { username, key, nonce: nonce.slice(1) }, 438, true],
    ["an empty nonce", { username, key, nonce: "" }, 438, true],
    ["a wrong key", { username, key: keyFor("1:x"), nonce }, 401, true],
  ])("RL-9, RL-10: %s", (_, options, code, signed) => {
    const answer = send(options);
    expect(codeOf(answer)).toBe(code);
    expect(isSigned(answer, key)).toBe(signed);
    expect(answer?.fields.realm).toEqual(utf8("firezone"));
    expect(answer?.fields.nonce).toHaveLength(24);
    expect(answer?.fields.software).toBeUndefined();
  });

  it("RL-9: and nothing else is in the way of the right one", () => {
    expect(codeOf(send({ username, key, nonce }))).toBe("success");
  });
});

describe("usernames", () => {
  it.each([
    "01893456000:salt",
    "1893456000:salt:more",
    ":salt",
    "1893456000:",
    `1893456000:${"s".repeat(129)}`,
    "1893456000:sält",
    "1234567890123456:salt",
    "-1:salt",
  ])("RL-8: %s is refused unsigned", (username) => {
    const world = createWorld();
    const nonce = fetchNonce(world, createClient(world, ADDRESS));
    const key = keyFor(username);
    const answer = world.send(at(ADDRESS), encodeRequest(METHOD_ALLOCATE, UDP, { username, key, nonce }));
    expect(codeOf(answer)).toBe(401);
    expect(isSigned(answer, key)).toBe(false);
  });

  it("RL-8: credentials hold through the second that they name, and not a second longer", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS, { lifeSeconds: 10 });
    world.wait(10_999);
    expect(codeOf(client.refresh())).toBe(437);
    world.wait(1);
    expect(codeOf(client.refresh())).toBe(401);
  });

  it("RL-8: an allocation outlives its credentials, but nothing more can be asked with them", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS, { lifeSeconds: 10 });
    expect(codeOf(client.allocate())).toBe("success");
    world.wait(20_000);
    expect(codeOf(client.refresh())).toBe(401);
    expect(world.server.stats().allocations).toBe(1);
    const renewed = createClient(world, ADDRESS, { lifeSeconds: 1000 });
    expect(codeOf(renewed.refresh())).toBe("success");
  });

  it("RL-8: the time of day may be put right", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS, { lifeSeconds: 10 });
    expect(codeOf(client.refresh())).toBe(437);
    world.server.handleWallClock(world.now, (START_UNIX + 20_000) as typeof START_UNIX);
    expect(codeOf(client.refresh())).toBe(401);
  });
});

describe("nonces", () => {
  it("RL-11: hold 3600 s", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    expect(codeOf(client.refresh())).toBe(437);
    world.wait(3_600_999);
    expect(codeOf(client.refresh())).toBe(437);
    world.wait(1);
    expect(codeOf(client.refresh())).toBe(438);
  });

  it.each(["192.0.2.1:51821", "192.0.2.2:51820", "[2001:db8::1]:51820"])(
    "RL-11: that of %s is nobody else's",
    (other) => {
      const world = createWorld();
      const client = createClient(world, ADDRESS);
      client.nonce = fetchNonce(world, createClient(world, other));
      expect(codeOf(client.refresh())).toBe(438);
    },
  );

  it("RL-11: those of another start, of another second and from the future are stale", () => {
    const nonces = createNonces(createSeededRandom(1));
    const client = at(ADDRESS);
    const nonce = nonces.issue(1000, client);
    expect(nonces.isFresh(nonce, 1000, client)).toBe(true);
    expect(nonces.isFresh(nonce, 999, client)).toBe(false);
    expect(nonces.isFresh(nonces.issue(1001, client).slice(0, 6) + nonce.slice(6), 1001, client)).toBe(false);
    expect(createNonces(createSeededRandom(2)).isFresh(nonce, 1000, client)).toBe(false);
  });

  it("RL-11: an IPv4 address and the same bytes of an IPv6 one are not the same client", () => {
    const nonces = createNonces(createSeededRandom(1));
    const a = { address: ip("32.1.13.184"), port: 1 };
    const b = { address: ip("2001:db8::"), port: 1 };
    expect(nonces.issue(1000, a)).not.toBe(nonces.issue(1000, b));
  });

  it("RL-11: serve an allocation 10,000 times", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    expect(codeOf(client.allocate())).toBe("success");
    for (let use = 2; use <= 10_000; use++) {
      world.wait(20);
      const answer = client.refresh();
      if (codeOf(answer) !== "success") throw new Error(`use ${use}: ${codeOf(answer)}`);
    }
    world.wait(20);
    const answer = client.refresh();
    expect(codeOf(answer)).toBe(438);
    expect(isSigned(answer, client.key)).toBe(true);
    client.nonce = new TextDecoder().decode(answer?.fields.nonce);
    expect(codeOf(client.refresh())).toBe("success");
  });
});

describe("the size of answers to strangers", () => {
  it("RL-58: a Binding answer has 32 or 44 bytes, an unsigned 401 has 80, each 8 more with FINGERPRINT", () => {
    const world = createWorld();
    const sizes = [
      [METHOD_BINDING, ADDRESS, false],
      [METHOD_BINDING, "[2001:db8::1]:51820", false],
      [METHOD_BINDING, ADDRESS, true],
      [METHOD_ALLOCATE, ADDRESS, false],
      [METHOD_ALLOCATE, ADDRESS, true],
    ] as const;
    const bytes = sizes.map(([method, from, hasFingerprint]) => {
      const datagram = encodeRequest(method, {}, { hasFingerprint });
      return world.send(at(from), datagram)?.frame.bytes.length;
    });
    expect(bytes).toEqual([32, 44, 40, 80, 88]);
  });

  it("RL-58: a signed 401 or 438 is never longer than what it answers", () => {
    const world = createWorld();
    const username = "1893456000:a";
    for (const nonce of [undefined, "x"]) {
      const request = encodeRequest(
        METHOD_REFRESH,
        {},
        { username, key: keyFor(username), ...(nonce && { nonce }) },
      );
      const answer = world.send(at(ADDRESS), request);
      expect(answer?.frame.integrityOffset).toBeUndefined();
      const padded = encodeRequest(
        METHOD_REFRESH,
        { software: "s".repeat(60) },
        { username, key: keyFor(username), ...(nonce && { nonce }) },
      );
      const signed = world.send(at(ADDRESS), padded);
      expect(isSigned(signed, keyFor(username))).toBe(true);
      expect(signed?.frame.bytes.length).toBeLessThanOrEqual(padded.length);
    }
  });

  it("RL-2: a response carries FINGERPRINT exactly if its request did", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    expect(client.allocate(UDP)?.frame.fingerprintOffset).toBeUndefined();
    expect(client.allocate(UDP, { hasFingerprint: true })?.frame.fingerprintOffset).toBeDefined();
  });

  it("RL-61: an answer shows nothing of the stamp secret", () => {
    const world = createWorld();
    const answer = createClient(world, ADDRESS).allocate();
    expect(toHex(messageOf(answer?.frame.bytes ?? new Uint8Array()).frame.bytes)).not.toContain(
      toHex(utf8(SECRET)).slice(0, 16),
    );
  });
});
