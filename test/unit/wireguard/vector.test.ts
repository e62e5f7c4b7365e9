/** The complete handshake of WG-10, step by step and in both roles. */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { concatBytes, fromHex, instant, ip, type Random, toHex } from "../../../src/base/index.ts";
import { createNodeCrypto } from "../../../src/program/crypto-node.ts";
import { createLoadGuard, openCookieReply } from "../../../src/wireguard/cookie.ts";
import { type Initiation, parseMessage, type Response } from "../../../src/wireguard/messages.ts";
import { NOBLE_CRYPTO } from "../../../src/wireguard/noble-crypto.ts";
import {
  createInitiation,
  createOwnIdentity,
  createRemoteIdentity,
  createResponse,
  openInitiator,
  openResponse,
  openStamp,
  sealMacs,
} from "../../../src/wireguard/noise.ts";
import { type HandshakeCrypto, kdf1, kdf2, kdf3, nonceOf } from "../../../src/wireguard/primitives.ts";
import { stampOf } from "../../../src/wireguard/tai64n.ts";

const vector = JSON.parse(
  readFileSync(new URL("../../vectors/wireguard-handshake.json", import.meta.url), "utf8"),
);
const { initiator, responder, presharedKey, tai64n } = vector.inputs;

const IMPLEMENTATIONS: readonly (readonly [string, HandshakeCrypto])[] = [
  ["noble", NOBLE_CRYPTO],
  ["node", createNodeCrypto()],
];

/** The value of the step whose name begins so. */
function step(prefix: string): string {
  const names = Object.keys(vector.steps).filter((name) => name.startsWith(prefix));
  expect(names).toHaveLength(1);
  return vector.steps[names[0] ?? ""];
}

function hex(text: string): Uint8Array {
  const bytes = fromHex(text);
  if (bytes === undefined) throw new Error(`not hexadecimal: ${text}`);
  return bytes;
}

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function parseInitiation(datagram: Uint8Array): Initiation {
  const message = parseMessage(datagram);
  if (!message.ok || message.value.kind !== "initiation") throw new Error("not an initiation");
  return message.value;
}

function parseResponse(datagram: Uint8Array): Response {
  const message = parseMessage(datagram);
  if (!message.ok || message.value.kind !== "response") throw new Error("not a response");
  return message.value;
}

/** Indices in the file are written as the little-endian bytes on the wire. */
const INITIATOR_INDEX = 0x0a1b2c01;
const RESPONDER_INDEX = 0x3d4e5f01;

describe.each(IMPLEMENTATIONS)("WG-10 on %s", (_name, crypto) => {
  const ownI = createOwnIdentity(crypto, hex(initiator.staticPrivate));
  const ownR = createOwnIdentity(crypto, hex(responder.staticPrivate));
  const remoteR = createRemoteIdentity(crypto, ownI, ownR.publicKey);
  const remoteI = createRemoteIdentity(crypto, ownR, ownI.publicKey);
  if (remoteR === undefined || remoteI === undefined) throw new Error("zero DH in the vector");

  function initiate() {
    const made = createInitiation(crypto, {
      own: ownI,
      remote: remoteR as NonNullable<typeof remoteR>,
      sender: INITIATOR_INDEX,
      ephemeral: crypto.keyPair(hex(initiator.ephemeralPrivate)),
      stamp: hex(tai64n),
    });
    sealMacs(crypto, made.datagram, ownR, undefined);
    return made;
  }

  function respond(datagram: Uint8Array, psk: Uint8Array | undefined) {
    const initiation = parseInitiation(datagram);
    const caller = openInitiator(crypto, ownR, initiation);
    if (!caller.ok) throw new Error(caller.reason);
    const remote = remoteI as NonNullable<typeof remoteI>;
    const proof = openStamp(crypto, remote, caller.value, initiation);
    if (!proof.ok) throw new Error(proof.reason);
    const answer = createResponse(crypto, {
      state: proof.value,
      remote,
      initiation,
      sender: RESPONDER_INDEX,
      ephemeral: crypto.keyPair(hex(responder.ephemeralPrivate)),
      presharedKey: psk,
    });
    if (!answer.ok) throw new Error(answer.reason);
    sealMacs(crypto, answer.value.datagram, ownI, undefined);
    return { caller: caller.value, proof: proof.value, ...answer.value };
  }

  it("WG-1, WG-6: derives the public keys and the shared static secret", () => {
    expect(toHex(ownI.publicKey)).toBe(initiator.staticPublic);
    expect(toHex(ownR.publicKey)).toBe(responder.staticPublic);
    expect(toHex(remoteR.sharedStatic)).toBe(step("ss = "));
    expect(toHex(remoteI.sharedStatic)).toBe(step("ss = "));
  });

  it("WG-5: every chaining key, hash and Diffie-Hellman result, by the formulas", () => {
    const Ei = hex(initiator.ephemeralPublic);
    const Er = hex(responder.ephemeralPublic);
    const ei = crypto.keyPair(hex(initiator.ephemeralPrivate));
    const er = crypto.keyPair(hex(responder.ephemeralPrivate));
    const seen: Record<string, string> = {};
    const see = (prefix: string, value: Uint8Array | undefined): Uint8Array => {
      if (value === undefined) throw new Error("zero DH");
      seen[prefix] = toHex(value);
      expect(toHex(value), prefix).toBe(step(prefix));
      return value;
    };
    const ck0 = see("ck0 = ", crypto.hash(ascii(vector.inputs.construction)));
    const h0 = see("h0 = ", crypto.hash(ck0, ascii(vector.inputs.identifier)));
    const h1 = see("h1 = ", crypto.hash(h0, ownR.publicKey));
    const h2 = see("h2 = ", crypto.hash(h1, Ei));
    const ck1 = see("ck1 = ", kdf1(crypto, ck0, Ei));
    const es = see("es = ", ei.dh(ownR.publicKey));
    const [ck2, kStatic] = kdf2(crypto, ck1, es);
    see("ck2, ", ck2);
    see("k_static", kStatic);
    const encStatic = see("encrypted_static", crypto.seal(kStatic, nonceOf(0n), ownI.publicKey, h2));
    const h3 = see("h3 = ", crypto.hash(h2, encStatic));
    const ss = see("ss = ", ownI.pair.dh(ownR.publicKey));
    const [ck3, kStamp] = kdf2(crypto, ck2, ss);
    see("ck3, ", ck3);
    see("k_ts", kStamp);
    const encStamp = see("encrypted_timestamp", crypto.seal(kStamp, nonceOf(0n), hex(tai64n), h3));
    const h4 = see("h4 = ", crypto.hash(h3, encStamp));
    const h5 = see("h5 = ", crypto.hash(h4, Er));
    const ck4 = see("ck4 = ", kdf1(crypto, ck3, Er));
    const ee = see("ee = ", er.dh(Ei));
    const ck5 = see("ck5 = ", kdf1(crypto, ck4, ee));
    const se = see("se = ", er.dh(ownI.publicKey));
    const ck6 = see("ck6 = ", kdf1(crypto, ck5, se));
    const [ck7, tau, kEmpty] = kdf3(crypto, ck6, hex(presharedKey));
    see("ck7, ", ck7);
    see("tau", tau);
    see("k_empty", kEmpty);
    const h6 = see("h6 = ", crypto.hash(h5, tau));
    const nothing = see("encrypted_nothing", crypto.seal(kEmpty, nonceOf(0n), new Uint8Array(0), h6));
    see("h7 = ", crypto.hash(h6, nothing));
    const [t1, t2] = kdf2(crypto, ck7, new Uint8Array(0));
    see("T1 = ", t1);
    see("T2 = ", t2);
    see("mac1 key towards responder", ownR.mac1Key);
    see("mac1 key towards initiator", ownI.mac1Key);
    // Everything in the file was looked at, but the two MACs, which the packets show.
    expect(Object.keys(seen)).toHaveLength(Object.keys(vector.steps).length - 2);
  });

  it("WG-4, WG-5, WG-7: as initiator, writes the initiation byte by byte", () => {
    const { datagram, pending } = initiate();
    expect(toHex(datagram)).toBe(vector.packets.initiation);
    expect(toHex(pending.chainingKey)).toBe(step("ck3, "));
    expect(toHex(pending.hash)).toBe(step("h4 = "));
    expect(toHex(parseInitiation(datagram).macs.mac1)).toBe(step("initiation.mac1"));
  });

  it("WG-5: as responder, opens the initiation and writes the response byte by byte", () => {
    const { caller, proof, datagram, keys } = respond(hex(vector.packets.initiation), hex(presharedKey));
    expect(toHex(caller.publicKey)).toBe(initiator.staticPublic);
    expect(toHex(proof.stamp)).toBe(tai64n);
    expect(toHex(proof.hash)).toBe(step("h4 = "));
    expect(toHex(datagram)).toBe(vector.packets.response);
    expect(toHex(parseResponse(datagram).macs.mac1)).toBe(step("response.mac1"));
    expect(toHex(keys.receiveKey)).toBe(step("T1 = "));
    expect(toHex(keys.sendKey)).toBe(step("T2 = "));
  });

  it("WG-5: as initiator, opens the response and has the same keys the other way", () => {
    const response = parseResponse(hex(vector.packets.response));
    const { pending } = initiate();
    const keys = openResponse(crypto, { own: ownI, pending, response, presharedKey: hex(presharedKey) });
    if (!keys.ok) throw new Error(keys.reason);
    expect(toHex(keys.value.sendKey)).toBe(step("T1 = "));
    expect(toHex(keys.value.receiveKey)).toBe(step("T2 = "));
  });

  it("WG-5: without preshared key, both roles agree on the other vector", () => {
    const { datagram, keys } = respond(hex(vector.packets.initiation), undefined);
    expect(toHex(datagram)).toBe(vector.withoutPresharedKey.response);
    expect(toHex(keys.receiveKey)).toBe(vector.withoutPresharedKey.T1);
    const { pending } = initiate();
    const opened = openResponse(crypto, {
      own: ownI,
      pending,
      response: parseResponse(datagram),
      presharedKey: undefined,
    });
    expect(opened.ok && toHex(opened.value.receiveKey)).toBe(vector.withoutPresharedKey.T2);
  });

  it("WG-24: a response made with another preshared key does not open", () => {
    const response = parseResponse(hex(vector.withoutPresharedKey.response));
    const { pending } = initiate();
    const keys = openResponse(crypto, { own: ownI, pending, response, presharedKey: hex(presharedKey) });
    expect(keys).toEqual({ ok: false, reason: "wg_bad_response" });
  });

  it("WG-30, WG-33: the cookie, its reply, and mac2 of the same initiation", () => {
    const { cookie } = vector;
    const random = fixedRandom(hex(cookie.secretRm), hex(cookie.nonce));
    const guard = createLoadGuard({ crypto, random, limit: 0 });
    const source = { address: ip("192.0.2.1"), port: 51820 };
    const { datagram } = initiate();
    const now = instant(1000);
    const initiation = parseInitiation(datagram);
    expect(guard.judge(now, initiation, source)).toBe("ask-cookie");
    const reply = guard.encodeReply(now, ownR, initiation, source);
    expect(toHex(reply)).toBe(cookie.reply);

    const message = parseMessage(reply);
    if (!message.ok || message.value.kind !== "cookie-reply") throw new Error("not a cookie reply");
    const opened = openCookieReply(crypto, ownR, message.value, initiation.macs.mac1);
    expect(opened && toHex(opened)).toBe(cookie.cookie);
    sealMacs(crypto, datagram, ownR, opened);
    expect(toHex(datagram)).toBe(cookie.initiationWithMac2);
    expect(guard.judge(now, parseInitiation(datagram), source)).toBe("pass");
  });

  it("WG-9: transport packets open with the session keys", () => {
    const opened = (packet: string, key: string): string | undefined => {
      const message = parseMessage(hex(packet));
      if (!message.ok || message.value.kind !== "transport") throw new Error("not transport");
      const { counter, sealed } = message.value;
      const plaintext = crypto.open(hex(step(key)), nonceOf(counter), sealed, new Uint8Array(0));
      return plaintext && toHex(plaintext);
    };
    const { packets } = vector;
    expect(opened(packets.keepaliveInitiatorCounter0, "T1 = ")).toBe("");
    expect(opened(packets.dataInitiatorCounter1, "T1 = ")).toBe(packets.ipPacket);
    expect(opened(packets.dataInitiatorCounter2PaddedTo16, "T1 = ")).toMatch(
      new RegExp(`^${packets.ipPacket}(00)*$`),
    );
    // IPv4, 34 bytes, whose payload is the word "answer".
    expect(opened(packets.dataResponderCounter0, "T2 = ")).toMatch(/^45000022.{48}616e73776572$/);
    expect(opened(packets.dataResponderCounter0, "T1 = ")).toBeUndefined();
  });
});

it("WG-8: the vector's stamp is that of its time", () => {
  expect(toHex(stampOf(Date.UTC(2026, 0, 1) + 486.539264))).toBe(tai64n);
});

function fixedRandom(...values: readonly Uint8Array[]): Random {
  const stream = concatBytes(...values);
  let at = 0;
  return {
    fill(bytes) {
      bytes.set(stream.subarray(at, at + bytes.length));
      at += bytes.length;
      return bytes;
    },
  };
}
